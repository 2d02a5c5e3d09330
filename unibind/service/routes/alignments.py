"""``/v1/alignments``: teach the space a modality from a labelled set, and watch it learn."""

import json
import shutil
import tempfile
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from unibind.datasets import SETS
from unibind.errors import InvalidInputError
from unibind.service.aligning import Order, Runs, unpacked
from unibind.service.intake import runtime_of, visit_of
from unibind.service.openapi import REFUSALS
from unibind.service.refusals import Refusal
from unibind.service.schemas import Alignment, AlignmentList
from unibind.types import Json, Modality

__all__ = ["router"]

router = APIRouter(prefix="/v1/alignments", responses=REFUSALS, tags=["alignment"])

RunId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
_CHOICES = {
    "encoder": "--encoder",
    "knowledge": "--knowledge",
    "head": "--head",
    "label_column": "--label-column",
    "split": "--split",
}
_SWITCHES = {"captions": "--captions", "class_names": "--class-names"}
_HEADS = ("ridge", "linear", "low-rank", "mlp", "auto")
_CHUNK = 2**20


@router.post(
    "",
    response_model=Alignment,
    status_code=202,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["modality"],
                        "properties": {
                            "modality": {"type": "string"},
                            "file": {
                                "type": "string",
                                "format": "binary",
                                "description": "A zip whose folders are the classes.",
                            },
                            "set": {"type": "string", "description": "Or a public set's name."},
                            "learn_from": {
                                "type": "string",
                                "enum": ["class_names", "captions"],
                            },
                            "knowledge": {"type": "string"},
                            "encoder": {"type": "string"},
                            "head": {"type": "string", "enum": list(_HEADS)},
                            "options": {
                                "type": "string",
                                "description": "What the files do not say of themselves, JSON.",
                                "example": '{"rate_hz": 50}',
                            },
                        },
                    }
                }
            },
        }
    },
)
async def start_alignment(request: Request) -> Json:
    """Train the head of a modality from an uploaded zip or a public set; poll the run's id."""
    runtime = runtime_of(request)
    _runs(request).check_room()  # before gigabytes are read for nothing
    form = await _form_of(request)
    try:
        modality = runtime.modality(str(form.get("modality", "")), param="modality")
        order = await runtime.in_thread(_order, form, modality, runtime.engine.root)
    finally:
        await form.close()
    run = _runs(request).start(order)
    _audit(request, "align", run.id, modality=order.modality)
    return run.told()


@router.get("", response_model=AlignmentList)
async def list_alignments(request: Request) -> Json:
    """Return the runs since the server began, the last one first."""
    return {"object": "list", "data": [run.told() for run in _runs(request).all()]}


@router.get("/{run_id}", response_model=Alignment)
async def get_alignment(request: Request, run_id: RunId) -> Json:
    """Return how far a run is, and in the end what came of it."""
    return _runs(request).get(run_id).told()


@router.delete("/{run_id}", response_model=Alignment)
async def cancel_alignment(request: Request, run_id: RunId) -> Json:
    """Stop a run."""
    run = _runs(request).cancel(run_id)
    _audit(request, "cancel align", run.id)
    return run.told()


async def _form_of(request: Request) -> FormData:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Refusal(
            415, "unsupported_media_type", f"the body is {kind!r:.80}; send multipart/form-data"
        )
    try:
        return await request.form(max_files=1, max_fields=20)
    except (MultiPartException, HTTPException, KeyError) as error:
        told = getattr(error, "detail", None) or getattr(error, "message", None) or str(error)
        raise Refusal(400, "invalid_form", f"the form cannot be read: {told}") from None


def _order(form: FormData, modality: Modality, root: FilePath) -> Order:
    options = [
        word
        for name, option in _CHOICES.items()
        if form.get(name)
        for word in (option, _plain(form[name], name))
    ]
    learn_from = str(form.get("learn_from") or "")
    if learn_from:
        if learn_from not in _SWITCHES:
            raise Refusal(
                400, "invalid_request", "learn_from is class_names or captions", "learn_from"
            )
        options.append(_SWITCHES[learn_from])
    options += _of_files(form, modality)
    upload, named = form.get("file"), form.get("set")
    if isinstance(upload, UploadFile) == bool(named):
        raise Refusal(400, "invalid_request", "give a file or the name of a set", "file")
    if not isinstance(upload, UploadFile):
        return Order(modality.name, _set_name(named), tuple(options))
    root.mkdir(parents=True, exist_ok=True)
    folder = FilePath(tempfile.mkdtemp(prefix="uploaded-", dir=root))
    try:
        with tempfile.NamedTemporaryFile(dir=root, prefix="uploaded-", suffix=".zip") as archive:
            shutil.copyfileobj(upload.file, archive, _CHUNK)
            archive.flush()
            unpacked(FilePath(archive.name), folder)
    except Refusal:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Order(modality.name, str(folder.absolute()), tuple(options), is_uploaded=True)


def _of_files(form: FormData, modality: Modality) -> list[str]:
    """Return the arguments that say what the files do not say of themselves."""
    try:
        told = json.loads(str(form.get("options") or "{}"))
        if not isinstance(told, dict):
            raise InvalidInputError("a JSON object was needed")
        modality.with_options(told)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "invalid_request", f"options: {error}", "options") from None
    return [word for name, value in told.items() for word in ("--option", f"{name}={value}")]


def _set_name(given: Any) -> str:
    if given not in SETS:
        raise Refusal(
            400,
            "unknown_set",
            f"no public set {given!r:.60}; there are {', '.join(SETS)}",
            "set",
        )
    return str(given)


def _plain(value: Any, name: str) -> str:
    """Return a value that cannot be taken for an option or a path."""
    text = str(value)
    if not text or text.startswith("-") or not all(c.isalnum() or c in "-_.:" for c in text):
        raise Refusal(
            400, "invalid_request", f"{name} is {text!r:.60}; a plain name was needed", name
        )
    return text


def _runs(request: Request) -> Runs:
    runs: Runs = request.app.state.runs
    return runs


def _audit(request: Request, action: str, run_id: str, **told: Json) -> None:
    visit = visit_of(request)
    request.app.state.audit.note(
        action, caller=visit.caller.name, request_id=visit.request_id, run=run_id, **told
    )
