"""Files inside a Qt resource file (.rcc), which games bundle their media in."""

import struct
import zlib
from collections.abc import Iterator

from unibind.errors import FetchError

__all__ = ["resources"]

_COMPRESSED, _DIRECTORY, _ZSTD = 1, 2, 4
_MAX_BYTES = 64 << 20  # of one file; sounds and pictures have a few


def resources(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each file of a Qt resource file, versions 1 to 3.

    A file that is packed with zstd, which Qt takes for text only, is left out.

    Raises:
        FetchError: It is damaged, or no such file.

    Source:
        Qt's tool rcc: a header, then trees of names and of nodes, all big-endian.
    """
    try:
        if content[:4] != b"qres":
            raise FetchError(f"no Qt resource file, it starts with {content[:4]!r}")
        yield from _Resources(content).walk(0, "", depth=0)
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise FetchError(f"the Qt resource file is damaged ({error}); fetch it again") from error


class _Resources:
    def __init__(self, content: bytes) -> None:
        self._content = content
        version, self._tree, self._files, self._names = struct.unpack_from(">4I", content, 4)
        self._node_bytes = 14 if version == 1 else 22  # later ones say when a file was changed

    def walk(self, node: int, folder: str, *, depth: int) -> Iterator[tuple[str, bytes]]:
        if depth > 32:
            raise FetchError("the Qt resource file is damaged: its folders go round in a ring")
        at = self._tree + node * self._node_bytes
        name, flags, first, second = struct.unpack_from(">IHII", self._content, at)
        path = f"{folder}/{self._name(name)}" if node else ""
        if flags & _DIRECTORY:  # first: how many nodes are in it, second: the first of them
            for child in range(second, second + first):
                yield from self.walk(child, path, depth=depth + 1)
        elif not flags & _ZSTD:  # second: where its content is, after language and country
            yield path, self._file(second, is_compressed=bool(flags & _COMPRESSED))

    def _name(self, offset: int) -> str:
        at = self._names + offset
        (length,) = struct.unpack_from(">H", self._content, at)
        return self._content[at + 6 : at + 6 + 2 * length].decode("utf-16-be")  # after its hash

    def _file(self, offset: int, *, is_compressed: bool) -> bytes:
        at = self._files + offset
        (length,) = struct.unpack_from(">I", self._content, at)
        stored = self._content[at + 4 : at + 4 + length]
        if not is_compressed:
            return stored
        return zlib.decompressobj().decompress(stored[4:], _MAX_BYTES)  # after its full length
