"""What a plug-in offers: the shapes that the engine relies on, and nothing more."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from unibind.types import (
    FloatArray,
    Hit,
    Json,
    Modality,
    SpaceId,
    WritingRequest,
    WrittenAnswer,
)

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

__all__ = [
    "AlignedEncoder",
    "DescriptionWriter",
    "Encoder",
    "Instrument",
    "LabelledEncoder",
    "NetworkDesign",
    "PicturingEncoder",
    "TracingStore",
    "VectorStore",
]


@runtime_checkable
class Encoder(Protocol):
    """A frozen tower: items of one modality to features.

    Attributes:
        modality: What it reads.
        dim: Width F of its features.
        fingerprint: Hex hash of architecture, weights and preprocessing; equal fingerprints mean
            equal features, so caches and artefacts are keyed by it.
    """

    modality: Modality
    dim: int
    fingerprint: str

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Return the features of items, shape (N, F), not normalised.

        Args:
            items: What ``modality.read`` or ``modality.accept`` returned, N of them; may be empty.

        Raises:
            InvalidInputError: An item is not of the modality.
        """
        ...


@runtime_checkable
class LabelledEncoder(Encoder, Protocol):
    """An encoder that was trained as a classifier, so that its features already name things.

    Attributes:
        labels: Names of its L classes, in the order of the logits.
        label_texts: For each class one or more texts that say what it is.
    """

    labels: Sequence[str]
    label_texts: Sequence[Sequence[str]]

    def logits(self, features: FloatArray) -> FloatArray:
        """Return its own class scores, shape (N, L), from its features, shape (N, F)."""
        ...


@runtime_checkable
class AlignedEncoder(Encoder, Protocol):
    """An encoder that was trained together with a text tower, as CLIP's image tower was.

    Its features lie in that tower's space: made unit length they are embeddings, without a head.

    Attributes:
        space: The fingerprint of the text tower.
    """

    space: SpaceId


@runtime_checkable
class PicturingEncoder(Encoder, Protocol):
    """An encoder that shows its items to an image tower, and returns that tower's features.

    A head that was trained on pictures therefore fits its features too, until it has its own.

    Attributes:
        image_tower: The fingerprint of the image tower.
    """

    image_tower: str


@runtime_checkable
class NetworkDesign(Protocol):
    """A small network that is trained end to end in a space, and is an encoder from then on.

    It is declared as an encoder. ``unibind align`` trains it and keeps its weights in the space.

    Attributes:
        modality: What it reads.
        dim: Width F of its features.
        shape: Of one prepared item.
        fingerprint: Hex hash of architecture and preparation, without weights.
    """

    modality: Modality
    dim: int
    shape: tuple[int, ...]
    fingerprint: str

    def prepare(self, items: Sequence[Any]) -> FloatArray:
        """Return what the network takes of items, shape (N, *shape).

        Raises:
            InvalidInputError: An item is not of the modality.
        """
        ...

    def network(self, seed: int) -> "nn.Module":
        """Return a new network with random weights: a tensor (B, *shape) to features (B, F).

        It must do without dropout and other random numbers of its own, so that training can be
        interrupted and go on as if it had not been.
        """
        ...

    def augment(self, batch: "Tensor", generator: "Generator") -> "Tensor":
        """Return a batch of prepared items, on the CPU, as they might have been seen as well."""
        ...


@runtime_checkable
class Instrument(Protocol):
    """Measures named attributes of items in physical units; nothing is learned.

    Attributes:
        modality: What it reads.
        sensor: Which kind of sensor it is, as in a knowledge base's attribute ranges: ``"scan"``.
        attributes: Names of what it measures, A of them, each with its unit: ``"height_m"``.
    """

    modality: Modality
    sensor: str
    attributes: Sequence[str]

    def measure(self, items: Sequence[Any]) -> FloatArray:
        """Return the attributes of items, shape (N, A).

        NaN where an attribute does not apply to an item, or the item does not carry the physical
        unit (a scan without a scale) that it needs.

        Args:
            items: What ``modality.read`` or ``modality.accept`` returned, N of them; may be empty.
        """
        ...


@runtime_checkable
class VectorStore(Protocol):
    """Keeps unit-length embeddings of one space, of any number of modalities, under users' keys.

    Attributes:
        space: The space that every stored vector and every query must come from.
        dim: Width D of the space.
    """

    space: SpaceId
    dim: int

    def upsert(
        self,
        keys: Sequence[str],
        vectors: FloatArray,
        *,
        modality: str,
        metadata: Sequence[Mapping[str, Json]] | None = None,
    ) -> None:
        """Store vectors, shape (N, D), under keys; a key that is there is replaced.

        Returns only when every row would survive a power cut. All rows are stored, or none.
        """
        ...

    def delete(
        self, keys: Sequence[str] | None = None, *, where: Mapping[str, Json] | None = None
    ) -> int:
        """Remove items by key, by condition or both, and return how many there were.

        Once it returns, they are never found again.
        """
        ...

    def search(
        self,
        queries: FloatArray,
        *,
        k: int = 10,
        modalities: Sequence[str] | None = None,
        where: Mapping[str, Json] | None = None,
        query_modality: str | None = None,
        calibration: str | None = None,
    ) -> list[list[Hit]]:
        """Return for each query, shape (B, D), its k nearest items, best first.

        Never fewer than exist, never one that `where` excludes. A search into several modalities
        is calibrated, so that it does not rank by modality first; ``calibration="none"`` is plain
        cosine. `query_modality` says what the queries are, for that calibration.
        """
        ...

    def get(self, key: str) -> Hit | None:
        """Return the item of a key with score 1, or None."""
        ...

    def count(self, modality: str | None = None) -> int:
        """Return how many items are stored, in all or of one modality."""
        ...

    def close(self) -> None:
        """Release files and locks; the store must not be used afterwards."""
        ...


@runtime_checkable
class TracingStore(VectorStore, Protocol):
    """A store that also keeps where each item lies, and what made its vector.

    So an item can be shown again, and the vectors of an earlier head are known.
    """

    def upsert(
        self,
        keys: Sequence[str],
        vectors: FloatArray,
        *,
        modality: str,
        metadata: Sequence[Mapping[str, Json]] | None = None,
        sources: Sequence[str | None] | None = None,
        made_by: str | None = None,
    ) -> None:
        """Store vectors as every store does, with the items' paths or addresses and their maker.

        The maker is the head's content id, say.
        """
        ...

    def source(self, key: str) -> str | None:
        """Return the path or address of an item, None if it was not told."""
        ...

    def makers(self) -> Mapping[str, Mapping[str, int]]:
        """Return, for each modality, how many of its items each head made; "" where none was told.

        Takes so little that an engine may ask whenever it opens a store.
        """
        ...


@runtime_checkable
class DescriptionWriter(Protocol):
    """A language model that writes about classes. Entry points name a factory of WriterSettings.

    Attributes:
        model: Name of the model, stored as the generator of its lines.
        sampling: Temperature, seed, ...: what decides the answer besides the question.
        lines_per_call: Sentences asked for in one call.
        n_in_flight: Calls at a time; `write` is called from that many threads.
    """

    model: str
    sampling: Mapping[str, Json]
    lines_per_call: int
    n_in_flight: int

    def write(self, request: WritingRequest) -> WrittenAnswer | None:
        """Return the answer, or None if it will come later (a batch that is read back).

        Raises:
            WriterUnavailableError: No call can work now: wrong key, wrong model, no server.
            WriterError: This call got no answer; others may.
        """
        ...
