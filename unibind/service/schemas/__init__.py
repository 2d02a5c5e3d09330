"""What goes in and out, as it stands in the OpenAPI document: one file per resource."""

from unibind.service.schemas.alignments import Alignment, AlignmentList
from unibind.service.schemas.classes import ClassifyRequest, ClassifyResponse, NamedClass
from unibind.service.schemas.embeddings import EmbeddingsRequest, EmbeddingsResponse
from unibind.service.schemas.errors import ErrorResponse, first_fault
from unibind.service.schemas.items import DeleteResponse, ItemRequest, ItemResponse, LineResult
from unibind.service.schemas.knowledge import (
    Change,
    ChangeResult,
    Finding,
    FindingList,
    KnowledgeLines,
    KnowledgeList,
)
from unibind.service.schemas.looking import InspectRequest, InspectResponse, MapResponse
from unibind.service.schemas.parts import Part
from unibind.service.schemas.search import SearchRequest, SearchResponse
from unibind.service.schemas.space import ModalityList, ModelList, ReadyResponse

__all__ = [
    "Alignment",
    "AlignmentList",
    "Change",
    "ChangeResult",
    "ClassifyRequest",
    "ClassifyResponse",
    "DeleteResponse",
    "EmbeddingsRequest",
    "EmbeddingsResponse",
    "ErrorResponse",
    "Finding",
    "FindingList",
    "InspectRequest",
    "InspectResponse",
    "ItemRequest",
    "ItemResponse",
    "KnowledgeLines",
    "KnowledgeList",
    "LineResult",
    "MapResponse",
    "ModalityList",
    "ModelList",
    "NamedClass",
    "Part",
    "ReadyResponse",
    "SearchRequest",
    "SearchResponse",
    "first_fault",
]
