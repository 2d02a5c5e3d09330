"""The modalities that are installed, by name, and which of them a file is."""

import logging
from collections.abc import Collection
from functools import cache
from pathlib import Path

from unibind.errors import InvalidInputError, PluginError
from unibind.plugins import load, names
from unibind.types import Modality

__all__ = ["installed", "modality_of", "open_modality"]

_GROUP = "unibind.modalities"
_log = logging.getLogger(__name__)


def open_modality(name: str) -> Modality:
    """Return the modality that a plug-in declares under a name.

    Raises:
        PluginError: None is called so, it does not load, or it is no `Modality`.
    """
    modality = load(_GROUP, name)
    if not isinstance(modality, Modality) or modality.name != name:
        raise PluginError(
            f"the entry point {name!r} in {_GROUP!r} gives {modality!r}; it must give a "
            f"unibind.types.Modality whose name is {name!r}"
        )
    return modality


@cache
def installed() -> dict[str, Modality]:
    """Return all modalities that load, by name; one that does not is logged and left out."""
    found = {}
    for name in names(_GROUP):
        try:
            found[name] = open_modality(name)
        except PluginError as error:
            _log.warning("%s", error)
    return found


def modality_of(
    source: Path | bytes, *, called: str = "", preferred: Collection[str] = ()
) -> Modality:
    """Return the modality of a file by the ending of its name, or else by its content.

    An ending that several claim is settled by content, and by `Modality.before`: an animated GIF
    is a video although a picture can be made of it.

    Args:
        source: A file's path, or its content.
        called: The name of the file whose content it is, if that is known.
        preferred: Names of modalities that are meant if any of them claims the ending: those
            that a space has. A space without video takes an animated GIF for a picture.

    Raises:
        InvalidInputError: No installed modality reads it, or several do; or the file is needed to
            tell and cannot be read.
    """
    candidates = [each for each in installed().values() if each.is_guessed]
    if isinstance(source, bytes) and not called:
        return _only(_reading(candidates, source), f"{len(source):,} bytes")
    suffix = (Path(called) if isinstance(source, bytes) else source).suffix.lower()
    by_name = [each for each in candidates if suffix in each.suffixes]
    by_name = [each for each in by_name if each.name in preferred] or by_name
    if len(by_name) == 1:
        return by_name[0]
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"cannot read {source!s}: {error.strerror or error}") from error
    readers = _reading(by_name or candidates, content, is_claimed=bool(by_name))
    return _only(readers or by_name, called or str(source))


def _reading(
    candidates: list[Modality], content: bytes, *, is_claimed: bool = False
) -> list[Modality]:
    """Return those that read the content and give way to no other that does.

    Of claimants of a file's ending, the one to whom all others left it need not read it.
    """

    def gives_way(modality: Modality, others: list[Modality]) -> bool:
        return any(modality.name in other.before for other in others)

    found: list[Modality] = []
    # Those that give way come last, and are not asked once another has read.
    in_turn = sorted(candidates, key=lambda each: gives_way(each, candidates))
    for modality in in_turn:
        is_left_over = is_claimed and not found and modality is in_turn[-1]
        if is_left_over and gives_way(modality, candidates):
            return [modality]
        if not gives_way(modality, found) and _reads(modality, content):
            found.append(modality)
    return found


def _reads(modality: Modality, content: bytes) -> bool:
    try:
        modality.read(content)
    except (InvalidInputError, PluginError):  # an extra that it needs may be missing
        return False
    return True


def _only(candidates: list[Modality], source: str) -> Modality:
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise InvalidInputError(
            f"no installed modality reads {source}; installed: {', '.join(installed())}. "
            "Install the extra that reads it, or say what it is (--modality)"
        )
    found = ", ".join(candidate.name for candidate in candidates)
    raise InvalidInputError(f"{source} may be {found}; say which (--modality)")
