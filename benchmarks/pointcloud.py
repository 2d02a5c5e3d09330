"""What shapes can be told by: their views, class sentences, and sizes in metres, with controls.

    scripts/bench pointcloud           # writes benchmarks/results/pointcloud.json and pointcloud.md

The set `furniture-shapes`: three libraries of models, named by their catalogue. A model is of the
class of `everyday` that its name ends with. Models of one maker and class, and models of nearly the
same form, are one design, and no design is ever on both sides of a split. What is chosen (strength
of the ridge, weight of the measurements, penalty of seen classes) is chosen by the aligner on
classes held out of its own training data.
"""

import argparse
import json
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from unibind import weights
from unibind.alignment.aligner import Aligner
from unibind.alignment.attributes import ClassAttributes
from unibind.alignment.geometry import unit
from unibind.alignment.heads import Head
from unibind.alignment.hubs import without_hubs
from unibind.alignment.ridge import RidgePath
from unibind.alignment.targets import Targets
from unibind.datasets import Dataset, fetch
from unibind.encoders.cache import FeatureCache
from unibind.encoders.pipeline import encode_sources, read_source
from unibind.encoders.registry import open_encoder
from unibind.encoders.shape_descriptors import in_unit_ball
from unibind.engine import RECIPES, Engine
from unibind.evaluation.arms import Row, Tested, ranks_of, row_of
from unibind.evaluation.baselines import linear_probe
from unibind.evaluation.bootstrap import difference
from unibind.evaluation.captions import train_head
from unibind.evaluation.mixed import Mixed, harmonic_difference, harmonic_summary
from unibind.evaluation.names import ClassFinder
from unibind.evaluation.pictures import Pictures
from unibind.knowledge.base import KnowledgeBase, open_base
from unibind.measurement.scan import Scanner
from unibind.modalities.pointcloud import POINTCLOUD, PointCloud
from unibind.types import FloatArray, IntArray

# Other names that the catalogue has for a class of the knowledge base, read one by one.
SYNONYMS = {
    "bath": "bathtub", "bike": "bicycle", "coffee brewer": "coffee machine",
    "coffee maker": "coffee machine", "couch": "sofa", "dustbin": "trash can", "female": "person",
    "fork lift": "forklift", "fridge": "refrigerator", "glass": "drinking glass", "light": "lamp",
    "male": "person", "microwave": "microwave oven", "motorbike": "motorcycle", "mug": "cup",
    "plant": "potted plant", "recycling bin": "trash can", "shelves": "shelf",
    "toilets unit": "toilet", "trashcan": "trash can", "tv": "television",
}  # fmt: skip

