"""Draw what the alignment benchmarks measured: the few-shot curves, and a page of tables."""

import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    measured = json.loads((RESULTS / "alignment.json").read_text(encoding="utf-8"))
    draw_few_shot(measured["few_shot"])
    (RESULTS / "alignment.md").write_text(page(measured), encoding="utf-8")


def draw_few_shot(few_shot: dict) -> None:
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, (use, found) in zip(figure.subplots(1, 2), few_shot.items(), strict=True):
        for arm, colour in (("taught", "#2f6fde"), ("linear probe", "#9aa3b2")):
            shots = [n for n in found["shots"] if f"{arm}, {n}" in found["accuracy"]]
            rows = [found["accuracy"][f"{arm}, {n}"] for n in shots]
            panel.plot(shots, [row["mean"] for row in rows], "o-", color=colour, label=arm)
            low, high = ([row[end] for row in rows] for end in ("low", "high"))
            panel.fill_between(shots, low, high, color=colour, alpha=0.2)
        panel.axhline(found["chance"], color="#c0392b", linestyle=":", label="chance")
        panel.set_title(f"{use}: {found['classes']} unseen classes", fontsize=10)
        panel.set_xlabel("examples of each class")
        panel.set_ylabel("accuracy")
        panel.set_ylim(0, 1)
        panel.legend(fontsize=8)
    figure.savefig(RESULTS / "few_shot.png", dpi=110, metadata={"Software": None})


def page(measured: dict) -> str:
    lines = [
        "# Alignment",
        "",
        f"Machine: {measured['machine']}. Developed on emoji; stamps and furniture are the test. "
        "Means over 5 seeds; a third of the classes of `everyday` is unseen.",
        "",
    ]
    for use, found in measured["sets"].items():
        lines += [
            f"## {use}: {', '.join(found['sets'])}, {found['items']} pictures",
            "",
            "| arm | seen | unseen | H | H raw | unknown AUROC |",
            "|---|---|---|---|---|---|",
        ]
        for arm in ("head + prior", "head", "raw pixels"):
            row = found[arm]
            cells = [
                arm,
                f"{row['accuracy']['seen']['mean']:.3f}",
                f"{row['accuracy']['unseen']['mean']:.3f}",
                f"{row['together']['calibrated']['harmonic']:.3f}",
                f"{row['together']['uncalibrated']['harmonic']:.3f}",
                f"{row['unknown']['auroc']:.3f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        lines += ["", *calibration(found)]
        lines += [
            "",
            "| contrast less ridge, paired | seen | unseen | steps chosen |",
            "|---|---|---|---|",
        ]
        for arm in ("head", "head + prior"):
            row = found[f"contrast, {arm}"]
            told = [
                f"{each['mean']:+.3f} [{each['low']:+.3f}, {each['high']:+.3f}]"
                for each in (row[f"{kind}, contrast minus ridge"] for kind in ("seen", "unseen"))
            ]
            steps = ", ".join(map(str, row["steps_chosen"]))
            lines.append(f"| {arm} | {told[0]} | {told[1]} | {steps} |")
        lines.append("")
    for use, found in measured["few_shot"].items():
        lines += [
            f"## few-shot, {use}: {found['classes']} unseen classes, {found['tested']} tested",
            "",
            "| examples | taught | linear probe | taught less probe |",
            "|---|---|---|---|",
        ]
        for n in found["shots"]:
            taught = found["accuracy"][f"taught, {n}"]["mean"]
            probe = found["accuracy"].get(f"linear probe, {n}")
            less = found["taught_minus_probe"].get(str(n))
            lines.append(
                f"| {n} | {taught:.3f} | {'' if probe is None else format(probe['mean'], '.3f')} | "
                + (
                    ""
                    if less is None
                    else f"{less['mean']:+.3f} [{less['low']:+.3f}, {less['high']:+.3f}]"
                )
                + " |"
            )
        lines.append("")
    return "\n".join([*lines, "![few-shot](few_shot.png)", ""])


def calibration(found: dict) -> list[str]:
    lines = [
        "| expected calibration error | error | 95 % interval over classes | what perfect "
        "probabilities would show | less what chance adds | believed | right |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in ("head + prior", "head"):
        for kind, row in found[arm]["calibration_error"].items():
            interval = f"{row['low']:.3f} to {row['high']:.3f}"
            cells = (row["floor"], row["debiased"], row["believed"], row["right"])
            lines.append(
                f"| {arm}, {kind} classes | {row['error']:.3f} | {interval} | "
                + " | ".join(f"{each:.3f}" for each in cells)
                + " |"
            )
    return lines


if __name__ == "__main__":
    main()
