"""``unibind knowledge``: make, look at, check and review what is known about classes."""

from pathlib import Path
from typing import Annotated

import typer

from unibind.cli import knowledge_build, knowledge_lint, knowledge_review
from unibind.cli.output import AsJson, emit
from unibind.errors import InvalidInputError

app = typer.Typer(
    help="Knowledge bases: sentences and measurable attributes per class.", no_args_is_help=True
)
app.command()(knowledge_build.build)
app.command()(knowledge_build.describe)
app.command()(knowledge_build.measure)
app.command()(knowledge_build.export)
app.command()(knowledge_lint.lint)
app.command()(knowledge_review.diff)
app.command()(knowledge_review.accept)
app.command()(knowledge_review.reject)
app.command()(knowledge_review.edit)
app.command("sign-off")(knowledge_review.sign_off)

Name = Annotated[str, typer.Argument(help="A knowledge base: its name or its folder.")]


@app.command("import")
def import_(
    name: Annotated[str, typer.Argument(help="Name of the new base, or a folder for it.")],
    file: Annotated[
        Path, typer.Argument(help="JSONL, CSV, text file named like its class, folder.")
    ],
    classes: Annotated[Path | None, typer.Option(help="CSV: group,class_name, in order.")] = None,
    attributes: Annotated[Path | None, typer.Option(help="JSONL with attribute ranges.")] = None,
    generator: Annotated[str, typer.Option(help="Who wrote the lines.")] = "unknown",
    source: Annotated[str, typer.Option(help="Short id of this provenance.")] = "import",
    note: Annotated[str, typer.Option(help="What else a reader should know.")] = "",
    view: Annotated[str, typer.Option(help="View of lines that name none.")] = "general",
    replace: Annotated[bool, typer.Option("--replace", help="Write over a base.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a base of lines that were written elsewhere; every line comes in as it is."""
    from unibind import artifact
    from unibind.knowledge.base import save_base, target_folder
    from unibind.knowledge.importing import import_base
    from unibind.knowledge.values import Source

    folder = target_folder(name)
    if artifact.exists(folder) and not replace:
        raise InvalidInputError(
            f"{folder} holds a knowledge base already; choose another name, or write over it "
            "with --replace"
        )
    base = import_base(
        folder.name,
        file,
        source_id=source,
        source=Source(writer="import", generator=generator, note=note),
        classes=classes,
        attributes=attributes,
        view=view,
    )
    base = save_base(base, folder)
    result = {
        "name": base.name,
        "path": str(folder),
        "classes": len(base.classes),
        "lines": len(base.lines),
        "attribute_ranges": len(base.attributes),
        "content_id": base.content_id,
    }

    def people() -> None:
        print(
            f"{folder}: {len(base.lines)} lines of {len(base.classes)} classes"
            f", {len(base.attributes)} attribute ranges"
        )
        print(f"next: unibind knowledge lint {name}")

    emit(result, as_json=as_json, people=people)


@app.command()
def show(
    name: Name,
    class_name: Annotated[str | None, typer.Argument(help="One class; without it, all.")] = None,
    view: Annotated[str | None, typer.Option(help="Only lines of this view.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print every line as CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a base: its classes as a table, or the lines of one class with their provenance."""
    from unibind.cli.knowledge_tables import (
        print_class,
        print_classes,
        print_csv,
        rows_of,
        tell_gaps,
    )
    from unibind.knowledge.base import open_base
    from unibind.knowledge.gaps import gaps

    base = open_base(name)
    chosen = rows_of(base, class_name=class_name, view=view)

    def people() -> None:
        tell_gaps(base)
        if as_csv:
            print_csv(chosen)
        elif class_name is None:
            print_classes(base, chosen)
        else:
            print_class(base, class_name, chosen)

    result = {
        "name": base.name,
        "content_id": base.content_id,
        "classes": [
            {"class_name": name, "group": base.groups.get(name, "")}
            for name in ([class_name] if class_name else base.classes)
        ],
        "lines": chosen,
        "missing": [gap._asdict() for gap in gaps(base)],
        "attributes": [
            {"class_name": entry.class_name, "sensor": entry.sensor, "ranges": dict(entry.ranges)}
            for entry in base.attributes
            if class_name in (None, entry.class_name)
        ],
    }
    emit(result, as_json=as_json, people=people)


@app.command()
def seal(name: Name, as_json: AsJson = False) -> None:
    """Check a base that was edited by hand, and sign it anew."""
    from unibind.knowledge.base import seal_base

    base = seal_base(name)
    result = {"name": base.name, "lines": len(base.lines), "content_id": base.content_id}
    emit(
        result,
        as_json=as_json,
        people=lambda: print(
            f"{base.name}: {len(base.lines)} lines sealed, {base.content_id[:12]}"
        ),
    )
