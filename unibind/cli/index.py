"""``unibind index``: what is stored of a space, found, kept and looked after."""

import json
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unibind.cli.index_files import add_rows, add_windows, batches_of, items_of
from unibind.cli.items import OptionsOption, read_options
from unibind.cli.output import AsJson, emit, progress, warn
from unibind.cli.search import condition_of

if TYPE_CHECKING:
    from unibind.retrieval.records import Duplicate, StoredItem
    from unibind.retrieval.store import LocalStore
    from unibind.types import Hit

_SHOWN_KEYS = 5

app = typer.Typer(
    help="The durable store of a space: add, find, remove, check, copy.", no_args_is_help=True
)

Space = Annotated[
    str, typer.Option("--space", help="A space by name or folder, or the folder of a store.")
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        help="Only what has this metadata: licence=CC0, or a condition in JSON: "
        '{"n": {"$gte": 3}}. Of several, all must hold.',
    ),
]


@app.command()
def add(
    files: Annotated[list[Path] | None, typer.Argument(help="Files, or folders of files.")] = None,
    space: Space = "mini",
    data: Annotated[
        str | None, typer.Option(help="A named set, a folder of classes, or a manifest.")
    ] = None,
    modality: Annotated[
        str | None, typer.Option(help="What the files are; guessed from each by default.")
    ] = None,
    metadata: Annotated[
        str | None, typer.Option(help="A JSON object kept beside every item.")
    ] = None,
    windows: Annotated[
        float | None,
        typer.Option(
            help="Store windows of so many seconds instead of whole files, under keys as "
            "film.mp4#t=12.0-16.0."
        ),
    ] = None,
    stride: Annotated[
        float | None,
        typer.Option(help="Seconds from window to window; a window's length by default."),
    ] = None,
    option: OptionsOption = None,
    as_json: AsJson = False,
) -> None:
    """Embed files and store them under their paths; durable once this returns."""
    import unibind
    from unibind.errors import InvalidInputError

    if not files and data is None:
        raise typer.BadParameter("name files or folders, or a set with --data")
    common, options = _object(metadata, "--metadata"), read_options(option)
    items = items_of(files or [], data)
    engine = unibind.open(space)
    n_done, failures = 0, []
    with progress("adding") as bar:
        for name, rows in batches_of(items, modality, preferred=engine.modalities):
            if windows is None:
                known = engine.encoder(name).modality.options
                told = {each: value for each, value in options.items() if each in known}
                failures += add_rows(engine, name, rows, common, told)
            else:
                for row in rows:
                    failures += add_windows(
                        engine, name, row, common, window_s=windows, stride_s=stride
                    )
            n_done += len(rows)
            bar(n_done, len(items))
    n_added = len(items) - len(failures)

    def people() -> None:
        print(f"{n_added} items stored in {space}")

    emit({"added": n_added, "failures": failures}, as_json=as_json, people=people)
    if failures:
        raise InvalidInputError(
            f"{len(failures)} of {len(items)} items could not be read, as told above; "
            "the others are stored"
        )


@app.command()
def remove(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys of items.")] = None,
    space: Space = "mini",
    where: Where = None,
    as_json: AsJson = False,
) -> None:
    """Remove items by key, by condition, or those that are both; they are never found again.

    Exit code 1 if a key was not there; the others are removed.
    """
    if not keys and not where:
        raise typer.BadParameter("name keys, or give a condition with --where")
    condition = condition_of(where or ())
    with _store(space) as store:
        missing = [key for key in keys or () if store.get(key) is None]
        n_removed = store.delete(keys or None, where=condition)
    emit(
        {"removed": n_removed, "missing": missing},
        as_json=as_json,
        people=lambda: print(f"{n_removed} removed"),
    )
    _refuse_missing(missing)


