"""Who may do what: keys with roles, hashed at rest, compared in constant time, limited in rate."""

import contextlib
import hashlib
import hmac
import json
import re
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from unibind.atomic import replacing_file
from unibind.errors import ArtifactError, InvalidInputError
from unibind.service.refusals import Refusal

__all__ = ["ANYBODY", "Access", "Caller", "Key", "KeyRing", "Role", "role_for"]

_PREFIX: Final = "ub"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_WRONG_PER_MINUTE: Final = 30
_MOST_BUCKETS: Final = 10_000


class Role(IntEnum):
    """What a key allows; each role allows what those before it do."""

    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Key:
    """One key, as it is kept.

    Attributes:
        name: What people call it; it stands in logs.
        role: ``"read"``, ``"write"`` or ``"admin"``.
        digest: SHA-256 of the key, hex. A key has 256 random bits, so nothing slower is needed.
        created: When, ISO 8601.
    """

    name: str
    role: str
    digest: str
    created: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        name: Name of the key; "" where no key is needed.
        role: What it may do.
    """

    name: str
    role: Role


ANYBODY: Final = Caller("", Role.ADMIN)
"""Who asks a service without keys, which only its own machine can reach."""


class KeyRing:
    """The keys in a file. Only hashes are kept: a key is shown once, when it is made.

    Args:
        path: The file; none is made before a key is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def keys(self) -> list[Key]:
        """Return the keys, oldest first.

        Raises:
            ArtifactError: The file cannot be read or is damaged.
        """
        try:
            rows = json.loads(self.path.read_text(encoding="utf-8"))
            return [_checked(Key(**row)) for row in rows["keys"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"the keys in {self.path} cannot be read: {error}; restore the file, or delete it "
                "and make new keys with `unibind keys add`"
            ) from error

    def add(self, name: str, role: str) -> str:
        """Make a key and return it; it cannot be shown again.

        Raises:
            InvalidInputError: The name is taken or cannot be one, or there is no such role.
            ArtifactError: The file cannot be read or written.
        """
        kept = self.keys()
        if not _NAME.fullmatch(name):
            raise InvalidInputError(
                f"{name!r:.80} cannot name a key; use up to 64 letters, digits, '-', '_' and '.'"
            )
        if any(key.name == name for key in kept):
            raise InvalidInputError(f"there is a key called {name!r} already; remove it first")
        secret = f"{_PREFIX}_{role}_{secrets.token_urlsafe(32)}"
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._write([*kept, _checked(Key(name, role, _digest(secret), now))])
        return secret

    def remove(self, name: str) -> None:
        """Remove a key; a running service forgets it within seconds.

        Raises:
            InvalidInputError: There is none of that name.
            ArtifactError: The file cannot be read or written.
        """
        kept = self.keys()
        left = [key for key in kept if key.name != name]
        if len(left) == len(kept):
            known = ", ".join(key.name for key in kept) or "none"
            raise InvalidInputError(f"there is no key called {name!r}; there are {known}")
        self._write(left)

    def _write(self, keys: Sequence[Key]) -> None:
        try:
            with replacing_file(self.path) as staging:
                staging.touch(mode=0o600)
                told = {"format": 1, "keys": [asdict(key) for key in keys]}
                staging.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ArtifactError(f"the keys cannot be written to {self.path}: {error}") from error


class Access:
    """Lets callers in by their keys, and only as often as they may ask.

    Args:
        ring: The keys; the file is read again when it changed.
        master: One key more, which may do everything.
        rate_per_minute: Requests per key and minute; 0 is no limit.
    """

    _REREAD_S = 2.0

    def __init__(
        self, ring: KeyRing, *, master: str | None = None, rate_per_minute: float = 0
    ) -> None:
        self._ring = ring
        self._master = [] if not master else [Key("master", "admin", _digest(master), "")]
        self._rate = rate_per_minute
        self._lock = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}
        self._keys = self._master + ring.keys()
        self._stamp = self._stamp_now()
        self._looked_at = time.monotonic()

    @property
    def has_keys(self) -> bool:
        """Whether a key is needed."""
        return bool(self._keys)

    def caller(self, presented: str | None, peer: str) -> Caller:
        """Return who presents a key.

        Every key is compared, whichever fits: the time taken says nothing.

        Args:
            presented: The key.
            peer: Address that it came from; wrong keys are limited by it.

        Raises:
            Refusal: A key is needed and none or a wrong one came; or too many wrong ones.
        """
        self._reread()
        if not self._keys:
            return ANYBODY
        if presented is None:
            raise Refusal(
                401,
                "missing_key",
                "a key is needed: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`",
            )
        wrong = f"peer {peer}"
        if self._bucket(wrong, _WRONG_PER_MINUTE).wait_s() > 0:
            raise Refusal(
                429, "too_many_wrong_keys", "too many wrong keys came from there; wait a minute",
                retry_after_s=60,
            )  # fmt: skip
        digest = _digest(presented).encode()
        fitting = [key for key in self._keys if hmac.compare_digest(key.digest.encode(), digest)]
        if not fitting:
            self._bucket(wrong, _WRONG_PER_MINUTE).take()
            raise Refusal(401, "wrong_key", "the key is not known here; ask for a new one")
        return Caller(fitting[0].name, Role[fitting[0].role.upper()])

    def admit(self, caller: Caller) -> None:
        """Count a request of a caller.

        Raises:
            Refusal: The caller asked too often.
        """
        if not self._rate:
            return
        wait_s = self._bucket(f"key {caller.name}", self._rate).take()
        if wait_s > 0:
            raise Refusal(
                429,
                "rate_limited",
                f"at most {self._rate:g} requests a minute with this key",
                retry_after_s=wait_s,
            )

    def _bucket(self, name: str, per_minute: float) -> "_Bucket":
        with self._lock:
            if name not in self._buckets:
                if len(self._buckets) >= _MOST_BUCKETS:
                    self._buckets.pop(next(iter(self._buckets)))
                self._buckets[name] = _Bucket(per_minute)
            return self._buckets[name]

    def _reread(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < self._REREAD_S:
            return
        self._looked_at = now
        stamp = self._stamp_now()
        if stamp != self._stamp:
            # A damaged file lets nobody new in, and nobody out.
            with contextlib.suppress(ArtifactError):
                keys = self._master + self._ring.keys()
                # The last key was removed: that must not open the door.
                self._keys = keys or [Key("nobody", "read", _digest(secrets.token_hex()), "")]
                self._stamp = stamp

    def _stamp_now(self) -> tuple[int, int] | None:
        try:
            status = self._ring.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino


class _Bucket:
    """A token bucket: so many a minute, and as many at once."""

    def __init__(self, per_minute: float) -> None:
        self._per_s = per_minute / 60
        self._room = max(1.0, per_minute)
        self._tokens = self._room
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def wait_s(self) -> float:
        """Return in how many seconds there is a token; 0 if there is one."""
        with self._lock:
            self._fill()
            return max(0.0, (1 - self._tokens) / self._per_s)

    def take(self) -> float:
        """Take a token and return 0, or return in how many seconds there is one."""
        with self._lock:
            self._fill()
            if self._tokens < 1:
                return (1 - self._tokens) / self._per_s
            self._tokens -= 1
            return 0.0

    def _fill(self) -> None:
        now = time.monotonic()
        self._tokens = min(self._room, self._tokens + (now - self._at) * self._per_s)
        self._at = now


_OPEN: Final = frozenset({"/", "/healthz", "/readyz", "/openapi.json"})
_READING_POSTS: Final = frozenset({"/v1/embeddings", "/v1/classify", "/v1/search", "/v1/inspect"})


def role_for(method: str, path: str) -> Role | None:
    """Return what a request needs; None if anybody may ask.

    What is not listed needs the most: a new route is closed until somebody opens it.
    """
    is_api = path.startswith("/v1/") or path == "/metrics"
    if method in ("GET", "HEAD", "OPTIONS"):
        return Role.READ if is_api else None
    if path in _READING_POSTS:
        return Role.READ
    if path.startswith("/v1/items"):
        return Role.WRITE
    return None if path in _OPEN else Role.ADMIN


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _checked(key: Key) -> Key:
    if key.role.upper() not in Role.__members__:
        known = ", ".join(role.name.lower() for role in Role)
        raise InvalidInputError(f"no role is called {key.role!r}; there are {known}")
    return key
