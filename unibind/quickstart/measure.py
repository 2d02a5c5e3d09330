"""What the quickstart measures: two tables on held-out captions and held-out classes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from unibind.datasets import Dataset
from unibind.engine import Engine
from unibind.errors import InvalidInputError
from unibind.evaluation.arms import Row
from unibind.evaluation.captions import caption_table
from unibind.evaluation.pictures import Pictures
from unibind.evaluation.zero_shot import label_pictures, zero_shot
from unibind.knowledge.base import KnowledgeBase
from unibind.types import Json, ProgressCallback

__all__ = ["Measured", "load_pictures", "measure"]

MODALITY = "image"


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured.

    Attributes:
        captions: Held-out captions: one row per arm.
        unseen: Classes that no head has seen: one row per arm.
        seen: Classes that the heads have seen: one row per arm.
        differences: Paired differences in R@1 among unseen classes, with intervals.
        generalised: Seen, unseen and harmonic mean accuracy, all classes being candidates.
    """

    captions: list[Row]
    unseen: list[Row]
    seen: list[Row]
    differences: dict[str, dict[str, float]]
    generalised: dict[str, dict[str, float]]

    def to_json(self) -> dict[str, Json]:
        """Return all of it as JSON values."""
        return asdict(self)


def load_pictures(
    engine: Engine, datasets: Sequence[Dataset], *, progress: ProgressCallback | None = None
) -> Pictures:
    """Return the captioned pictures of datasets, encoded.

    Raises:
        InvalidInputError: The image tower never learned names, or a picture cannot be read.
    """
    prior = engine.prior(MODALITY)
    if prior is None:
        raise InvalidInputError("the space's image tower never learned names; use space mini")
    return Pictures.of(
        datasets,
        encoder=engine.encoder(MODALITY),
        prior=prior,
        embed_texts=lambda texts: engine.embed("text", list(texts)),
        space=engine.space.id,
        progress=progress,
    )


def measure(
    engine: Engine,
    pictures: Pictures,
    source: str,
    knowledge: KnowledgeBase,
    *,
    seeds: Sequence[int],
    progress: ProgressCallback | None = None,
) -> Measured:
    """Return both tables.

    Args:
        engine: Of the space.
        pictures: Of the tested set, and others to train with.
        source: The set whose captions are held out.
        knowledge: Whose classes are held out.
        seeds: Of the splits.
        progress: Called with the seeds done, over both tables, and their number.
    """
    n_seeds = len(seeds)

    def later(n_done: int, n_total: int) -> None:
        if progress is not None:
            progress(n_seeds + n_done, 2 * n_total)

    def now(n_done: int, n_total: int) -> None:
        if progress is not None:
            progress(n_done, 2 * n_total)

    captions = caption_table(pictures, source, seeds=seeds, progress=now)
    labelled = label_pictures(pictures, knowledge.classes)
    outcome = zero_shot(
        labelled,
        knowledge=engine.centers(knowledge=knowledge, classes=labelled.classes),
        names=engine.centers(classes=labelled.classes),
        seeds=seeds,
        progress=later,
    )
    return Measured(
        captions=captions,
        unseen=outcome.unseen,
        seen=outcome.seen,
        differences={
            name: {key: round(value, 4) for key, value in asdict(found).items()}
            for name, found in outcome.differences.items()
        },
        generalised=outcome.generalised,
    )