@app.command()
def get(
    keys: Annotated[list[str], typer.Argument(help="Keys of items.")],
    space: Space = "mini",
    as_json: AsJson = False,
) -> None:
    """Tell what is stored under keys; exit code 1 if one is not there."""
    with _store(space, read_only=True) as store:
        found = {item.key: item for item in store.scan(where={"$key": keys})}
    rows = [_item(found[key]) for key in keys if key in found]
    emit(rows, as_json=as_json, people=lambda: _print_items(rows))
    _refuse_missing([key for key in keys if key not in found])


@app.command()
def scan(
    space: Space = "mini",
    where: Where = None,
    limit: Annotated[int, typer.Option(min=1, help="How many items at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List what is stored, in the order of the keys."""
    with _store(space, read_only=True) as store:
        found = islice(store.scan(where=condition_of(where or ())), limit)
        rows = [_item(item) for item in found]
    emit(rows, as_json=as_json, people=lambda: _print_items(rows))


@app.command()
def count(
    space: Space = "mini",
    modality: Annotated[str | None, typer.Option(help="Of this modality only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell how many items are stored."""
    with _store(space, read_only=True) as store:
        n_items = store.count(modality)
    emit({"count": n_items}, as_json=as_json, people=lambda: print(n_items))


@app.command()
def search(
    file: Annotated[Path | None, typer.Argument(help="A file to find the likes of.")] = None,
    space: Space = "mini",
    text: Annotated[str | None, typer.Option(help="What to find, in words, by meaning.")] = None,
    key: Annotated[str | None, typer.Option(help="A stored item to find the likes of.")] = None,
    words: Annotated[
        str | None, typer.Option(help="Words to find in captions and metadata, as well or alone.")
    ] = None,
    modality: Annotated[str | None, typer.Option(help="What the file is.")] = None,
    into: Annotated[str | None, typer.Option(help="Modalities, with commas between.")] = None,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="How many hits.")] = 10,
    where: Where = None,
    min_score: Annotated[float | None, typer.Option(help="Leave out lower scores.")] = None,
    group_by: Annotated[
        str | None, typer.Option(help="modality, or a field: the best hit of each only.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Leave indexes aside.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find what is near a text, a file or a stored item, or what has words in its metadata.

    All that the store can do; `unibind search` is the short way for a file or a text.
    """
    if sum(given is not None for given in (file, text, key)) + (words is not None) == 0:
        raise typer.BadParameter("give a FILE, --text, --key or --words")
    if sum(given is not None for given in (file, text, key)) > 1:
        raise typer.BadParameter("give one of FILE, --text and --key")
    query, query_modality = _query(space, file, text, modality)
    with _store(space, read_only=True) as store:
        if key is not None:
            hit = store.get(key)
            query, query_modality = store.vectors([key]), hit.modality if hit else None
        (hits,) = store.search(
            query,
            k=k,
            modalities=into.split(",") if into else None,
            where=condition_of(where or ()),
            query_modality=query_modality,
            min_score=min_score,
            group_by=group_by,
            text=words,
            exact=exact,
        )

    def people() -> None:
        for hit in hits:
            told = json.dumps(dict(hit.metadata), ensure_ascii=False) if hit.metadata else ""
            print(f"{hit.score:7.4f}  {hit.modality:<10} {hit.key}  {told:.120}".rstrip())

    emit([_row(hit) for hit in hits], as_json=as_json, people=people)


@app.command()
def verify(
    space: Space = "mini",
    repair: Annotated[
        bool, typer.Option("--repair", help="Make again what is derived where it is wrong.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare all that is stored with its checksums; exit code 1 if something is wrong.

    Says, too, what an earlier head or encoder of the space embedded: it is whole, but found less
    well than what is added now.
    """
    from unibind.errors import StoreError

    with _store(space, read_only=not repair) as store:
        found = store.verify(repair=repair)
        is_traced = any(name for makers in store.makers().values() for name in makers)
    outdated = _outdated(space) if is_traced and found.is_clean else {}

    def people() -> None:
        for damage in found.repaired:
            print(f"repaired: {damage.where}: {damage.what}")
        for damage in found.damages:
            print(f"damaged: {damage.where}: {damage.what}")
        if found.is_clean:
            print(f"{found.n_items} items: all is as it was stored")
        for name, n_items in outdated.items():
            print(f"{name}: an earlier head embedded {n_items} items; add them again")

    told = asdict(found) | {"is_clean": found.is_clean, "outdated": outdated}
    emit(told, as_json=as_json, people=people)
    if not found.is_clean:
        remedy = "say --repair to make again what is derived" if not repair else "see above"
        raise StoreError(f"{len(found.damages)} damages in the store of {space}; {remedy}")


@app.command()
def rebuild(
    space: Space = "mini",
    kind: Annotated[
        str, typer.Option(help="exact, hnsw, ivfpq, int8, binary, or auto to choose.")
    ] = "auto",
    recall: Annotated[
        float, typer.Option(help="Share of the exact 10 nearest that must be found.")
    ] = 0.95,
    memory: Annotated[
        str | None, typer.Option(help="What searching may keep resident: 2GB, 512MiB.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Build the index of each modality anew, measure its recall and record it."""
    from unibind.retrieval.plan import parse_bytes

    budget = None if memory is None else parse_bytes(memory)
    with _store(space) as store, progress("building") as bar:
        plans = store.rebuild(kind=kind, recall=recall, memory=budget, progress=bar)

    def people() -> None:
        for name, plan in plans.items():
            print(f"{name}: {plan.kind}, recall {plan.recall:.4f} measured")

    emit({name: asdict(plan) for name, plan in plans.items()}, as_json=as_json, people=people)


@app.command()
def stats(
    space: Space = "mini",
    duplicates: Annotated[
        int, typer.Option(min=0, help="How many contents under several keys to list.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Tell what is stored: items, bytes, indexes, the modality gap, duplicates."""
    with _store(space, read_only=True) as store:
        found = store.stats(n_duplicates=duplicates)

    def people() -> None:
        print(f"{found.n_items} items, {found.n_bytes / 1e6:.1f} MB, width {found.dim}")
        print(f"space {found.space}")
        print(f"modality gap {found.gap:.3f}, calibration {found.calibration}")
        for name, one in found.modalities.items():
            plan = f"{one.plan.kind}, recall {one.plan.recall:.4f}, {one.n_unindexed} scanned"
            print(f"  {name:<12} {one.n_items} items, {one.n_deleted} deleted; {plan}")
            for made_by, n_items in one.made_by.items():
                if made_by:
                    print(f"  {'':<12} {n_items} made by {made_by}")
        for duplicate in found.duplicates:
            print(f"  {_same(duplicate)}")

    emit(asdict(found), as_json=as_json, people=people)


@app.command()
def calibrate(
    calibration: Annotated[str, typer.Argument(help="none, centre or standardise.")],
    space: Space = "mini",
    as_json: AsJson = False,
) -> None:
    """Choose how searches into several modalities are made comparable; recorded in the store."""
    with _store(space) as store:
        store.set_calibration(calibration)
    emit({"calibration": calibration}, as_json=as_json, people=lambda: print(f"now {calibration}"))


@app.command()
def snapshot(
    path: Annotated[Path, typer.Argument(help="A new folder.")],
    space: Space = "mini",
    as_json: AsJson = False,
) -> None:
    """Write a whole, hashed copy of the store while others go on writing."""
    with _store(space, read_only=True) as store:
        store.snapshot(path)
    emit({"snapshot": str(path)}, as_json=as_json, people=lambda: print(f"snapshot in {path}"))


@app.command()
def restore(
    path: Annotated[Path, typer.Argument(help="The folder of a snapshot.")],
    space: Space = "mini",
    replace: Annotated[
        bool, typer.Option("--replace", help="In the place of the store that is there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a snapshot back, whole or not at all."""
    from unibind.retrieval.maintenance import restore as restore_store

    target = _folder(space)
    restore_store(path, target, replace=replace)
    emit({"restored": str(target)}, as_json=as_json, people=lambda: print(f"restored to {target}"))


@app.command()
def compact(space: Space = "mini", as_json: AsJson = False) -> None:
    """Give back the room of what was deleted or replaced; it is gone from the disk then."""
    with _store(space) as store:
        n_freed = store.compact()
    emit({"freed": n_freed}, as_json=as_json, people=lambda: print(f"{n_freed} rows freed"))


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="A Parquet file to write.")],
    space: Space = "mini",
    as_json: AsJson = False,
) -> None:
    """Write every item, vector and all, to a Parquet file."""
    with _store(space, read_only=True) as store, progress("writing") as bar:
        n_items = store.export(path, progress=bar)
    emit(
        {"exported": n_items, "file": str(path)},
        as_json=as_json,
        people=lambda: print(f"{n_items} items in {path}"),
    )


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="A Parquet file that export wrote.")],
    space: Space = "mini",
    as_json: AsJson = False,
) -> None:
    """Store the items of an export, in a store of the same space; made if there is none."""
    from unibind.retrieval import exchange
    from unibind.retrieval.store import LocalStore

    found, dim = exchange.identity(path)
    folder = _folder(space)
    with LocalStore.open(folder, space=found, dim=dim) as store, progress("storing") as bar:
        n_items = store.import_(path, progress=bar)
    emit({"imported": n_items}, as_json=as_json, people=lambda: print(f"{n_items} items stored"))


def _folder(space: str) -> Path:
    """Return the folder of a space's store: of the space, of its name, or the store itself."""
    from unibind.engine import SPACES
    from unibind.retrieval.schema import DATABASE

    given = Path(space)
    if (given / DATABASE).exists() or given.name == "store":
        return given
    for root in (given, SPACES / given):
        if (root / "store").exists() or (root / "space").exists():
            return root / "store"
    return (given if len(given.parts) > 1 else SPACES / given) / "store"


def _store(space: str, *, read_only: bool = False) -> "LocalStore":
    from unibind.retrieval.store import LocalStore

    return LocalStore.open(_folder(space), read_only=read_only)


def _outdated(space: str) -> dict[str, int]:
    """Return by modality how many items are not of the space's present heads, if it is at hand."""
    import unibind
    from unibind.errors import UnibindError

    try:
        with unibind.open(space) as engine:
            return engine.outdated()
    except UnibindError as error:
        warn(f"not compared with the heads of {space}: {error}")
        return {}


def _query(
    space: str, file: Path | None, text: str | None, modality: str | None
) -> tuple[Any, str | None]:
    if file is None and text is None:
        return None, None
    import unibind
    from unibind.modalities.registry import modality_of

    engine = unibind.open(space)
    if text is not None:
        return engine.embed("text", [text]), "text"
    assert file is not None
    name = modality or modality_of(file, preferred=engine.modalities).name
    return engine.embed(name, [file]), name


def _refuse_missing(keys: list[str]) -> None:
    from unibind.errors import InvalidInputError

    if keys:
        raise InvalidInputError(f"no item has the key {', '.join(map(repr, keys))}; see `scan`")


def _same(duplicate: "Duplicate") -> str:
    what = "content, by the hash that was told"
    if duplicate.content_hash.startswith("vector:"):
        what = "vector, bit for bit"
    keys = [repr(key) for key in duplicate.keys[:_SHOWN_KEYS]]
    more = ["..."] if len(duplicate.keys) > _SHOWN_KEYS else []
    return f"{len(duplicate.keys)} keys have the same {what}: {', '.join(keys + more)}"


def _object(text: str | None, option: str) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(
            f'{option} must be a JSON object, such as \'{{"licence": "CC0"}}\''
        )
    return value


def _item(item: "StoredItem") -> dict[str, Any]:
    return {name: value for name, value in asdict(item).items() if name != "vector"}


def _print_items(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        told = json.dumps(row["metadata"], ensure_ascii=False) if row["metadata"] else ""
        print(f"{row['modality']:<10} {row['key']}  {told:.120}".rstrip())


def _row(hit: "Hit") -> dict[str, Any]:
    return {
        "key": hit.key,
        "modality": hit.modality,
        "score": hit.score,
        "metadata": dict(hit.metadata),
    }
