"""Conditions for Milvus: metadata as typed terms, and ``where`` as an expression over them.

Milvus takes ``true`` for 1 and leaves a missing field out of ``not``, so conditions are put on
terms that say their type and whether they are there. An expression holds hexadecimal digits and
numbers alone: no key, field or value can be an operator of it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence

from unibind.retrieval.filters import compile_filter
from unibind.types import Json

__all__ = ["all_of", "code_of", "expression", "one_of", "terms_of"]


def terms_of(metadata: Mapping[str, Json]) -> dict[str, Json]:
    """Return the typed terms of an item, by which `expression` puts conditions.

    A field f becomes ``e<f>: 1`` (it is there), and by its type ``s<f>`` (a text in hexadecimal,
    which keeps the order), ``n<f>`` (a number), ``b<f>`` (0 or 1), ``z<f>: 1`` (null) or ``l<f>``
    (what a list holds); <f> is a hash of its name.
    """
    terms: dict[str, Json] = {}
    for name, value in metadata.items():
        field = code_of(name)
        terms[f"e{field}"] = 1
        kind, coded = _typed(value)
        if kind:
            terms[f"{kind}{field}"] = coded
    return terms


def expression(where: Mapping[str, Json]) -> str:
    """Return a ``where`` as an expression of Milvus, made of hexadecimal digits and numbers.

    Raises:
        InvalidInputError: The condition is not as needed.
    """
    compile_filter(where, ())  # Refuses what is malformed, so that below all is well-formed.
    return _fulfilled(where, True)


def _fulfilled(where: Mapping[str, Json], is_asked: bool) -> str:
    """Return the expression of a condition, or of its complement; ``not`` reaches the leaves."""
    parts = [_part(name, value, is_asked) for name, value in where.items()]
    return _joined(parts, is_asked)


def _part(name: str, value: Json, is_asked: bool) -> str:
    if name == "$not":
        return _fulfilled(value, not is_asked)
    if name in ("$and", "$or"):
        inner = [_fulfilled(part, is_asked) for part in value]
        return _joined(inner, is_asked == (name == "$and"))
    if name in ("$modality", "$key"):
        return _column(name, value, is_asked)
    conditions = value if isinstance(value, Mapping) else {"$eq": value}
    leaves = [_leaf(code_of(name), sign, operand, is_asked) for sign, operand in conditions.items()]
    return _joined(leaves, is_asked)


def _column(name: str, value: Json, is_asked: bool) -> str:
    if isinstance(value, Mapping) and "$ne" in value:
        return _column(name, value["$ne"], not is_asked)
    names = value["$in"] if isinstance(value, Mapping) else value
    codes = [code_of(one) for one in ([names] if isinstance(names, str) else names)]
    column = "side" if name == "$modality" else "id"
    return one_of(column, codes, is_asked=is_asked)


_SIGNS = {"$eq": "==", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_COMPLEMENTS = {"==": "!=", ">": "<=", ">=": "<", "<": ">=", "<=": ">"}


def _leaf(field: str, sign: str, operand: Json, is_asked: bool) -> str:
    if sign == "$ne":
        return _leaf(field, "$eq", operand, not is_asked)
    if sign == "$in":
        parts = [_leaf(field, "$eq", choice, is_asked) for choice in operand]
        return _joined(parts, not is_asked)
    if sign == "$exists":
        there = f'exists terms["e{field}"]'
        return there if operand == is_asked else f"not ({there})"
    if sign == "$contains":
        term = f'terms["l{field}"]'
        holds = f'json_contains({term}, "{_token(operand)}")'
        there = f"exists {term}"
        return f"({there} and {holds})" if is_asked else f"(not ({there}) or not {holds})"
    kind, coded = _typed(operand)
    term, there = f'terms["{kind}{field}"]', f'exists terms["{kind}{field}"]'
    told = _SIGNS[sign] if is_asked else _COMPLEMENTS[_SIGNS[sign]]
    compared = f"{term} {told} {json.dumps(coded)}"
    # Milvus leaves an item out of any comparison with what it lacks, the complement too.
    return f"({there} and {compared})" if is_asked else f"(not ({there}) or {compared})"


def _typed(value: Json) -> tuple[str, Json]:
    if value is None:
        return "z", 1
    if isinstance(value, bool):
        return "b", int(value)
    if isinstance(value, int | float):
        return "n", float(value)
    if isinstance(value, str):
        return "s", value.encode().hex()
    if isinstance(value, list | tuple):
        return "l", [_token(one) for one in value if not isinstance(one, list | tuple | Mapping)]
    return "", None


def _token(value: Json) -> str:
    kind, coded = _typed(value)
    return f"{kind}{coded}"


def _joined(parts: Sequence[str], is_and: bool) -> str:
    if not parts:
        return "id != ''" if is_and else "id == ''"
    return "(" + (" and " if is_and else " or ").join(parts) + ")"


def all_of(parts: Sequence[str]) -> str:
    """Return an expression that all parts fulfil; empty ones are left out."""
    return " and ".join(part for part in parts if part)


def one_of(column: str, codes: Sequence[str], *, is_asked: bool = True) -> str:
    """Return an expression that a column holds one of the codes, or none of them."""
    if not codes:
        return "id == ''" if is_asked else "id != ''"
    return f"{column} {'in' if is_asked else 'not in'} {json.dumps(list(codes))}"


def code_of(name: str) -> str:
    """Return the hash that stands for a key, a modality or a field."""
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
