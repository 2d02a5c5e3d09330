"""Whether one modality owns the space: who finds whom, how far apart they lie, and who is a hub."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import skew

from unibind.alignment.geometry import unit
from unibind.errors import InvalidInputError
from unibind.evaluation.bootstrap import Outcome, difference, summary
from unibind.evaluation.generalised import told
from unibind.types import FloatArray, IntArray, Json

__all__ = ["Balance", "Crowd", "draw_matrix", "measure_balance"]

_BLOCK = 256
N_NEAREST = 10


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """The items of one modality: embeddings, shape (N, D), and what each is called, shape (N,)."""

    embeddings: FloatArray
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Balance:
    """What was measured; before and after each modality was centred on its own mean.

    Attributes:
        items: Modality to how many items.
        matrix: ``"after"`` or ``"before"``, query modality, gallery modality to R@1, R@5, what
            chance finds at 1 and 5 (None if no query has an answer there), and the number of
            queries that have one.
        gap: Mean distance between the modalities' means.
        hubness: Skewness of how often an item is among the ten nearest of others, all modalities
            in one index; 0 is even.
        mean_average_precision: Of searches into the index of all modalities, with the paired
            difference that centring makes.
    """

    items: dict[str, int]
    matrix: dict[str, dict[str, dict[str, dict[str, float | None]]]]
    gap: dict[str, float]
    hubness: dict[str, float]
    mean_average_precision: dict[str, Json]


def measure_balance(crowds: Mapping[str, Crowd]) -> Balance:
    """Return who finds whom among items of several modalities that share names.

    Args:
        crowds: Modality to its items. Items of one name belong together.

    Raises:
        InvalidInputError: Fewer than two modalities, or no name that two of them share.
    """
    if len(crowds) < 2:
        raise InvalidInputError(
            f"{len(crowds)} modality; a balance is between two or more (--data MODALITY=SET)"
        )
    names = [name for crowd in crowds.values() for name in dict.fromkeys(crowd.names)]
    if len(set(names)) == len(names):
        raise InvalidInputError(
            f"the modalities {', '.join(crowds)} share no name, so nothing of one is an answer in "
            "another; give sets with common labels, or a knowledge base that names them alike"
        )
    centred = {
        modality: Crowd(unit(crowd.embeddings - crowd.embeddings.mean(axis=0)), crowd.names)
        for modality, crowd in crowds.items()
    }
    stages = {"before": crowds, "after": centred}
    precise = {stage: _mixed_precision(each) for stage, each in stages.items()}
    return Balance(
        items={modality: len(crowd.names) for modality, crowd in crowds.items()},
        matrix={
            stage: {
                asked: {
                    found: _retrieval(each[asked], each[found], asked == found) for found in each
                }
                for asked in each
            }
            for stage, each in stages.items()
        },
        gap={stage: round(_gap(each), 4) for stage, each in stages.items()},
        hubness={stage: round(_hubness(each), 4) for stage, each in stages.items()},
        mean_average_precision={
            **{stage: told(summary([each])) for stage, each in precise.items()},
            "after minus before": told(difference([precise["after"]], [precise["before"]])),
        },
    )


def draw_matrix(balance: Balance) -> bytes:
    """Return a PNG: R@1 of each modality's queries in each modality's gallery, as a heat map."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    order = list(balance.items)
    figure = Figure(
        figsize=(1.1 * len(order) * 2 + 2, 0.9 * len(order) + 2.4), layout="constrained"
    )
    FigureCanvasAgg(figure)
    for panel, stage in zip(figure.subplots(1, 2), ("before", "after"), strict=True):
        cells = balance.matrix[stage]
        rates = np.array(
            [[cells[a][b]["r_at_1"] for b in order] for a in order], dtype=np.float64
        )  # None is NaN, which stays white
        panel.imshow(rates, vmin=0, vmax=1, cmap="Blues")
        for y, asked in enumerate(order):
            for x, found in enumerate(order):
                cell = cells[asked][found]
                shown = f"{rates[y, x]:.2f}\n({cell['chance_at_1']:.2f})" if cell["n"] else "-"
                colour = "white" if rates[y, x] > 0.6 else "black"
                panel.text(x, y, shown, ha="center", va="center", fontsize=8, color=colour)
        panel.set_xticks(range(len(order)), order, fontsize=8, rotation=30)
        panel.set_yticks(range(len(order)), order, fontsize=8)
        panel.set_title(f"{stage} centring, gap {balance.gap[stage]:.2f}", fontsize=10)
        panel.set_xlabel("gallery", fontsize=8)
        panel.set_ylabel("query", fontsize=8)
    figure.suptitle("R@1 (and by chance)", fontsize=10)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return stream.getvalue()


