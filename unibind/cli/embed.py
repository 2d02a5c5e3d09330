"""``unibind embed``: files and texts to vectors of one space, for use elsewhere."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from unibind.cli.items import (
    ModalityOption,
    OptionsOption,
    SpaceOption,
    embed_items,
    gather,
    read_options,
    rows_of,
    tell_bad,
)
from unibind.cli.output import AsJson, emit, printable
from unibind.types import FloatArray, Json

if TYPE_CHECKING:
    from unibind.cli.items import Embedded

__all__ = ["embed"]


def embed(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE", help="Files, folders, or - for stdin.")
    ] = None,
    text: Annotated[list[str] | None, typer.Option(help="A text; may be given repeatedly.")] = None,
    modality: ModalityOption = None,
    option: OptionsOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="FILE.npz, .parquet or .jsonl; without it, JSON."),
    ] = None,
    space: SpaceOption = "mini",
    as_json: AsJson = False,
) -> None:
    """Turn files and texts into vectors of one space.

    They have unit length; vectors that are near mean alike, whatever they were made of.
    """
    if not files and not text:
        raise typer.BadParameter("give files, or texts with --text", param_hint="FILE")
    if out is not None and out.suffix.lower() not in WRITERS:
        raise typer.BadParameter(
            f"{out} must end in one of {', '.join(WRITERS)}", param_hint="--out"
        )
    import unibind
    from unibind.artifact import write_file

    with unibind.open(space) as engine:
        items = gather(
            engine,
            files or (),
            texts=text or (),
            modality=modality,
            options=read_options(option),
        )
        embedded = embed_items(engine, items)
    about: dict[str, Json] = {
        "space": space,
        "space_id": engine.space.id,
        "dim": engine.space.dim,
        "n": len(embedded.items),
    }
    rest: dict[str, Json] = {
        "failures": rows_of(embedded.bad),
        "left_out": dict(items.left_out),
    }
    if out is None:
        rows = list(_rows(embedded))
        emit(about | {"results": rows} | rest, as_json=True, people=lambda: None)
    elif embedded.items:
        write_file(out, WRITERS[out.suffix.lower()](embedded, engine.space.id))

        def people() -> None:
            print(
                f"{printable(str(out))}: {about['n']:,} vectors of {about['dim']} numbers, "
                f"space {space} ({about['space_id'][:12]})"
            )

        emit(about | {"path": str(out)} | rest, as_json=as_json, people=people)
    tell_bad(embedded.bad, len(embedded.items) + len(embedded.bad))


def _rows(embedded: "Embedded") -> list[dict[str, Json]]:
    return [
        {"key": item.name, "modality": item.modality, "embedding": _numbers(vector)}
        for item, vector in zip(embedded.items, embedded.embeddings, strict=True)
    ]


def _numbers(vector: FloatArray) -> list[float]:
    # Nine digits are as much as a float32 holds: they give back its very bits.
    return [float(f"{number:.9g}") for number in vector.tolist()]


def _npz(embedded: "Embedded", space_id: str) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.savez(
        buffer,
        keys=np.array([item.name for item in embedded.items]),
        modalities=np.array([item.modality for item in embedded.items]),
        embeddings=embedded.embeddings,
        space=np.array(space_id),
    )
    return buffer.getvalue()


def _parquet(embedded: "Embedded", space_id: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    dim = embedded.embeddings.shape[1]
    table = pa.table(
        {
            "key": pa.array([item.name for item in embedded.items], pa.string()),
            "modality": pa.array([item.modality for item in embedded.items], pa.string()),
            "embedding": pa.FixedSizeListArray.from_arrays(
                pa.array(embedded.embeddings.reshape(-1)), dim
            ),
        }
    ).replace_schema_metadata({"unibind.space": space_id})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _jsonl(embedded: "Embedded", space_id: str) -> bytes:
    lines = (json.dumps(row | {"space": space_id}, ensure_ascii=False) for row in _rows(embedded))
    return "".join(f"{line}\n" for line in lines).encode()


WRITERS: Mapping[str, Callable[["Embedded", str], bytes]] = MappingProxyType(
    {".npz": _npz, ".parquet": _parquet, ".jsonl": _jsonl}
)
"""How embeddings are written, by the ending of the file's name."""
