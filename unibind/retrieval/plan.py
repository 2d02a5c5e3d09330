"""Which kind of index a modality gets, and how hard each kind tries: values, no library."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from unibind.errors import InvalidInputError

__all__ = ["KINDS", "Plan", "contenders", "parse_bytes"]

KINDS = ("exact", "hnsw", "ivfpq", "int8", "binary")
# Up to here a full scan answers in milliseconds and needs neither building nor trust.
_SMALL = 50_000
_FIRST_EFFORT = {"hnsw": 16, "ivfpq": 2, "int8": 8, "binary": 64}
_LAST_EFFORT = {"hnsw": 2048, "ivfpq": 256, "int8": 512, "binary": 16_384}


@dataclass(frozen=True, slots=True)
class Plan:
    """How a modality is indexed.

    Attributes:
        kind: ``"exact"`` scans every row. ``"hnsw"`` walks a graph over the vectors. ``"ivfpq"``
            scans product-quantised codes of the nearest lists, ``"int8"`` one byte per dimension,
            ``"binary"`` one bit (RaBitQ); these three re-rank their candidates exactly.
        effort: hnsw: nodes kept while walking (efSearch); ivfpq: lists scanned, and 16 candidates
            re-ranked for each; int8 and binary: candidates re-ranked beyond k.
        wanted_recall: The budget it was tuned for: recall of the 10 nearest, against exact.
        recall: What was measured at that effort when it was built; 1 for exact.
        links: hnsw: edges per node and layer.
        build_effort: hnsw: nodes kept while building.

    Source:
        HNSW: Malkov and Yashunin 2016 (arXiv:1603.09320). Product quantisation: Jegou et al.,
        PAMI 2011. RaBitQ: Gao and Long, SIGMOD 2024 (arXiv:2405.12497).
    """

    kind: str
    effort: int = 0
    wanted_recall: float = 0.95
    recall: float = 1.0
    links: int = 16
    build_effort: int = 80

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidInputError(f"index kind is {self.kind!r}; one of {', '.join(KINDS)}")
        if not 0 < self.wanted_recall <= 1:
            raise InvalidInputError(
                f"recall is {self.wanted_recall!r}; a number in (0, 1] was needed"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the plan that `text` wrote."""
        return cls(**json.loads(text))

    def text(self) -> str:
        """Return the plan as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    def efforts(self) -> Iterator["Plan"]:
        """Yield the plan with its effort doubled from the least to the most that makes sense."""
        if self.kind == "exact":
            yield self
            return
        effort = _FIRST_EFFORT[self.kind]
        while effort <= _LAST_EFFORT[self.kind]:
            yield replace(self, effort=effort)
            effort *= 2

    @property
    def keeps_vectors(self) -> bool:
        """Whether the index compares with the vectors themselves, so that its scores are exact."""
        return self.kind in ("exact", "hnsw")

    @property
    def walks(self) -> bool:
        """Whether each query is compared with other rows, so that a batch has nothing to share."""
        return self.kind in ("hnsw", "ivfpq")

    def n_lists(self, n_rows: int) -> int:
        """Return how many lists an inverted file of n_rows has."""
        return max(1, min(round(2 * math.sqrt(n_rows)), n_rows // 39))

    def n_codes(self, dim: int) -> int:
        """Return into how many bytes product quantisation turns a vector."""
        return next(parts for parts in range(max(1, dim // 4), 0, -1) if dim % parts == 0)

    def n_bytes(self, n_rows: int, dim: int) -> int:
        """Return how much memory searching n_rows takes, in bytes, re-ranked rows left aside."""
        per_row = {
            "exact": 4 * dim,
            "hnsw": 4 * dim + 8 * self.links + 16,
            "ivfpq": self.n_codes(dim) + 8,
            "int8": dim,
            "binary": dim / 8 + 8,
        }
        lists = 4 * dim * self.n_lists(n_rows) if self.kind == "ivfpq" else 0
        return int(n_rows * per_row[self.kind]) + lists

    def n_scanned(self, n_rows: int, share: float) -> float:
        """Return to how many rows of an exact scan a search compares, share of them taking part.

        Rough, and on purpose in favour of exact: it decides when a filter or deletions leave so
        little that scanning what is left is both faster and right.
        """
        if self.kind == "hnsw":
            return 80 * self.effort / share
        if self.kind == "ivfpq":
            return n_rows * min(1.0, self.effort / self.n_lists(n_rows) / share) / 4 + 4096
        return n_rows / (4 if self.kind == "int8" else 16) + self.effort / share


def contenders(n_rows: int, dim: int, *, memory: int | None, recall: float) -> list[Plan]:
    """Return the plans worth trying for n_rows of width D, the fastest first, exact last.

    Args:
        n_rows: How many rows there are.
        dim: Their width.
        memory: Bytes that searching may keep resident; None for no limit.
        recall: The recall that is wanted.
    """
    plans = [Plan(kind, wanted_recall=recall) for kind in ("hnsw", "ivfpq", "binary", "int8")]
    if n_rows <= _SMALL or recall == 1:
        plans = []
    fitting = [plan for plan in plans if memory is None or plan.n_bytes(n_rows, dim) <= memory]
    return [*fitting, Plan("exact", wanted_recall=recall)]


_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_bytes(text: str | int) -> int:
    """Return a size such as ``"2GB"`` or ``"512MiB"`` in bytes.

    Raises:
        InvalidInputError: It is none.
    """
    told: Any = text
    digits = str(told).strip().upper()
    unit = digits.lstrip("0123456789.").strip()
    try:
        size = float(digits.removesuffix(unit).strip()) * _UNITS[unit]
    except (KeyError, ValueError):
        raise InvalidInputError(
            f"{told!r} is no size; write a number with KB, MB, GB, KiB, MiB or GiB, such as 2GB"
        ) from None
    return int(size)
