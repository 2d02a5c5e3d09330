"""The Hugging Face hub as a source of files."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils.tqdm import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from unibind.errors import FetchError

__all__ = ["download_file", "download_folder"]

# The bases of HfHubHTTPError hold the error of whichever HTTP client this version of the hub's
# library uses; some of that client's errors reach us as they are.
_FAILURES: tuple[type[BaseException], ...] = (
    OSError,
    ValueError,
    RuntimeError,
    *HfHubHTTPError.__bases__,
)


def download_file(repository: str, revision: str, name: str, into: Path) -> None:
    """Download one file of a repository to into/name.

    HF_ENDPOINT chooses another hub, HF_TOKEN a login, HF_HUB_OFFLINE=1 forbids it.

    Args:
        repository: Its id, ``"owner/name"``.
        revision: The full commit hash.
        name: The file's path in the repository.
        into: The folder.

    Raises:
        FetchError: The hub cannot be reached or does not have the file.
    """
    try:
        with _quiet():
            # force_download: nothing is there yet, and without it an absent network is asked
            # again for half a minute.
            hf_hub_download(
                repository, name, revision=revision, local_dir=into, force_download=True
            )
    except _FAILURES as error:
        raise _failure(repository, error) from error


def download_folder(repository: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """Return the folder, in the hub's own cache, of a repository's files that match a pattern.

    What is in the cache already is not brought again, and is enough without a network.

    Args:
        repository: Its id, ``"owner/name"``.
        revision: A branch, tag or commit; the main branch if None.
        patterns: Of the file names, as ``"*.json"``.

    Raises:
        FetchError: The hub cannot be reached, or has no such repository or revision.
    """
    try:
        with _quiet():
            folder = snapshot_download(repository, revision=revision, allow_patterns=[*patterns])
    except _FAILURES as error:
        raise _failure(repository, error) from error
    return Path(folder)


def _failure(repository: str, error: BaseException) -> FetchError:
    reason, *_ = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
    return FetchError(f"cannot bring {repository} from the Hugging Face hub: {reason.rstrip('.')}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the hub's library from drawing bars of its own."""
    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