FALSE_FRIENDS = ("bat",)  # of table tennis
N_NOUNS, N_CLASSES, N_UNSEEN = 10, 20, 6
NEAR_DUPLICATE = 0.03  # mean distance of two clouds of radius 1
SIZES = ("height_m", "length_m", "width_m")
N_PERMUTATIONS = 30
DEFAULT = "head + measured"


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """N models that name a class: what was seen, measured and said of each."""

    classes: npt.NDArray[np.str_]
    libraries: npt.NDArray[np.str_]
    designs: npt.NDArray[np.str_]
    features: FloatArray
    voxels: FloatArray
    prior: FloatArray
    measured: FloatArray
    encoder: str


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Points of the classes of the knowledge base: from its sentences, or from names alone."""

    classes: tuple[str, ...]
    knowledge: FloatArray
    names: FloatArray
    base: KnowledgeBase
    space: str

    def points(self, classes: list[str], kind: str, seed: int) -> FloatArray:
        """Return one point for each class, centred on what these classes share."""
        rows = [self.classes.index(name) for name in classes]
        chance = np.random.default_rng(seed)
        if kind == "random":
            return unit(chance.standard_normal((len(rows), self.names.shape[1])).astype("f4"))
        means = self.names if kind == "names" else self.knowledge
        points = unit(means[rows] - means[rows].mean(axis=0))
        return points[chance.permutation(len(rows))] if kind == "permuted" else points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args()
    for model in ("minilm-l6", "efficientnet-lite0", "imagenet-labels"):
        weights.fetch(model)
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine.from_recipe(RECIPES["mini"], Path(folder) / "space")
        texts = texts_of(engine)
        shapes = shapes_of(fetch("furniture-shapes"), engine, texts)
        result = {
            "n_models": len(shapes.classes),
            "n_classes": len(set(shapes.classes)),
            "n_designs": len(set(shapes.designs)),
            "seeds": chosen.seeds,
            "draws": chosen.draws,
            "measured_only": measured_only(shapes, texts),
            "nouns": nouns(shapes, texts, range(chosen.seeds)),
            "unseen": unseen(shapes, texts, range(chosen.draws)),
            "to_pictures": to_pictures(shapes, texts, engine, range(chosen.draws)),
        }
    chosen.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2, ensure_ascii=False)
    (chosen.out / "pointcloud.json").write_text(text + "\n", encoding="utf-8")
    (chosen.out / "pointcloud.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


def texts_of(engine: Engine) -> Texts:
    base = open_base("everyday")
    knowledge = engine.centers(knowledge=base)
    names = engine.centers(classes=knowledge.labels)
    return Texts(
        classes=knowledge.labels,
        knowledge=knowledge.vectors.mean(axis=1),
        names=names.vectors.mean(axis=1),
        base=base,
        space=engine.space.id,
    )


def shapes_of(dataset: Dataset, engine: Engine, texts: Texts) -> Shapes:
    finder, synonyms = ClassFinder(texts.classes), ClassFinder(SYNONYMS)
    named = [
        finder.find(item.label) or SYNONYMS.get(synonyms.find(item.label) or "")
        for item in dataset.items
    ]
    items = [(item, name) for item, name in zip(dataset.items, named, strict=True) if name]
    options = {"metres_per_unit": 1.0}
    clouds = [read_source(POINTCLOUD, item.path, options=options) for item, _ in items]
    encoder = open_encoder("depth-views")
    with FeatureCache.of(encoder) as cache:
        encoded = encode_sources(encoder, clouds, cache=cache, batch_size=8)
    assert not encoded.failures, encoded.failures[0]
    classes = np.array([name for _, name in items])
    makers = [f"{name}, {item.group}, {item.extra['creator']}" for item, name in items]
    width = engine.encoder("image").dim
    return Shapes(
        classes=classes,
        libraries=np.array([item.group for item, _ in items]),
        designs=designs_of(clouds, classes, makers),
        features=encoded.features,
        voxels=np.stack([voxels_of(cloud) for cloud in clouds]),
        prior=engine.prior("image").embed(encoded.features[:, :width]),
        measured=Scanner().measure(clouds),
        encoder=encoder.fingerprint,
    )


def voxels_of(cloud: PointCloud) -> FloatArray:
    cell = np.clip(((in_unit_ball(cloud.points) + 1) * 4).astype(int), 0, 7)
    voxels = np.zeros((8, 8, 8), dtype=np.float32)
    voxels[tuple(cell.T)] = 1
    return voxels.ravel()


def designs_of(
    clouds: list[PointCloud], classes: npt.NDArray[np.str_], makers: list[str]
) -> npt.NDArray[np.str_]:
    """Return a name for the design of each model: models that are linked, directly or not."""
    parent = list(range(len(clouds)))

    def root(n: int) -> int:
        while parent[n] != n:
            n = parent[n]
        return n

    points = [in_unit_ball(cloud.points)[::16] for cloud in clouds]
    trees = [cKDTree(each) for each in points]
    for a in range(len(clouds)):
        for b in range(a):
            if classes[a] != classes[b]:
                continue
            apart = (trees[a].query(points[b])[0].mean() + trees[b].query(points[a])[0].mean()) / 2
            # Of 512 points on one surface, nearest ones are about 0.02 apart.
            if makers[a] == makers[b] or apart < NEAR_DUPLICATE:
                parent[root(a)] = root(b)
    return np.array([f"design {root(n)}" for n in range(len(clouds))])


def measured_only(shapes: Shapes, texts: Texts) -> dict:
    """Return how often measurements alone find the class among all with ranges; untrained."""
    candidates = list(ClassAttributes.of(texts.base, "scan").labels)
    counts = Counter(shapes.classes)
    rows = np.array(
        [n for n, name in enumerate(shapes.classes) if counts[name] >= 2 and name in candidates]
    )
    answers = np.array([candidates.index(name) for name in shapes.classes[rows]])
    arms: dict[str, dict] = {}
    for arm, attributes in (("three sizes", SIZES), ("all five", Scanner.attributes)):
        ranges = ClassAttributes.of(texts.base, "scan", classes=candidates, attributes=attributes)
        columns = [Scanner.attributes.index(name) for name in attributes]
        measured = shapes.measured[rows][:, columns]
        ranks = ranks_of(ranges.log_likelihood(measured), answers)
        tested = Tested(ranks, shapes.designs[rows], len(candidates))
        chance = np.random.default_rng(0)
        wrong = [
            ranks_of(ranges.permuted(chance).log_likelihood(measured), answers)
            for _ in range(N_PERMUTATIONS)
        ]
        arms[arm] = {
            **row_of(arm, [tested]),
            "r_at_10": round(float((ranks < 10).mean()), 4),
            "permuted_r_at_1": round(float(np.mean([(r < 1).mean() for r in wrong])), 4),
            "permuted_r_at_5": round(float(np.mean([(r < 5).mean() for r in wrong])), 4),
        }
    return {
        "n": len(rows),
        "n_classes": len(set(answers)),
        "candidates": len(candidates),
        "arms": arms,
    }


class Trial:
    """Heads trained on some rows towards points of classes, and what they say of others."""

    def __init__(self, shapes: Shapes, texts: Texts, rows: IntArray, seed: int) -> None:
        self.shapes, self.texts, self.rows, self.seed = shapes, texts, rows, seed
        self.seen = sorted(set(shapes.classes[rows]))
        self.paths = {
            "views": RidgePath.of(shapes.features[rows]),
            "voxels": RidgePath.of(shapes.voxels[rows]),
        }

    def head(self, points: FloatArray, classes: list[str], inputs: str = "views") -> Head:
        """Return the ridge head towards points of classes, those of the rows among them."""
        place = {name: n for n, name in enumerate(classes)}
        of_rows = [place[name] for name in self.shapes.classes[self.rows]]
        targets = Targets.from_captions(list(self.shapes.classes[self.rows]), points[of_rows])
        return Aligner(seed=self.seed).fit(
            (self.shapes.features if inputs == "views" else self.shapes.voxels)[self.rows],
            replace(targets, are_classes=True),
            space=self.texts.space,
            encoder=self.shapes.encoder,
            measured=self.told(self.rows, list(targets.names)),
            path=self.paths[inputs],
        )

    def told(self, rows: IntArray, classes: list[str]) -> FloatArray:
        """Return log likelihood ratios of all five attributes."""
        ranges = ClassAttributes.of(self.texts.base, "scan", classes=classes)
        return ranges.log_likelihood(self.shapes.measured[rows])

    def probe(self, rows: IntArray) -> FloatArray:
        """Return the scores of a linear probe against the seen classes."""
        path = self.paths["views"]
        columns = np.searchsorted(self.seen, self.shapes.classes[self.rows])
        z = ((self.shapes.features[self.rows] - path.mean) / path.scale).astype(np.float32)
        weight, bias = linear_probe(z, columns, n_classes=len(self.seen))
        return ((self.shapes.features[rows] - path.mean) / path.scale) @ weight + bias


def corrected(head: Head, inputs: FloatArray, points: FloatArray) -> FloatArray:
    return without_hubs(head.embed(inputs) @ points.T, head.references @ points.T)


def fused(head: Head, scores: FloatArray, told: FloatArray) -> FloatArray:
    """As the engine fuses: log-linear, with the weight that held-out training classes chose."""
    return scores + head.temperature * head.measured_weight * told


def arms_of(
    trial: Trial, rows: IntArray, candidates: list[str], classes: list[str]
) -> dict[str, FloatArray]:
    """Return the scores of each arm for rows against candidates."""
    shapes, texts, seed = trial.shapes, trial.texts, trial.seed
    told = trial.told(rows, candidates)
    place = [classes.index(name) for name in candidates]
    chance = np.random.default_rng(seed)
    scores: dict[str, FloatArray] = {
        "chance": chance.random((len(rows), len(candidates)), np.float32),
        "prior through depth pictures": shapes.prior[rows]
        @ texts.points(candidates, "knowledge", seed).T,
        "measured": told,
    }

    def by(kind: str, inputs: str = "views") -> tuple[Head, FloatArray]:
        every = texts.points(classes, kind, seed)
        head = trial.head(every, classes, inputs)
        asked = (shapes.features if inputs == "views" else shapes.voxels)[rows]
        points = every[place]
        points = points if kind == "random" else unit(points - points.mean(axis=0))
        is_unseen = candidates != classes  # hubs are corrected among classes not trained on
        return head, corrected(head, asked, points) if is_unseen else head.embed(asked) @ points.T

    scores["voxels, head"] = by("knowledge", "voxels")[1]
    head, scores["head"] = by("knowledge")
    scores[DEFAULT] = fused(head, scores["head"], told)
    scores["head, permuted sentences"] = by("permuted")[1]
    if candidates != classes:  # of classes that were trained on, any text will do
        scores["head, class names only"] = by("names")[1]
        scores["head, random text"] = by("random")[1]
    return scores


def nouns(shapes: Shapes, texts: Texts, seeds: range) -> dict:
    """Return accuracy among ten common classes, all seen in training, on other designs."""
    spread = {name: len(set(shapes.libraries[shapes.classes == name])) for name in shapes.classes}
    common = [name for name, _ in Counter(shapes.classes).most_common() if spread[name] > 1]
    chosen = sorted(common[:N_NOUNS])
    is_chosen = np.isin(shapes.classes, chosen)
    is_kator = shapes.libraries == "KatorLegaz"
    names = sorted(set(shapes.libraries))
    found = {}
    for split in ("BlendSwap to KatorLegaz", "each library by the others", "by design, five folds"):
        tested: dict[str, list[Tested]] = defaultdict(list)
        for seed in seeds:
            if split == "BlendSwap to KatorLegaz":
                parts = [is_kator]
            elif split == "each library by the others":
                parts = [shapes.libraries == name for name in names]
            else:
                order = np.random.default_rng(seed).permutation(np.unique(shapes.designs))
                fold = {design: n % 5 for n, design in enumerate(order)}
                of = np.array([fold[design] for design in shapes.designs])
                parts = [of == n for n in range(5)]
            ranks: dict[str, list[IntArray]] = defaultdict(list)
            clusters = []
            for part in parts:
                test = np.flatnonzero(part & is_chosen)
                apart = ~np.isin(shapes.designs, shapes.designs[test])
                train = np.flatnonzero(~part & is_chosen & apart)
                test = test[np.isin(shapes.classes[test], shapes.classes[train])]
                trial = Trial(shapes, texts, train, seed)
                answers = np.searchsorted(trial.seen, shapes.classes[test])
                scores = arms_of(trial, test, trial.seen, trial.seen)
                scores["supervised: linear probe"] = trial.probe(test)
                for arm, each in scores.items():
                    ranks[arm].append(ranks_of(each, answers))
                clusters.append(shapes.designs[test])
            for arm, each in ranks.items():
                tested[arm].append(
                    Tested(np.concatenate(each), np.concatenate(clusters), len(chosen))
                )
        found[split] = table_of(
            tested,
            (
                ("head", "voxels, head"),
                ("head", "supervised: linear probe"),
                (DEFAULT, "head"),
                (DEFAULT, "measured"),
            ),
        )
    return {"classes": chosen, "splits": found}


def unseen(shapes: Shapes, texts: Texts, draws: range) -> dict:
    """Return what heads say of 6 of 20 classes that they have not seen, alone and among all."""
    chosen = sorted(name for name, _ in Counter(shapes.classes).most_common(N_CLASSES))
    rows = np.flatnonzero(np.isin(shapes.classes, chosen))
    tested: dict[str, list[Tested]] = defaultdict(list)
    generalised: dict[str, list[Mixed]] = defaultdict(list)
    for seed in draws:
        chance = np.random.default_rng(seed)
        hidden = sorted(chance.permutation(chosen)[:N_UNSEEN])
        of_seen = rows[~np.isin(shapes.classes[rows], hidden)]
        asked = rows[np.isin(shapes.classes[rows], hidden)]
        trial = Trial(shapes, texts, of_seen, seed)
        answers = np.searchsorted(hidden, shapes.classes[asked])
        for arm, each in arms_of(trial, asked, hidden, chosen).items():
            tested[arm].append(Tested(ranks_of(each, answers), shapes.designs[asked], N_UNSEEN))
        designs = np.unique(shapes.designs[of_seen])
        kept = of_seen[
            np.isin(shapes.designs[of_seen], designs[chance.random(len(designs)) < 1 / 3])
        ]
        fitted = Trial(shapes, texts, np.setdiff1d(of_seen, kept), seed)
        both = np.concatenate([kept, asked])
        generalise(fitted, both, chosen, generalised)
    table = table_of(
        tested,
        (
            ("head", "head, permuted sentences"),
            ("head", "head, class names only"),
            ("head", "voxels, head"),
            (DEFAULT, "head"),
            (DEFAULT, "measured"),
        ),
    )
    calibrated = {arm: found for arm, found in generalised.items() if "uncal" not in arm}
    best = f"{DEFAULT}, calibrated"
    return {
        "classes": chosen,
        "n_unseen": N_UNSEEN,
        **table,
        "generalised": {arm: both_kinds(found) for arm, found in generalised.items()},
        "differences_in_harmonic": {
            f"{best} minus {arm}": asdict(harmonic_difference(generalised[best], found))
            for arm, found in calibrated.items()
            if arm != best
        },
    }


def both_kinds(found: list[Mixed]) -> dict:
    """Return accuracies and their harmonic mean over draws."""
    told = harmonic_summary(found)
    return {
        "seen": round(float(np.mean([each.right[each.is_seen].mean() for each in found])), 4),
        "unseen": round(float(np.mean([each.right[~each.is_seen].mean() for each in found])), 4),
        "harmonic": round(told.mean, 4),
        "low": round(told.low, 4),
        "high": round(told.high, 4),
    }


def generalise(
    trial: Trial, rows: IntArray, classes: list[str], found: dict[str, list[Mixed]]
) -> None:
    """Add what is right with seen and unseen classes as candidates."""
    shapes, texts, seed = trial.shapes, trial.texts, trial.seed
    is_seen = np.isin(classes, trial.seen)
    answers = np.searchsorted(classes, shapes.classes[rows])
    ranges = ClassAttributes.of(texts.base, "scan", classes=classes)
    told = ranges.log_likelihood(shapes.measured[rows])
    wrong = ranges.permuted(np.random.default_rng(seed)).log_likelihood(shapes.measured[rows])

    def by(kind: str) -> tuple[Head, FloatArray]:
        points = texts.points(classes, kind, seed)
        head = trial.head(points, classes)
        return head, corrected(head, shapes.features[rows], points)

    head, plain = by("knowledge")
    other, misled = by("permuted")
    arms = {
        "head, uncalibrated": (plain, 0.0),
        f"{DEFAULT}, uncalibrated": (fused(head, plain, told), 0.0),
        "head, calibrated": (plain, head.seen_penalty),
        "measured": (told, 0.0),
        f"{DEFAULT}, calibrated": (fused(head, plain, told), head.seen_penalty),
        "head, permuted sentences, + measured": (fused(other, misled, told), other.seen_penalty),
        "head + measured, permuted ranges": (fused(head, plain, wrong), head.seen_penalty),
    }
    for arm, (scores, penalty) in arms.items():
        right = (scores - penalty * is_seen).argmax(axis=1) == answers
        found[arm].append(Mixed(right, is_seen[answers], shapes.designs[rows]))


def to_pictures(shapes: Shapes, texts: Texts, engine: Engine, draws: range) -> dict:
    """Return how often a shape finds the picture of its class, of which no head has seen either."""
    pictures = Pictures.of(
        [fetch("stamps"), fetch("emoji")],
        encoder=engine.encoder("image"),
        prior=engine.prior("image"),
        embed_texts=lambda captions: engine.embed("text", list(captions)),
        space=engine.space.id,
    )
    finder = ClassFinder(texts.classes)
    shown = np.array([finder.find(caption) or "" for caption in pictures.captions])
    concepts = sorted((set(shown) & set(shapes.classes)) - set(FALSE_FRIENDS))
    tested: dict[str, list[Tested]] = defaultdict(list)
    for seed in draws:
        chance = np.random.default_rng(seed)
        hidden = sorted(chance.permutation(concepts)[: len(concepts) // 2])
        image_head = train_head(
            pictures, np.flatnonzero(~np.isin(shown, hidden)), "stamps", seed=seed
        )
        gallery = np.array([chance.choice(np.flatnonzero(shown == name)) for name in hidden])
        seen_pictures = image_head.embed(pictures.inputs[gallery], pictures.prior[gallery])
        rows = np.flatnonzero(np.isin(shapes.classes, hidden))
        answers = np.searchsorted(hidden, shapes.classes[rows])
        trial = Trial(shapes, texts, np.flatnonzero(~np.isin(shapes.classes, hidden)), seed)
        classes = sorted(set(shapes.classes))
        scores = {"chance": chance.random((len(rows), len(hidden)), np.float32)}
        for arm, kind, inputs in (
            ("voxels, head", "knowledge", "voxels"),
            ("head", "knowledge", "views"),
            ("head, permuted sentences", "permuted", "views"),
        ):
            head = trial.head(texts.points(classes, kind, seed), classes, inputs)
            asked = (shapes.features if inputs == "views" else shapes.voxels)[rows]
            scores[arm] = centred(head.embed(asked)) @ centred(seen_pictures).T
        width = engine.encoder("image").dim
        raw = shapes.features[rows, :width]
        scores["the tower's own features"] = (
            centred(raw) @ centred(pictures.inputs[gallery][:, :width]).T
        )
        for arm, each in scores.items():
            ranks = ranks_of(each, answers)
            tested[arm].append(Tested(ranks, shapes.classes[rows], len(hidden)))
    return {
        "concepts": concepts,
        **table_of(tested, (("head", "head, permuted sentences"), ("head", "voxels, head"))),
    }


def centred(rows: FloatArray) -> FloatArray:
    return unit(rows - rows.mean(axis=0))


def table_of(tested: dict[str, list[Tested]], pairs: tuple[tuple[str, str], ...]) -> dict:
    within = {arm: [each.within(1) for each in found] for arm, found in tested.items()}
    return {
        "table": [row_of(arm, found, default=arm == DEFAULT) for arm, found in tested.items()],
        "differences_in_r_at_1": {
            f"{a} minus {b}": asdict(difference(within[a], within[b])) for a, b in pairs
        },
    }


def as_markdown(result: dict) -> str:
    lines = [
        "# Shapes: views, sentences, sizes",
        "",
        f"{result['n_models']} models of `furniture-shapes` name one of {result['n_classes']} "
        f"classes, in {result['n_designs']} designs. 95 % intervals by bootstrap over designs "
        f"(over classes for the search in pictures); {result['seeds']} seeds, "
        f"{result['draws']} draws.",
    ]
    alone = result["measured_only"]
    lines += [
        "",
        f"## Measured alone, nothing trained: {alone['n']} models of {alone['n_classes']} classes "
        f"among {alone['candidates']}",
        "",
        "| measured | top-1 | top-5 | top-10 | permuted ranges, top-1 / top-5 | chance |",
        "|---|---|---|---|---|---|",
    ]
    for arm, row in alone["arms"].items():
        lines.append(
            f"| {arm} | {cell(row, 'r_at_1')} | {cell(row, 'r_at_5')} | {row['r_at_10']:.3f} | "
            f"{row['permuted_r_at_1']:.3f} / {row['permuted_r_at_5']:.3f} | {row['chance']:.4f} |"
        )
    lines += ["", f"## Ten seen classes ({', '.join(result['nouns']['classes'])})"]
    for split, found in result["nouns"]["splits"].items():
        lines += ["", f"### {split}", "", *tabled(found)]
    found = result["unseen"]
    lines += [
        "",
        f"## {found['n_unseen']} of {len(found['classes'])} classes unseen",
        "",
        *tabled(found),
        "",
        "### Seen and unseen classes compete",
        "",
        "| arm | seen | unseen | harmonic mean |",
        "|---|---|---|---|",
    ]
    for arm, each in found["generalised"].items():
        lines.append(
            f"| {arm} | {each['seen']:.3f} | {each['unseen']:.3f} | {each['harmonic']:.3f} "
            f"[{each['low']:.3f}, {each['high']:.3f}] |"
        )
    lines += ["", "| paired difference in harmonic mean | mean | 95 % interval |", "|---|---|---|"]
    for name, each in found["differences_in_harmonic"].items():
        lines.append(
            f"| {name} | {each['mean']:+.3f} | {each['low']:+.3f} to {each['high']:+.3f} |"
        )
    found = result["to_pictures"]
    lines += [
        "",
        f"## A shape finds a picture of its class ({len(found['concepts'])} concepts, half of "
        "them held out of both heads)",
        "",
        *tabled(found),
    ]
    return "\n".join(lines) + "\n"


def cell(row: Row | dict, name: str) -> str:
    low, high = row[f"interval_{name}"]
    return f"{row[name]:.3f} [{low:.3f}, {high:.3f}]"


def tabled(found: dict) -> list[str]:
    rows: list[Row] = found["table"]
    lines = [
        f"n = {rows[0]['n']} a seed, {rows[0]['gallery']} to choose from",
        "",
        "| arm | R@1 | R@5 |",
        "|---|---|---|",
    ]
    for row in rows:
        name = f"**{row['arm']}**" if row["default"] else row["arm"]
        lines.append(f"| {name} | {cell(row, 'r_at_1')} | {cell(row, 'r_at_5')} |")
    lines += ["", "| paired difference in R@1 | mean | 95 % interval |", "|---|---|---|"]
    for name, each in found["differences_in_r_at_1"].items():
        lines.append(
            f"| {name} | {each['mean']:+.3f} | {each['low']:+.3f} to {each['high']:+.3f} |"
        )
    return lines


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"{time.monotonic() - started:.0f} s")
