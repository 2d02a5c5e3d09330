"""The steps of the quickstart, from nothing to a space that answers."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import unibind
from unibind import artifact, datasets, weights
from unibind.alignment.targets import Targets
from unibind.datasets import Dataset
from unibind.engine import Engine
from unibind.engine import open as open_engine
from unibind.errors import ArtifactError, FetchError
from unibind.evaluation.arms import Row
from unibind.knowledge.base import KnowledgeBase, open_base
from unibind.quickstart.crossing import cross
from unibind.quickstart.measure import MODALITY, load_pictures, measure
from unibind.quickstart.report import markdown
from unibind.quickstart.reporting import Reporter
from unibind.quickstart.senses import add_senses
from unibind.quickstart.show import draw_all
from unibind.types import Json

__all__ = ["Quickstart", "Reporter", "quickstart"]

MODELS = ("minilm-l6", "efficientnet-lite0", "imagenet-labels")
TESTED_SET = "stamps"
HELPING_SETS = ("emoji",)
KNOWLEDGE = "everyday"
SEEDS = (0, 1, 2, 3, 4)

_KIND = "quickstart-report"
_FORMAT_VERSION = 1
_TABLES, _MARKDOWN = "tables.json", "report.md"
_SENSES_KIND, _CROSSED = "quickstart-senses", "searches.json"


@dataclass(frozen=True, slots=True)
class Quickstart:
    """What came of it.

    Attributes:
        tables: Every table, as `Measured.to_json` gives them.
        crossed: Searches across senses with their hits; none unless all senses were asked for.
        folder: Where the report and its pictures lie.
        pictures: The pictures.
        seconds: How long it took, downloads included.
        is_new: Whether it was measured now; False if nothing had changed since the last time.
    """

    tables: dict[str, Json]
    crossed: list[Json]
    folder: Path
    pictures: tuple[Path, ...]
    seconds: float
    is_new: bool

    @property
    def table(self) -> list[Row]:
        """The rows that tell the story: held-out captions, class texts, the supervised ceiling."""
        named = {
            "head + prior": "unseen classes: everyday centers",
            "head + prior, class names only": "unseen classes: class-name centers",
        }
        of_unseen = {row["arm"]: row for row in self.tables["unseen"]}
        of_seen = {row["arm"]: row for row in self.tables["seen"]}
        ceiling = {
            "head + prior": "seen classes: everyday centers",
            "supervised ceiling: linear probe": "seen classes: linear probe (supervised ceiling)",
        }
        renamed = [
            Row(**{**rows[arm], "arm": name, "default": False})  # type: ignore[typeddict-item]
            for rows, names in ((of_unseen, named), (of_seen, ceiling))
            for arm, name in names.items()
        ]
        return [*self.tables["captions"], *renamed]


def quickstart(
    root: Path,
    *,
    reporter: Reporter,
    seeds: Sequence[int] = SEEDS,
    again: bool = False,
    all_senses: bool = False,
) -> Quickstart:
    """Build space mini in a folder, measure it, and draw what it finds.

    Interrupted at any time, it goes on where it stopped when it is run again: weights, data and
    features are kept as they come, everything else is whole or absent.

    Args:
        root: Folder of the space.
        reporter: Hears what is going on.
        seeds: Of the held-out captions and classes.
        again: Measure again even if nothing has changed.
        all_senses: Add every sense whose public data is at hand, and search across them.

    Raises:
        FetchError: Weights or the tested set cannot be brought here.
        ArtifactError: The folder cannot be written.
    """
    started = time.monotonic()
    for name in MODELS:
        with reporter.progress(f"weights {name}", in_bytes=True) as progress:
            weights.fetch(name, progress=progress)
    sets = _fetch_sets(reporter)
    knowledge = open_base(KNOWLEDGE)
    folder = root / "report"
    with open_engine(root, recipe="mini") as engine:
        key = _key(engine, sets, knowledge, seeds)
        tables = None if again else _kept(folder, key)
        is_new = tables is None
        if tables is None:
            tables = _build(engine, sets, knowledge, seeds, folder, key, reporter)
        else:
            reporter.say("nothing has changed since the last run; its report is shown")
        crossed = (
            _cross(engine, sets[0], knowledge, root / "senses", reporter) if all_senses else []
        )
    return Quickstart(
        tables=tables,
        crossed=crossed,
        folder=folder,
        pictures=tuple(sorted([*folder.glob("*.png"), *(root / "senses").glob("*.png")])),
        seconds=round(time.monotonic() - started, 1),
        is_new=is_new,
    )


def _fetch_sets(reporter: Reporter) -> list[Dataset]:
    sets = []
    for name in (TESTED_SET, *HELPING_SETS):
        try:
            with reporter.progress(f"data {name}", in_bytes=True) as progress:
                dataset = datasets.fetch(name, progress=progress)
        except FetchError as error:
            if name == TESTED_SET:
                raise
            # The helping set adds about a point of R@1; without it the rest is still shown.
            reporter.say(f"going on without {name}: {error}")
            continue
        reporter.say(f"{name}: {len(dataset)} items, {dataset.licence}; {dataset.attribution}")
        sets.append(dataset)
    return sets


def _build(
    engine: Engine,
    sets: Sequence[Dataset],
    knowledge: KnowledgeBase,
    seeds: Sequence[int],
    folder: Path,
    key: str,
    reporter: Reporter,
) -> dict[str, Json]:
    engine.save()  # a folder that cannot be written is told now, not after minutes
    reporter.say(f"encoding {sum(map(len, sets))} pictures (once, ever)")
    with reporter.progress("encoding") as progress:
        pictures = load_pictures(engine, sets, progress=progress)
    reporter.say(f"measuring on held-out captions and classes, {len(seeds)} seeds")
    with reporter.progress("measuring") as progress:
        measured = measure(engine, pictures, TESTED_SET, knowledge, seeds=seeds, progress=progress)
    reporter.say("training the space's own head on all pictures")
    engine.align(
        MODALITY,
        pictures.paths,
        Targets.from_captions(pictures.captions, pictures.texts),
        judged=[source == TESTED_SET for source in pictures.sources],
    )
    engine.centers(knowledge=knowledge).save(engine.root / "centers" / knowledge.name)
    tested = sets[0]
    _store(engine, tested, reporter)
    reporter.say("drawing searches and the map")
    drawn = draw_all(engine, tested)
    tables = measured.to_json()
    text = markdown(
        measured,
        sets=[f"{s.name}: {len(s)} items, {s.source}; {s.licence}; {s.attribution}" for s in sets],
        seeds=len(seeds),
        pictures={name: shown for name, (shown, _) in drawn.items()},
    )
    with artifact.writing(
        folder,
        kind=_KIND,
        format_version=_FORMAT_VERSION,
        space=engine.space.id,
        params={"key": key},
    ) as staging:
        for name, (_, content) in drawn.items():
            (staging / name).write_bytes(content)
        (staging / _TABLES).write_text(json.dumps(tables, indent=2) + "\n", encoding="utf-8")
        (staging / _MARKDOWN).write_text(text, encoding="utf-8")
    return tables


def _cross(
    engine: Engine, tested: Dataset, knowledge: KnowledgeBase, folder: Path, reporter: Reporter
) -> list[Json]:
    added = add_senses(engine, knowledge, reporter=reporter)
    reporter.say("searching across senses")
    pictures = {item.key: item for item in tested.items if item.caption}
    crossed = cross(engine, added, pictures=pictures)
    with artifact.writing(
        folder, kind=_SENSES_KIND, format_version=_FORMAT_VERSION, space=engine.space.id
    ) as staging:
        told = [each.to_json() for each in crossed]
        (staging / _CROSSED).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        for n, each in enumerate(crossed):
            (staging / f"{n + 1}-{_file_name(each.crossing.title)}.png").write_bytes(each.sheet)
    return told


def _file_name(title: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in title).split())


def _store(engine: Engine, dataset: Dataset, reporter: Reporter) -> None:
    captioned = [item for item in dataset.items if item.caption]
    reporter.say(f"storing {len(captioned)} pictures and their captions in the index")
    engine.add(
        MODALITY,
        [item.path for item in captioned],
        keys=[item.key for item in captioned],
        metadata=[
            {"caption": item.caption, "group": item.group, "set": dataset.name}
            for item in captioned
        ],
    )
    captions = sorted({item.caption for item in captioned if item.caption})
    engine.add(
        "text",
        captions,
        keys=[f"{dataset.name} caption: {caption}" for caption in captions],
        metadata=[{"caption": caption, "set": dataset.name} for caption in captions],
    )


def _kept(folder: Path, key: str) -> dict[str, Json] | None:
    """Return the tables of the last run, None if what they were made of has changed."""
    if not artifact.exists(folder):
        return None
    try:
        manifest = artifact.verify(folder, kind=_KIND, format_version=_FORMAT_VERSION)
    except ArtifactError:
        return None  # it is made again, which is the remedy that the error would name
    if manifest.params.get("key") != key:
        return None
    tables: dict[str, Json] = json.loads((folder / _TABLES).read_text(encoding="utf-8"))
    return tables


def _key(
    engine: Engine, sets: Sequence[Dataset], knowledge: KnowledgeBase, seeds: Sequence[int]
) -> str:
    """Return a hash of all that the report depends on, our own code among it."""
    made_of = [
        engine.space.id,
        engine.encoder(MODALITY).fingerprint,
        *(f"{dataset.source} {len(dataset)}" for dataset in sets),
        knowledge.content_id,
        str(tuple(seeds)),
        *(artifact.sha256_of(file) for file in _code()),
    ]
    return hashlib.sha256("\n".join(made_of).encode()).hexdigest()


def _code() -> list[Path]:
    package = Path(next(iter(unibind.__path__)))
    return sorted(
        file
        for part in ("alignment", "evaluation", "quickstart")
        for file in (package / part).rglob("*.py")
    )
