"""``unibind show``: a picture of what was read from a file, to check it by eye."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unibind.cli.items import OptionsOption, read_options
from unibind.cli.output import AsJson, emit, printable
from unibind.errors import InvalidInputError
from unibind.types import Json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["show"]


def show(
    file: Annotated[Path, typer.Argument(help="A file of any installed modality.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="PNG; FILE's name with -shown by default.")
    ] = None,
    modality: Annotated[
        str | None, typer.Option(help="What it is; by default told by its name or content.")
    ] = None,
    option: OptionsOption = None,
    as_json: AsJson = False,
) -> None:
    """Draw what was read from a file: the waveform, the cloud, the trace, the frames.

    Look at it before you trust what is made of it: a wrong rate or axis shows at once.
    """
    from unibind.artifact import write_file
    from unibind.encoders.pipeline import read_source
    from unibind.modalities.registry import modality_of, open_modality

    kind = modality_of(file) if modality is None else open_modality(modality)
    if kind.draw is None:
        raise InvalidInputError(f"{file} is {kind.name}, of which no picture is made; read it")
    item = read_source(kind, file, options=read_options(option))
    picture = kind.draw(item)
    path = out or Path(f"{file.stem}-shown.png")
    write_file(path, _png(picture))
    height, width = picture.shape[:2]
    about: dict[str, Json] = {
        "file": str(file),
        "modality": kind.name,
        "units": kind.units,
        "picture": str(path),
        "width": width,
        "height": height,
    }

    def people() -> None:
        print(f"{printable(str(file))}: {kind.name} ({kind.units})")
        print(f"{printable(str(path))}: {width} x {height} pixels")

    emit(about, as_json=as_json, people=people)


def _png(picture: "npt.NDArray[np.uint8]") -> bytes:
    import io

    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture).save(content, format="PNG")
    return content.getvalue()
