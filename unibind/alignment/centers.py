"""Class centers: what a class is, as K points of the space made from its sentences.

    centers = ClassCenters.from_lines(["cat", "dog"], [cat_vectors, dog_vectors], space=space)
    centers.scores(embeddings)                          # (N, C)

Which K sentences speak for a class is a named *selection* rule (UniBind calls the step embedding
center localization); how K points become one score is a named *scoring* rule.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from safetensors.numpy import load_file, save

from unibind import artifact
from unibind.alignment.geometry import check_rows, unit
from unibind.errors import InvalidInputError, SpaceMismatchError
from unibind.types import FloatArray, IntArray, SpaceId

__all__ = ["SCORING", "SELECTION", "ClassCenters", "check_labels"]

KIND = "centers"
FORMAT_VERSION = 1
_FILE = "centers.safetensors"

_MAX_COSINES = 2**25
"""Cosines to single centers that are held at once: 128 MiB."""

_SHARPNESS = 0.05
"""Temperature of the log-sum-exp scoring rule, in units of cosine."""

ORIGIN_WEIGHT = 8.0
"""How many classes the space's own origin counts for when the classes are centred."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassCenters:
    """K points of the space for each of C classes.

    What all classes share says nothing about which one it is, so their common mean is taken off
    before a score is made (`centred`). The mean of three classes is a poor guess of what all
    classes share: it is shrunk towards the space's origin, which is zero, as if `ORIGIN_WEIGHT`
    further classes lay there.

    Attributes:
        labels: Names of the classes, no two alike.
        vectors: Unit-length rows, shape (C, K, D). A class with fewer than K sentences repeats
            its mean, which leaves the mean rule as it is.
        space: Where the vectors live.
        selection: Name of the rule that chose the sentences, one of `SELECTION`.
        scoring: Name of the rule that makes scores, one of `SCORING`.
        centred: Whether the classes' common mean is taken off.
    """

    labels: tuple[str, ...]
    vectors: FloatArray
    space: SpaceId
    selection: str = "all"
    scoring: str = "mean"
    centred: bool = True

    def __post_init__(self) -> None:
        check_labels(self.labels)
        _known(self.selection, SELECTION, "selection")
        _known(self.scoring, SCORING, "scoring")
        if self.vectors.ndim != 3 or len(self.vectors) != len(self.labels):
            raise InvalidInputError(
                f"centers have shape {self.vectors.shape} for {len(self.labels)} classes; "
                "(C, K, D) was needed"
            )

    @classmethod
    def from_lines(
        cls,
        labels: Sequence[str],
        lines: Sequence[FloatArray],
        *,
        space: SpaceId,
        selection: str = "all",
        scoring: str = "mean",
        n_centers: int | None = None,
        centred: bool = True,
    ) -> "ClassCenters":
        """Return the centers of classes from the embeddings of their sentences.

        Args:
            labels: Names of the C classes.
            lines: For each class the unit-length embeddings of its sentences, shape (M, D); M may
                differ between classes.
            space: Where the embeddings live.
            selection: Which of a class's sentences are kept, one of `SELECTION`.
            scoring: How the kept ones make a score, one of `SCORING`.
            n_centers: K; at most as many sentences are kept per class. None keeps the most any
                class has.
            centred: Whether scores leave out what all classes share.

        Raises:
            InvalidInputError: A name twice, a class without sentences, an unknown rule, K < 1.
        """
        check_labels(labels)
        _known(selection, SELECTION, "selection")
        if len(labels) != len(lines):
            raise InvalidInputError(f"{len(labels)} labels but sentences of {len(lines)} classes")
        empty = [label for label, rows in zip(labels, lines, strict=True) if not len(rows)]
        if empty:
            raise InvalidInputError(
                f"{len(empty)} classes have no sentence, first {empty[0]!r}; "
                "write some with `unibind knowledge build`, or leave the classes out"
            )
        if n_centers is not None and n_centers < 1:
            raise InvalidInputError(f"K = {n_centers} centers per class; at least 1 is needed")
        k = n_centers or max(len(rows) for rows in lines)
        width = lines[0].shape[-1]
        rows_of = [check_rows(rows, width=width, what="sentence embeddings") for rows in lines]
        means = np.stack([rows.mean(axis=0) for rows in rows_of])  # (C, D)
        vectors = np.repeat(unit(means)[:, None, :], k, axis=1)  # (C, K, D)
        for c, rows in enumerate(rows_of):
            kept = SELECTION[selection](rows, means, c, k)
            vectors[c, : len(kept)] = rows[kept]
            if len(kept) < k:
                vectors[c, len(kept) :] = unit(rows[kept].mean(axis=0))
        return cls(tuple(labels), unit(vectors), space, selection, scoring, centred)

    @property
    def dim(self) -> int:
        """Width D of the space."""
        return int(self.vectors.shape[2])

    def points(self) -> FloatArray:
        """Return one unit-length point per class, shape (C, D): the mean of its K, centred.

        These are what a head is trained towards.
        """
        return unit(_directions(self.vectors) - self.common())

    def directions(self) -> FloatArray:
        """Return the K centers of each class, centred, unit length, shape (C, K, D)."""
        return unit(self.vectors - self.common())

    def scores(self, embeddings: FloatArray, *, space: SpaceId | None = None) -> FloatArray:
        """Return how near each embedding is to each class, shape (N, C), cosines in [-1, 1].

        Args:
            embeddings: Unit-length rows, shape (N, D).
            space: Where they live; checked if given.

        Raises:
            SpaceMismatchError: They live in another space.
            InvalidInputError: They have another width, or are NaN or infinite.
        """
        if space is not None and space != self.space:
            raise SpaceMismatchError(
                f"embeddings live in space {space}, these centers in {self.space}; encode with "
                "the centers' text tower, or rebuild the centers with `unibind align`"
            )
        rows = check_rows(embeddings, width=self.dim, what="embeddings")
        score, common = SCORING[self.scoring], self.common()
        n_classes, k, _ = self.vectors.shape
        step = max(1, _MAX_COSINES // (n_classes * k))
        blocks = [rows[start : start + step] for start in range(0, max(1, len(rows)), step)]
        return np.concatenate([score(block, self.vectors, common) for block in blocks])

    def save(self, path: Path, *, parents: dict[str, str] | None = None) -> None:
        """Write the centers as a folder; what was there is replaced.

        Raises:
            ArtifactError: The place cannot be written.
        """
        params = {
            "labels": list(self.labels),
            "selection": self.selection,
            "scoring": self.scoring,
            "centred": self.centred,
        }
        with artifact.writing(
            path,
            kind=KIND,
            format_version=FORMAT_VERSION,
            space=self.space,
            parents=parents,
            params=params,
        ) as folder:
            (folder / _FILE).write_bytes(save({"vectors": np.ascontiguousarray(self.vectors)}))

    @classmethod
    def open(cls, path: Path) -> "ClassCenters":
        """Read centers that `save` wrote.

        Raises:
            ArtifactError: They are missing or damaged.
        """
        manifest = artifact.verify(path, kind=KIND, format_version=FORMAT_VERSION)
        params = manifest.params
        return cls(
            labels=tuple(params["labels"]),
            vectors=load_file(path / _FILE)["vectors"],
            space=manifest.space or SpaceId(""),
            selection=params["selection"],
            scoring=params["scoring"],
            centred=params["centred"],
        )

    def common(self) -> FloatArray:
        """Return what all classes share, shape (D,): what is taken off before scores are made."""
        if not self.centred:
            return np.zeros(self.dim, dtype=np.float32)
        directions = _directions(self.vectors)
        common: FloatArray = directions.sum(axis=0) / (len(directions) + ORIGIN_WEIGHT)
        return common


def check_labels(labels: Sequence[str]) -> None:
    """Check that there is a class, that each has a name, and that no two names are alike.

    Raises:
        InvalidInputError: It is otherwise.
    """
    if isinstance(labels, str):
        raise InvalidInputError(f"one class was given where a list was needed; write [{labels!r}]")
    if not len(labels):
        raise InvalidInputError("the list of classes is empty; give at least one class")
    blank = [row for row, label in enumerate(labels) if not label.strip()]
    if blank:
        raise InvalidInputError(f"class {blank[0] + 1} of {len(labels)} has no name")
    seen: set[str] = set()
    for label in labels:
        if label in seen:
            raise InvalidInputError(f"class {label!r} is in the list twice; name each class once")
        seen.add(label)


def _known(name: str, rules: Mapping[str, object], what: str) -> None:
    if name not in rules:
        raise InvalidInputError(f"no {what} rule {name!r}; there are {', '.join(rules)}")


# Selection rules: (rows (M, D), class means (C, D), class c, K) -> at most K row numbers.


def _all(rows: FloatArray, means: FloatArray, c: int, k: int) -> IntArray:
    return np.arange(min(k, len(rows)), dtype=np.int64)


def _nearest_to_mean(rows: FloatArray, means: FloatArray, c: int, k: int) -> IntArray:
    return np.argsort(-rows @ means[c], kind="stable")[:k]


def _nearest_to_first(rows: FloatArray, means: FloatArray, c: int, k: int) -> IntArray:
    return np.argsort(-rows @ rows[0], kind="stable")[:k]


def _discriminative(rows: FloatArray, means: FloatArray, c: int, k: int) -> IntArray:
    """Prefer sentences that are nearer to their own class than to the nearest other one."""
    similarity = rows @ unit(means).T  # (M, C)
    own = similarity[:, c].copy()
    similarity[:, c] = -np.inf
    other = similarity.max(axis=1) if len(means) > 1 else np.zeros(len(rows))
    return np.argsort(other - own, kind="stable")[:k]


def _medoids(rows: FloatArray, means: FloatArray, c: int, k: int) -> IntArray:
    """Cover the class: the most central sentence, then always the one farthest from those kept.

    Source:
        Gonzalez, Clustering to minimize the maximum intercluster distance, 1985; the first point
        is the medoid here, so that the result does not depend on the order of the sentences.
    """
    similarity = rows @ rows.T
    kept = [int(similarity.sum(axis=1).argmax())]
    while len(kept) < min(k, len(rows)):
        nearest = similarity[:, kept].max(axis=1)
        nearest[kept] = np.inf
        kept.append(int(nearest.argmin()))
    return np.array(kept)


SELECTION: Mapping[str, Callable[..., IntArray]] = MappingProxyType(
    {
        "all": _all,
        "nearest-to-mean": _nearest_to_mean,
        "nearest-to-first": _nearest_to_first,
        "discriminative": _discriminative,
        "medoids": _medoids,
    }
)
"""Which sentences become centers, by name. ``all`` keeps the first K in the base's order; the first
of all, which ``nearest-to-first`` goes by, is the class's name where the engine makes centers."""


# Scoring rules: (embeddings (N, D), vectors (C, K, D), common (D,)) -> (N, C).


def _mean(embeddings: FloatArray, vectors: FloatArray, common: FloatArray) -> FloatArray:
    return embeddings @ unit(_directions(vectors) - common).T  # (N, D) @ (D, C) -> (N, C)


def _directions(vectors: FloatArray) -> FloatArray:
    """Return the direction of each class's mean, shape (C, D).

    Its length says only how much the class's sentences differ, and how often a short list of them
    was filled up with their mean.
    """
    return unit(vectors.mean(axis=1))


def _each(embeddings: FloatArray, vectors: FloatArray, common: FloatArray) -> FloatArray:
    n_classes, k, dim = vectors.shape
    points = unit(vectors - common).reshape(n_classes * k, dim)
    return (embeddings @ points.T).reshape(-1, n_classes, k)  # (N, C, K)


def _nearest(embeddings: FloatArray, vectors: FloatArray, common: FloatArray) -> FloatArray:
    best: FloatArray = _each(embeddings, vectors, common).max(axis=2)
    return best


def _log_sum_exp(embeddings: FloatArray, vectors: FloatArray, common: FloatArray) -> FloatArray:
    """Soften the nearest: t * log(mean over K of exp(cosine / t)), between the mean and the max."""
    cosines = _each(embeddings, vectors, common)
    best = cosines.max(axis=2, keepdims=True)
    powers = np.exp((cosines - best) / _SHARPNESS).mean(axis=2)
    score: FloatArray = best[..., 0] + _SHARPNESS * np.log(powers)
    return score


SCORING: Mapping[str, Callable[..., FloatArray]] = MappingProxyType(
    {"mean": _mean, "nearest": _nearest, "log-sum-exp": _log_sum_exp}
)
"""How K centers make one score, by name."""
