"""The exceptions that unibind raises.

UnibindError
├── InvalidInputError    (also ValueError)  an item, an array or an argument is not what was needed
├── SpaceMismatchError   (also ValueError)  two things of different spaces met
├── ArtifactError        a folder on disk is missing, damaged or of an unknown version
├── FetchError           weights or a data set could not be brought here
├── PluginError          an entry point is unknown, ambiguous or does not load
├── WriterError          a language model gave no usable text
│   └── WriterUnavailableError          no call can work now: wrong key or model, no server
└── StoreError           the store is locked, full, read-only or damaged

Every message says what was found, what was needed and what to do.
"""

__all__ = [
    "ArtifactError",
    "FetchError",
    "InvalidInputError",
    "PluginError",
    "SpaceMismatchError",
    "StoreError",
    "UnibindError",
    "WriterError",
    "WriterUnavailableError",
]


class UnibindError(Exception):
    """The root: catch this to catch everything that unibind raises on purpose."""


class InvalidInputError(UnibindError, ValueError):
    """An item, an array or an argument is not what was needed."""


class SpaceMismatchError(UnibindError, ValueError):
    """Embeddings, centers, heads or stores of two different spaces met."""


class ArtifactError(UnibindError):
    """A folder on disk is missing, damaged, or written by an unknown version."""


class FetchError(UnibindError):
    """Weights or a data set could not be brought to this machine."""


class PluginError(UnibindError):
    """A plug-in is unknown, ambiguous, or does not load."""


class WriterError(UnibindError):
    """A language model gave no usable text."""


class WriterUnavailableError(WriterError):
    """No call can work now: the key or the model is wrong, or no server answers."""


class StoreError(UnibindError):
    """The store is locked, full, read-only or damaged."""
