"""``unibind knowledge lint``: find the lines that would do harm, and take them out."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from unibind.cli.output import AsJson, emit, printable, warn

if TYPE_CHECKING:
    from unibind.knowledge.lint import Finding


def lint(
    name: Annotated[str, typer.Argument(help="A knowledge base: its name or its folder.")],
    severity: Annotated[
        str, typer.Option(help="The least that is reported: note, warning, error.")
    ] = "warning",
    fix: Annotated[
        bool, typer.Option("--fix", help="Move lines with errors into quarantine.")
    ] = False,
    fix_severity: Annotated[
        str, typer.Option(help="The least that --fix takes out: warning, error.")
    ] = "error",
    language: Annotated[str, typer.Option(help="Language that the lines should be in.")] = "en",
    tower: Annotated[
        str, typer.Option(help="Text tower to measure with; 'none' leaves those rules out.")
    ] = "minilm-l6",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if a finding is an error; for CI.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find faulty lines: what was found, where, and what to do."""
    from unibind.cli.knowledge_tables import tell_gaps
    from unibind.cli.text_tower import TextTower, load_tower
    from unibind.knowledge.attribute_lint import lint_attributes
    from unibind.knowledge.base import open_base, own_folder, save_base
    from unibind.knowledge.faults import SEVERITIES
    from unibind.knowledge.language import LANGUAGES
    from unibind.knowledge.lint import lint as lint_base
    from unibind.knowledge.lint import quarantined

    for option, value, known in (
        ("--severity", severity, SEVERITIES),
        ("--fix-severity", fix_severity, SEVERITIES),
        ("--language", language, LANGUAGES),
    ):
        if value not in known:
            raise typer.BadParameter(f"{option} is {value!r}; there are {', '.join(known)}")
    base = open_base(name, sealed=fix)
    text_tower = TextTower(None, None, None) if tower == "none" else load_tower(tower)
    findings = lint_base(
        base,
        encoder=text_tower.encoder,
        count_tokens=text_tower.count_tokens,
        max_tokens=text_tower.max_tokens,
        severity=severity,  # type: ignore[arg-type]  # checked above
        language=language,
    )
    attribute_findings = lint_attributes(base, severity=severity)  # type: ignore[arg-type]
    n_fixed = 0
    if fix:
        cleaned = quarantined(base, findings, severity=fix_severity)  # type: ignore[arg-type]
        n_fixed = len(base.lines) - len(cleaned.lines)
        if n_fixed:
            save_base(cleaned, own_folder(name))
    result = {
        "name": base.name,
        "lines": len(base.lines),
        "findings": [asdict(finding) for finding in findings],
        "attribute_findings": [asdict(finding) for finding in attribute_findings],
        "quarantined": n_fixed,
    }

    def people() -> None:
        tell_gaps(base)
        _print(name, len(base.lines), findings, attribute_findings)
        if n_fixed:
            print(f"{n_fixed} lines moved to quarantine.jsonl")
            print(f"next: unibind knowledge build {name} ... asks again for what was written")

    emit(result, as_json=as_json, people=people)
    is_bad = any(f.severity == "error" for f in (*findings, *attribute_findings))
    if is_bad and strict and not fix:
        warn(f"{name} has lines with errors; --fix moves them into quarantine")
        raise SystemExit(1)


def _print(
    name: str, n_lines: int, findings: "list[Finding]", attribute_findings: "list[Finding]"
) -> None:
    from collections import Counter

    for file, group in (
        ("descriptions.jsonl", findings),
        ("attributes.jsonl", attribute_findings),
    ):
        for f in group:
            told = f"{file}:{f.row}: {f.severity}: {f.kind}: {f.evidence}; {f.remedy}"
            print(printable(told))
    kinds = Counter(f.kind for f in (*findings, *attribute_findings))
    rows = len({f.row for f in findings})
    summary = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    print(f"{name}: {rows} of {n_lines} lines with findings{': ' if summary else ''}{summary}")
