"""Recordings as text: rows of numbers, with or without headings, in any usual dialect."""

import csv
import io
import re
import warnings
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.modalities.timeseries_columns import Column, Table, from_columns, from_matrix
from unibind.modalities.timeseries_options import Told
from unibind.modalities.timeseries_size import MAX_CHANNELS, MAX_VALUES, check_size

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["read_csv"]

_MAX_HEAD = 4 * 2**20
_N_SNIFFED = 20
_MISSING = ["", "-", "--", "?", "NA", "N/A", "NaN", "nan", "null", "None", "nil"]
_NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?inf(inity)?$", re.I)
_DECIMAL_COMMA = re.compile(r"^[+-]?\d+,\d+$")


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How a text writes its table.

    Attributes:
        separator: One character, or spaces as a regular expression.
        decimal: ``"."`` or ``","``.
        headings: Of the columns; () if the first line is numbers.
        n_skipped: Lines before the first row of numbers.
        n_columns: Cells of the first row.
    """

    separator: str
    decimal: str
    headings: tuple[str, ...]
    n_skipped: int
    n_columns: int


def read_csv(content: bytes, told: Told) -> Table:
    """Return the table in a text: commas, semicolons, tabs or spaces between the cells.

    Lines that start with # before the table are skipped. A first line with a cell that is no
    number has the headings; ``name [unit]`` says both.

    Raises:
        InvalidInputError: It is not UTF-8 text, has no rows of numbers, too many, or rows of
            different lengths, or text where numbers belong.
    """
    dialect = _sniff(_head(content))
    n_rows = content.count(b"\n") or content.count(b"\r")
    check_size(n_rows, dialect.n_columns, "the file")
    is_turned = told.axis == "channel,time"
    if dialect.n_columns > (MAX_VALUES if is_turned else MAX_CHANNELS):
        raise InvalidInputError(
            f"the file has {dialect.n_columns:,} columns; at most {MAX_CHANNELS:,} channels are "
            "taken: say axis=channel,time if each row is a channel"
        )
    if is_turned:
        return _turned(content, dialect, told)
    return from_columns(_columns(content, dialect), told)


def _head(content: bytes) -> list[str]:
    """Return the first lines; a text without line ends, or that is no text, is refused."""
    if b"\0" in content[:_MAX_HEAD]:
        raise InvalidInputError(
            f"not a recording ({len(content):,} bytes that start with {content[:8].hex(' ')}); "
            "needed: CSV, Parquet, npy or npz. A file is judged by its content, not by its name"
        )
    start = content[:_MAX_HEAD]
    ends = [start.rfind(end) for end in (b"\n", b"\r")]
    if len(content) > _MAX_HEAD:
        if max(ends) < 0:
            raise InvalidInputError(
                f"the first line of the file is longer than {_MAX_HEAD:,} bytes; a recording has "
                "one line for each step, or one for each channel"
            )
        start = start[: max(ends)]
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"not UTF-8 text (byte {error.start}: {error.reason}); save it as UTF-8"
        ) from None
    return text.splitlines()


def _sniff(lines: list[str]) -> _Dialect:
    n_skipped = 0
    while n_skipped < len(lines) and lines[n_skipped].lstrip()[:1] in ("", "#", "%"):
        n_skipped += 1
    table = list(islice(filter(str.strip, lines[n_skipped:]), _N_SNIFFED))
    if not table:
        raise InvalidInputError("the file has no rows; a recording has one for each step")
    separator = next(
        (each for each in ("\t", ";", ",") if all(each in line for line in table)),
        r"\s+" if all(len(line.split()) > 1 for line in table) else ",",
    )
    first = _cells(table[0], separator)
    second = _cells(table[1], separator) if len(table) > 1 else []
    is_comma = separator != "," and any(_DECIMAL_COMMA.match(cell) for cell in [*first, *second])
    decimal = "," if is_comma else "."
    has_headings = any(not _is_number(cell, decimal) for cell in first) and any(first)
    # A column of ISO times makes a first line of text out of a row of numbers.
    if has_headings and _look_alike(first, second, decimal):
        has_headings = False
    return _Dialect(
        separator=separator,
        decimal=decimal,
        headings=tuple(first) if has_headings else (),
        n_skipped=n_skipped + has_headings,
        n_columns=max(len(first), len(second)),
    )


def _cells(line: str, separator: str) -> list[str]:
    if separator == r"\s+":
        return [part.strip('"') for part in line.split()]
    return [part.strip() for part in next(csv.reader([line], delimiter=separator))]


def _is_number(cell: str, decimal: str) -> bool:
    plain = cell.replace(",", ".") if decimal == "," else cell
    return bool(_NUMBER.match(plain)) or cell in _MISSING


def _look_alike(first: list[str], second: list[str], decimal: str) -> bool:
    """Return whether two lines have numbers in the same places, and some."""
    kinds = [[_is_number(cell, decimal) for cell in cells] for cells in (first, second)]
    return kinds[0] == kinds[1] and any(kinds[0])


def _frame(content: bytes, dialect: _Dialect) -> "DataFrame":
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            return pd.read_csv(
                io.BytesIO(content),
                sep=dialect.separator,
                decimal=dialect.decimal,
                header=None,
                names=None,
                skiprows=dialect.n_skipped,
                na_values=_MISSING,
                keep_default_na=False,
                skipinitialspace=True,
                low_memory=False,
                index_col=False,
                encoding="utf-8",
            )
    except pd.errors.EmptyDataError:
        raise InvalidInputError(
            "the file has headings and no rows; a recording has one row for each step"
        ) from None
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"not UTF-8 text ({error.reason}); save it as UTF-8") from None
    except (pd.errors.ParserError, ValueError, OverflowError) as error:
        told = str(error).replace("Error tokenizing data. C error: ", "").strip()
        raise InvalidInputError(
            f"the rows do not fit together ({told[:120]}); needed: one cell for each column in "
            "every row"
        ) from None


def _columns(content: bytes, dialect: _Dialect) -> list[Column]:
    frame = _frame(content, dialect)
    first_row = dialect.n_skipped + 1
    headings = dialect.headings
    n_found = frame.shape[1]
    if headings and len(headings) != n_found:
        if n_found == len(headings) - 1 and not headings[-1]:
            headings = headings[:-1]
        elif len(headings) == n_found - 1 and frame.iloc[:, -1].isna().all():
            frame = frame.iloc[:, :-1]  # every line ends with a separator
        else:
            raise InvalidInputError(
                f"the file has {len(headings)} headings over {n_found} columns; one each is needed"
            )
    names = headings or ("",) * frame.shape[1]
    columns = [Column(name, _as_array(frame.iloc[:, c]), first_row) for c, name in enumerate(names)]
    # What spreadsheets leave at the end of a line: no heading, no value.
    return [
        each
        for each in columns
        if each.name
        or not headings
        or each.cells.dtype.kind != "f"
        or not np.isnan(each.cells).all()
    ]


def _as_array(series: "Series[Any]") -> npt.NDArray[Any]:
    if series.dtype.kind in "biuf":
        return series.to_numpy(dtype=np.float64)
    return series.astype(object).where(series.notna(), None).to_numpy(dtype=object)


def _turned(content: bytes, dialect: _Dialect, told: Told) -> Table:
    """Return the table of a text with one channel a row; the first cell may be its name."""
    if dialect.headings:
        raise InvalidInputError(
            f"said to be channel,time, the file starts with the headings "
            f"{', '.join(dialect.headings[:4])}; say axis=time,channel or nothing, or save it "
            "without headings"
        )
    columns = [each.cells for each in _columns(content, dialect)]
    texts = [c for c, cells in enumerate(columns) if cells.dtype.kind == "O"]
    names: tuple[str, ...] | None = None
    if texts == [0]:
        names = tuple(str(name) for name in columns.pop(0))
    elif texts:
        raise InvalidInputError(
            f"column {texts[0] + 1} has text, as {str(columns[texts[0]][0])[:40]!r}; needed: "
            "numbers, after the channel's name in the first column if there is one"
        )
    table = from_matrix(np.stack(columns, axis=1), told)
    return table.with_facts(told, channels=names, units=None, times=None, rate_hz=None)
