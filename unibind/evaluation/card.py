"""A model card of an ablation: Markdown, JSON and a plot, the same bytes for the same inputs."""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap

from unibind import artifact
from unibind.evaluation.ablation import Ablation
from unibind.knowledge.class_texts import LLM
from unibind.types import Json

__all__ = ["draw", "markdown", "read_card", "write_card"]

KIND = "model-card"
FORMAT_VERSION = 1

_MADE_FROM = (
    "data", "modality", "encoder", "space", "knowledge", "medium", "domain", "method", "seeds"
)  # fmt: skip
_FEW_CLASSES = 20


def write_card(ablation: Ablation, path: Path) -> None:
    """Write ``card.md``, ``card.json`` and ``card.png`` as a folder; what was there is replaced.

    Nothing in them depends on the time, the machine or the order of anything.

    Raises:
        ArtifactError: The place cannot be written.
    """
    with artifact.writing(path, kind=KIND, format_version=FORMAT_VERSION) as folder:
        (folder / "card.md").write_text(markdown(ablation), encoding="utf-8")
        told = json.dumps(asdict(ablation), indent=2, sort_keys=True, ensure_ascii=False)
        (folder / "card.json").write_text(told + "\n", encoding="utf-8")
        (folder / "card.png").write_bytes(draw(ablation))


def read_card(path: Path) -> Ablation:
    """Return the ablation of a card that `write_card` wrote.

    Raises:
        ArtifactError: It is missing or damaged.
    """
    artifact.verify(path, kind=KIND, format_version=FORMAT_VERSION)
    return Ablation(**json.loads((path / "card.json").read_text(encoding="utf-8")))


def markdown(ablation: Ablation) -> str:
    """Return the card as Markdown."""
    about = ablation.about
    lines = [
        f"# {about['modality']} in {about['data']}",
        "",
        f"**{ablation.verdict}.**",
        "",
        f"Stands for a class by this ablation: **{ablation.chosen}** ({ablation.because}).",
        "",
        "![accuracy of each text](card.png)",
        "",
        f"{about['items']} items of {about['classes']} classes, of which {about['unseen_classes']} "
        f"are unseen by the head in each of {len(about['seeds'])} seeds; split by "
        f"{about['split_by']}. Each class has {about['lines_per_class']} texts in every arm. "
        "Accuracy among the classes of a kind, with 95 % intervals by bootstrap over classes; H is "
        "the harmonic mean where all classes are candidates, with the penalty of seen classes "
        "learned on training classes, and without it.",
        "",
        "| class text | unseen | 95 % | seen | 95 % | H | H without |",
        "|---|---|---|---|---|---|---|",
        f"| chance | {_number(about['chance_unseen'])} | | {about['chance_seen']:.3f} | | | |",
        *(_row(row) for row in ablation.rows),
        "",
        "LLM text less the others, paired over items:",
        "",
        "| less | unseen | 95 % | seen | 95 % |",
        "|---|---|---|---|---|",
        *(_difference(row["arm"], ablation) for row in ablation.rows if row["arm"] != LLM),
        "",
        "Seen classes do not test what a text means: a head trained with labels reaches random "
        "points as well. The probe sees labels, and no text; it has nothing to say of unseen "
        "classes. What the encoder itself was trained on is not known to this card: *unseen* means "
        "unseen by the head.",
        *_cautions(about),
        "",
        "| made from | |",
        "|---|---|",
        *(f"| {name.replace('_', ' ')} | {_plain(about[name])} |" for name in _MADE_FROM),
        "",
    ]
    return "\n".join(lines)


def draw(ablation: Ablation) -> bytes:
    """Return a PNG: accuracy on unseen and seen classes by arm, with intervals and chance."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = list(reversed(ablation.rows))
    figure = Figure(figsize=(9, 0.42 * len(rows) + 1.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, kind in zip(panels, ("unseen", "seen"), strict=True):
        chance = ablation.about[f"chance_{kind}"]
        panel.set_yticks(range(len(rows)), [row["arm"] for row in rows], fontsize=8)
        panel.tick_params(axis="x", labelsize=8)
        panel.set_xlim(0, 1)
        if chance is None:
            panel.set_title(f"{kind} classes: none", fontsize=10)
            continue
        for place, row in enumerate(rows):
            found = row[kind]
            if found is None:
                continue
            colour = "#2f6fde" if row["arm"] == LLM else "#9aa3b2"
            panel.barh(place, found["mean"], color=colour)
            panel.plot([found["low"], found["high"]], [place, place], color="#1a1a1a", linewidth=1)
        panel.axvline(chance, color="#c0392b", linestyle=":", linewidth=1)
        panel.set_title(f"{kind} classes (chance {chance:.3f})", fontsize=10)
    figure.suptitle("\n".join(wrap(ablation.verdict, 100)), fontsize=10)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return stream.getvalue()


def _row(row: Mapping[str, Json]) -> str:
    bold = "**" if row["arm"] == LLM else ""
    cells = [f"{bold}{row['arm']}{bold}"]
    for kind in ("unseen", "seen"):
        found = row[kind]
        cells += ["", ""] if found is None else [
            f"{bold}{found['mean']:.3f}{bold}", f"{found['low']:.3f} to {found['high']:.3f}"
        ]  # fmt: skip
    for name in ("harmonic", "harmonic_uncalibrated"):
        cells.append("" if row[name] is None else f"{row[name]:.3f}")
    return f"| {' | '.join(cells)} |"


def _difference(arm: str, ablation: Ablation) -> str:
    cells = [arm]
    for kind in ("unseen", "seen"):
        found = ablation.differences[kind].get(arm)
        cells += ["", ""] if found is None else [
            f"{found['mean']:+.3f}", f"{found['low']:+.3f} to {found['high']:+.3f}"
        ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _cautions(about: Mapping[str, Json]) -> list[str]:
    """Return what a reader must know of a small set."""
    told = []
    if about["classes"] < _FEW_CLASSES:
        told.append(
            f"With {about['classes']} classes the intervals are too narrow: a bootstrap draws from "
            "classes, and so few of them do not stand for others. Take them as a hint."
        )
    if about["split_by"] == "item":
        told.append(
            "Items that belong together (one maker, one session) were not kept apart, so seen "
            "classes may look better than new recordings of them would."
        )
    return [line for each in told for line in ("", each)]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _plain(value: Json) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
