"""Words: any UTF-8 text, with at least one visible character."""

from typing import Any

from unibind.errors import InvalidInputError
from unibind.types import Modality

__all__ = ["MAX_CHARACTERS", "TEXT", "accept", "read"]

MAX_CHARACTERS = 100_000
"""A longer text is refused: it is a document, of which a text tower would read the first lines."""


def read(content: bytes) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark.

    Raises:
        InvalidInputError: It is not UTF-8, or not a text that `accept` takes.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"not UTF-8 text (byte {error.start}: {error.reason}); save it as UTF-8"
        ) from None
    return accept(text)


def accept(value: Any) -> str:
    """Return a text as it is.

    A tower reads a limited number of tokens and ignores the rest; it states its limit.

    Args:
        value: A str with a visible character, at most `MAX_CHARACTERS` long.

    Raises:
        InvalidInputError: It is not a str, blank, too long, or has NUL or surrogates in it.
    """
    if not isinstance(value, str):
        raise InvalidInputError(f"a text was needed as str, got {type(value).__name__}")
    if not value.strip():
        raise InvalidInputError("the text is empty or only spaces; give at least one word")
    if len(value) > MAX_CHARACTERS:
        raise InvalidInputError(
            f"the text has {len(value):,} characters, at most {MAX_CHARACTERS:,} are taken; "
            "split it into paragraphs"
        )
    if "\0" in value:
        raise InvalidInputError("the text has a NUL character; it looks like a binary file")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"the text has a lone surrogate at character {error.start}, which is no character; "
            "decode the source with its true encoding"
        ) from None
    return value


TEXT = Modality(
    name="text",
    units="str with a visible character",
    read=read,
    accept=accept,
    suffixes=(".txt", ".md"),
    str_is_item=True,
)
