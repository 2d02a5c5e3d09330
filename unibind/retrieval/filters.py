"""The language of ``where``: from nested mappings to SQL with bound values.

    {"licence": "CC0"}                             equality; several fields must all hold
    {"width": {"$gte": 100, "$lt": 200}}           $eq $ne $gt $gte $lt $lte
    {"country": {"$in": ["DE", "FR"]}}             one of
    {"tags": {"$contains": "blue"}}                an element of a list
    {"note": {"$exists": True}}                    the field is there
    {"$or": [{...}, {...}]}, {"$and": [...]}, {"$not": {...}}
    {"$modality": "image"}, {"$key": "a"}          what is not metadata

A field that an item lacks equals nothing and is in no range; ``$ne`` and ``$not`` are the exact
complement, so they do match it. Numbers compare with numbers and text with text; ``True`` is not 1.
"""

import difflib
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from unibind.errors import InvalidInputError
from unibind.types import Json

__all__ = ["Filter", "compile_filter"]

_MAX_DEPTH = 32
_OPERATORS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
# json_each walks the top level by its real names, so no field name is ever part of a JSON path.
_FIELD = "SELECT 1 FROM json_each(items.metadata) AS f WHERE f.key = ? AND "


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled ``where``.

    Attributes:
        sql: A condition on the table ``items``, with a ``?`` for each value.
        values: What the question marks stand for.
        fields: The metadata fields that it names.
    """

    sql: str
    values: tuple[Any, ...]
    fields: frozenset[str]


def compile_filter(where: Mapping[str, Json], known_fields: Collection[str]) -> Filter:
    """Return the filter of a ``where``.

    Args:
        where: As above.
        known_fields: Names of the fields that stored metadata has; empty if nothing is stored.

    Raises:
        InvalidInputError: The form is wrong, or a field is unknown: after a slip of the pen,
            ``$not`` would match, and delete, everything.
    """
    sql, values, fields = _all_of(where, 0)
    unknown = sorted(fields.difference(known_fields))
    if unknown and known_fields:
        near = difflib.get_close_matches(unknown[0], known_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {_some(known_fields)}"
        raise InvalidInputError(
            f"where names the field {unknown[0]!r}, which no stored item has; {hint}"
        )
    return Filter(sql, tuple(values), frozenset(fields))


_Part = tuple[str, list[Any], set[str]]


def _all_of(where: Any, depth: int) -> _Part:
    if not isinstance(where, Mapping):
        raise InvalidInputError(
            f'where holds {where!r:.80}, a mapping was needed, such as {{"licence": "CC0"}}'
        )
    if depth > _MAX_DEPTH:
        raise InvalidInputError(f"where is nested deeper than {_MAX_DEPTH} levels; flatten it")
    return _join(" AND ", [_clause(name, value, depth) for name, value in where.items()], "1")


def _clause(name: Any, value: Json, depth: int) -> _Part:
    if not isinstance(name, str):
        raise InvalidInputError(f"where names the field {name!r}; a str was needed")
    if name in ("$and", "$or"):
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise InvalidInputError(f"{name} holds {value!r:.80}; a list of conditions was needed")
        parts = [_all_of(part, depth + 1) for part in value]
        return _join(" AND " if name == "$and" else " OR ", parts, "1")
    if name == "$not":
        return _negate(_all_of(value, depth + 1))
    if name in _COLUMNS:
        return _column(name, value)
    if name.startswith("$"):
        known = ", ".join(["$and", "$or", "$not", *_COLUMNS])
        raise InvalidInputError(f"where has the unknown operator {name!r}; there are {known}")
    return _field(name, value)


def _field(name: str, condition: Json) -> _Part:
    if not isinstance(condition, Mapping):
        return _equals(name, condition)
    if not condition:
        raise InvalidInputError(f"the condition on {name!r} is empty; give a value or an operator")
    return _join(" AND ", [_operator(name, op, value) for op, value in condition.items()], "1")


def _operator(name: str, operator: Any, value: Json) -> _Part:
    if operator == "$eq":
        return _equals(name, value)
    if operator == "$ne":
        return _negate(_equals(name, value))
    if operator in _OPERATORS:
        return _range(name, operator, value)
    if operator == "$in":
        parts = [_equals(name, choice) for choice in _choices(name, value)]
        return _join(" OR ", parts, "0")
    if operator == "$contains":
        sql, values = _comparison("e", value, name)
        each = "json_each(CASE f.type WHEN 'array' THEN f.value ELSE '[]' END)"
        return (
            f"EXISTS ({_FIELD}EXISTS (SELECT 1 FROM {each} AS e WHERE {sql}))",
            [
                name,
                *values,
            ],
            {name},
        )
    if operator == "$exists":
        if not isinstance(value, bool):
            raise InvalidInputError(
                f"$exists of {name!r} is {value!r:.80}; true or false was needed"
            )
        there: _Part = (f"EXISTS ({_FIELD}1)", [name], {name})
        return there if value else _negate(there)
    known = ", ".join(["$eq", "$ne", *_OPERATORS, "$in", "$contains", "$exists"])
    raise InvalidInputError(f"{name!r} has the unknown operator {operator!r}; there are {known}")


def _equals(name: str, value: Json) -> _Part:
    sql, values = _comparison("f", value, name)
    return f"EXISTS ({_FIELD}{sql})", [name, *values], {name}


def _comparison(alias: str, value: Json, name: str) -> tuple[str, list[Any]]:
    if value is None:
        return f"{alias}.type = 'null'", []
    if isinstance(value, bool):
        return f"{alias}.type = ?", ["true" if value else "false"]
    if isinstance(value, str):
        return f"{alias}.type = 'text' AND {alias}.value = ?", [_text(value)]
    if isinstance(value, int | float):
        return f"{alias}.type IN ('integer', 'real') AND {alias}.value = ?", [_number(value, name)]
    raise InvalidInputError(
        f"{name!r} is compared with {value!r:.80}; None, a bool, a number or a str was needed, "
        "or a mapping with an operator"
    )


def _range(name: str, operator: str, value: Json) -> _Part:
    sign = _OPERATORS[operator]
    if isinstance(value, str):
        sql, bound = f"f.type = 'text' AND f.value {sign} ?", cast(Json, _text(value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        sql, bound = f"f.type IN ('integer', 'real') AND f.value {sign} ?", _number(value, name)
    else:
        raise InvalidInputError(
            f"{operator} of {name!r} is {value!r:.80}; a number or a str was needed"
        )
    return f"EXISTS ({_FIELD}{sql})", [name, bound], {name}


def _column(name: str, value: Json) -> _Part:
    if isinstance(value, Mapping) and set(value) == {"$in"}:
        value = list(_choices(name, value["$in"]))
    elif isinstance(value, Mapping) and set(value) == {"$ne"}:
        return _negate(_column(name, value["$ne"]))
    names = value if isinstance(value, list | tuple) else [value]
    for choice in names:
        if not isinstance(choice, str):
            raise InvalidInputError(
                f"{name} is {choice!r:.80}; a str was needed, or a list of them"
            )
    sql = _COLUMNS[name]("SELECT value FROM json_each(?)")
    return sql, [json.dumps([_text(choice) for choice in names], ensure_ascii=False)], set()


_COLUMNS: dict[str, Callable[[str], str]] = {
    "$modality": lambda names: (
        f"items.modality IN (SELECT modality FROM modalities WHERE name IN ({names}))"
    ),
    "$key": lambda names: f"items.key IN ({names})",
}


def _negate(part: _Part) -> _Part:
    sql, values, fields = part
    return f"NOT ({sql})", values, fields


def _join(word: str, parts: Sequence[_Part], empty: str) -> _Part:
    sql = word.join(f"({part[0]})" for part in parts) or empty
    return sql, [v for part in parts for v in part[1]], {f for part in parts for f in part[2]}


def _choices(name: str, value: Json) -> Iterator[Json]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvalidInputError(f"$in of {name!r} is {value!r:.80}; a list was needed")
    yield from value


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"where compares with {value[:80]!r}, which is not text") from None
    return value


def _number(value: int | float, name: str) -> int | float:
    if isinstance(value, int):
        # SQLite's integers have 64 bits; one beyond them reads as a real from JSON, too.
        if -(2**63) <= value < 2**63:
            return value
        try:
            return float(value)
        except OverflowError:
            raise InvalidInputError(
                f"{name!r} is compared with a number of {value.bit_length()} bits, beyond what is "
                "told apart; give one below 1e308"
            ) from None
    if math.isnan(value):
        raise InvalidInputError(f"{name!r} is compared with NaN, which equals nothing")
    return value


def _some(names: Collection[str]) -> str:
    shown = sorted(names)[:12]
    return ", ".join(repr(name) for name in shown) + (", ..." if len(names) > len(shown) else "")
