"""What a store says of an item and of itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from unibind.retrieval.plan import Plan
from unibind.types import FloatArray, Json

__all__ = ["Damage", "Duplicate", "ModalityStats", "Stats", "StoredItem", "Verification"]


@dataclass(frozen=True, slots=True)
class StoredItem:
    """All that a store keeps of one item.

    Attributes:
        key: The user's id.
        modality: Name of its modality.
        vector: Its embedding, unit length, shape (D,), with the very bits that were stored.
        metadata: What was stored beside it.
        source: Where it came from, a path or an address; None if not told.
        content_hash: Hash of its content as the caller computed it, or of its vector.
        created_at: When its key was first stored, seconds since 1970 UTC.
        updated_at: When it was last stored, likewise.
        made_by: What made the vector, as the caller told it: the head's content id, say.
    """

    key: str
    modality: str
    vector: FloatArray = field(repr=False)
    metadata: Mapping[str, Json] = field(default_factory=dict)
    source: str | None = None
    content_hash: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0
    made_by: str | None = None


@dataclass(frozen=True, slots=True)
class ModalityStats:
    """What is stored of one modality.

    Attributes:
        n_items: Items that can be found.
        n_deleted: Rows that a compaction would free.
        n_unindexed: Rows that came after its index was built, and are scanned; 0 without index.
        plan: How it is searched.
        n_bytes: Bytes of its rows on disk.
        mean_length: Length of its mean vector, in [0, 1]; near 1 the modality is one crowd.
        made_by: How many items each head, or what else was told, made; "" where nothing was told.
    """

    n_items: int
    n_deleted: int
    n_unindexed: int
    plan: Plan
    n_bytes: int
    mean_length: float
    made_by: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Items of the same content under several keys.

    Attributes:
        content_hash: What they share.
        keys: Their keys.
    """

    content_hash: str
    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class Stats:
    """What a store holds.

    Attributes:
        space: The space of its vectors.
        dim: Width D.
        generation: Counts the write transactions.
        calibration: What searches into several modalities use.
        n_items: Items of all modalities.
        n_bytes: Bytes of all its files.
        gap: Largest distance between the means of two modalities: the modality gap.
        modalities: By name.
        duplicates: Contents that are there more than once, at most as many as asked for.
    """

    space: str
    dim: int
    generation: int
    calibration: str
    n_items: int
    n_bytes: int
    gap: float
    modalities: Mapping[str, ModalityStats]
    duplicates: Sequence[Duplicate]


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is not as it was written.

    Attributes:
        where: The file, or the item, that is damaged.
        what: What was found, and what is lost by it.
        is_derived: Whether it can be made again from the truth; `verify` with repair does.
        key: The key of the item that is damaged, if it is a single one: store that item again.
    """

    where: str
    what: str
    is_derived: bool
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found.

    Attributes:
        n_items: How many items were compared with their checksums.
        damages: What is wrong, empty if all is well.
        repaired: What was wrong and was made again.
    """

    n_items: int
    damages: Sequence[Damage] = ()
    repaired: Sequence[Damage] = ()

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong (any more)."""
        return not self.damages
