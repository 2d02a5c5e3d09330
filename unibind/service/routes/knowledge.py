"""``/v1/knowledge``: bases, their lines, what lint finds, and what a reviewer changes."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from unibind.service import knowledge
from unibind.service.intake import asked_of, runtime_of, visit_of
from unibind.service.openapi import REFUSALS, body
from unibind.service.schemas import (
    Change,
    ChangeResult,
    FindingList,
    KnowledgeLines,
    KnowledgeList,
)
from unibind.types import Json

__all__ = ["router"]

router = APIRouter(prefix="/v1/knowledge", responses=REFUSALS, tags=["knowledge"])

Name = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", description="A knowledge base.")
]


@router.get("", response_model=KnowledgeList)
async def list_bases(request: Request) -> Json:
    """Return the knowledge bases that the server has."""
    found = await runtime_of(request).in_thread(knowledge.entries)
    return {"object": "list", "data": found}


@router.get("/{name}/lines", response_model=KnowledgeLines)
async def list_lines(
    request: Request,
    name: Name,
    class_name: Annotated[str | None, Query(description="Only of this class.")] = None,
    view: Annotated[str | None, Query(description="Only of this view.")] = None,
    words: Annotated[str | None, Query(description="Only with these words in them.")] = None,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Json:
    """Return a page of a base's lines."""
    return await runtime_of(request).in_thread(
        knowledge.lines,
        name,
        class_name=class_name,
        view=view,
        words=words,
        offset=offset,
        limit=limit,
    )


@router.get("/{name}/findings", response_model=FindingList)
async def list_findings(request: Request, name: Name) -> Json:
    """Return the lines that lint finds fault with; the first time may take half a minute."""
    runtime = runtime_of(request)
    return await runtime.in_thread(knowledge.findings, name, runtime.engine.encoder(runtime.text))


@router.get("/{name}/diff", response_model=ChangeResult)
async def compare_bases(
    request: Request,
    name: Name,
    against: Annotated[
        str,
        Query(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", description="The other, newer base."),
    ],
) -> Json:
    """Return what is different in another base, and how far centers moved."""
    runtime = runtime_of(request)
    encoder = runtime.engine.encoder(runtime.text)
    return await runtime.in_thread(knowledge.difference, name, against, encoder)


@router.post("/{name}/changes", response_model=ChangeResult, openapi_extra=body(Change))
async def change_base(request: Request, name: Name) -> Json:
    """Accept, edit or reject lines; with `dry_run`, only say what would be different."""
    runtime = runtime_of(request)
    change = (await asked_of(request, Change)).told
    encoder = runtime.engine.encoder(runtime.text)
    result = await runtime.in_thread(knowledge.changed, name, change, encoder)
    if not change.dry_run:
        visit = visit_of(request)
        request.app.state.audit.note(
            f"knowledge {change.action}",
            caller=visit.caller.name,
            request_id=visit.request_id,
            base=name,
            rows=change.rows,
            reviewer=change.reviewer,
        )
    return result