def _retrieval(asked: Crowd, found: Crowd, is_same: bool) -> dict[str, float | None]:
    """Return how often a query's nearest items hold one of its name; itself is not there."""
    gallery = np.array(found.names)
    first, fifth, chances, n = 0, 0, np.zeros(2), 0
    for rows, scores in _scores(asked.embeddings, found.embeddings, is_same):
        relevant = np.array(asked.names)[rows, None] == gallery[None, :]
        if is_same:
            relevant[np.arange(len(rows)), rows] = False
        counts = relevant.sum(axis=1)
        has = counts > 0
        order = np.argsort(-scores[has], axis=1, kind="stable")[:, :5]
        hits = np.take_along_axis(relevant[has], order, axis=1)
        first += int(hits[:, 0].sum())
        fifth += int(hits.any(axis=1).sum())
        size = len(gallery) - is_same
        chances += [_chance(counts[has], size, k).sum() for k in (1, 5)]
        n += int(has.sum())
    if not n:
        nothing = dict.fromkeys(("r_at_1", "r_at_5", "chance_at_1", "chance_at_5"))
        return {**nothing, "n": 0}
    share = n
    return {
        "r_at_1": round(first / share, 4),
        "r_at_5": round(fifth / share, 4),
        "chance_at_1": round(float(chances[0]) / share, 4),
        "chance_at_5": round(float(chances[1]) / share, 4),
        "n": n,
    }


def _chance(n_relevant: IntArray, size: int, k: int) -> npt.NDArray[np.float64]:
    """Return how likely k items drawn at random hold a relevant one, shape (N,)."""
    none = np.ones(len(n_relevant))
    for draw in range(min(k, size)):
        none *= np.maximum(size - n_relevant - draw, 0) / (size - draw)
    return 1 - none


def _gap(crowds: Mapping[str, Crowd]) -> float:
    means = [crowd.embeddings.mean(axis=0) for crowd in crowds.values()]
    apart = [
        float(np.linalg.norm(one - other))
        for place, one in enumerate(means)
        for other in means[place + 1 :]
    ]
    return float(np.mean(apart))


def _hubness(crowds: Mapping[str, Crowd]) -> float:
    """Return the skewness of k-occurrences (Radovanovic et al., JMLR 2010, section 2)."""
    embeddings = np.concatenate([crowd.embeddings for crowd in crowds.values()])
    k = min(N_NEAREST, len(embeddings) - 1)
    counts = np.zeros(len(embeddings))
    for _, scores in _scores(embeddings, embeddings, True):
        nearest = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        counts += np.bincount(nearest.ravel(), minlength=len(embeddings))
    return float(skew(counts)) if counts.std() else 0.0


def _mixed_precision(crowds: Mapping[str, Crowd]) -> Outcome:
    """Return the average precision of each item's search into all others, of every modality."""
    embeddings = np.concatenate([crowd.embeddings for crowd in crowds.values()])
    names = np.array([name for crowd in crowds.values() for name in crowd.names])
    values, clusters = [], []
    for rows, scores in _scores(embeddings, embeddings, True):
        relevant = names[rows, None] == names[None, :]
        relevant[np.arange(len(rows)), rows] = False
        has = relevant.any(axis=1)
        order = np.argsort(-scores[has], axis=1, kind="stable")
        ordered = np.take_along_axis(relevant[has], order, axis=1)
        precision = ordered.cumsum(axis=1) / np.arange(1, ordered.shape[1] + 1)
        values.append((precision * ordered).sum(axis=1) / ordered.sum(axis=1))
        clusters.append(names[rows][has])
    return Outcome(np.concatenate(values), np.concatenate(clusters))


def _scores(
    queries: FloatArray, gallery: FloatArray, is_same: bool
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Yield cosines in blocks of queries; an item's with itself is minus infinity."""
    for start in range(0, len(queries), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(queries)))
        scores = queries[rows] @ gallery.T
        if is_same:
            scores[np.arange(len(rows)), rows] = -np.inf
        yield rows, scores
