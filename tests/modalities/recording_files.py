"""Makers of small recordings in each file format, for the tests of time series."""

import io

import numpy as np


def csv_of(values, *, rate_hz=None, names=None, unit="s", start=0.0) -> bytes:
    """Return a CSV of values, shape (C, T), with a column of times if there is a rate."""
    names = names or [f"c{c}" for c in range(len(values))]
    scale = {"s": 1.0, "ms": 1e3}[unit]
    lines = [",".join(([f"time [{unit}]"] if rate_hz else []) + list(names))]
    for step, row in enumerate(np.asarray(values).T):
        times = [repr(round(start + step / rate_hz * scale, 9))] if rate_hz else []
        lines.append(",".join(times + ["" if np.isnan(x) else repr(float(x)) for x in row]))
    return "\n".join(lines).encode()


def npy_of(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz_of(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def parquet_of(**columns) -> bytes:
    import pyarrow
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), buffer)
    return buffer.getvalue()
