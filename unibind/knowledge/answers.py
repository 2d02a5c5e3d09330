"""What a model answered, as single lines: JSON if it kept to the schema, else whatever can be read.

A server without structured output, a cut answer, a numbered list in a fence with a greeting before
it: each gives the lines it has. Judging them is the work of `faults`.
"""

import json
import re

from unibind.types import Json

__all__ = ["object_of", "texts_of"]

_FENCE = re.compile(r"^\s*```\w*\s*$", re.MULTILINE)
_BULLET = re.compile(r"^\s*(?:\(?\d{1,3}[.):]\s+|[-*\u2022]\s+)")
_END = re.compile(r"[.!?][\"'\u201d\u2019)\]]*$")
_LAST_SENTENCE = re.compile(r"^(.{20,}?[a-z0-9)\u201d\"][.!?])\s+[A-Z][^.!?]*$", re.DOTALL)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)


def texts_of(content: str) -> list[str]:
    """Return the lines of an answer, in order; empty if it has none.

    A line that was cut after a whole sentence keeps its whole sentences.
    """
    return [_whole_sentences(text) for text in _texts(content)]


def object_of(content: str) -> dict[str, Json] | None:
    """Return the JSON object of an answer, or None if there is none."""
    value = _first_json(_FENCE.sub("", _THOUGHT.sub("", content)))
    return value if isinstance(value, dict) else None


def _texts(content: str) -> list[str]:
    text = _FENCE.sub("", _THOUGHT.sub("", content)).strip()
    value = _first_json(text)
    if value is not None:
        return [line.strip() for line in _strings_in(value) if line.strip()]
    if match := re.search(r'"lines"\s*:\s*\[', text):
        # A JSON answer that was cut: the strings that were closed are whole.
        return [json.loads(f'"{part}"', strict=False) for part in _closed(text[match.end() :])]
    return _plain(text)


def _whole_sentences(text: str) -> str:
    if not _END.search(text) and (match := _LAST_SENTENCE.match(text)):
        return match[1]
    return text


def _first_json(text: str) -> Json | None:
    for start in re.finditer(r"[{\[]", text):
        try:
            value, _ = json.JSONDecoder(strict=False).raw_decode(text, start.start())
        except ValueError:
            continue
        if isinstance(value, dict | list) and value:
            return value
    return None


def _strings_in(value: Json) -> list[str]:
    """Return the list of strings that a model may have wrapped in other keys or in objects."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in _strings_in(item)]
    if not isinstance(value, dict):
        return []
    if "lines" in value:
        return _strings_in(value["lines"])
    lists = [item for item in value.values() if isinstance(item, list)]
    if lists:
        return _strings_in(lists[0])
    named = [value[key] for key in ("text", "line", "sentence", "description") if key in value]
    return _strings_in(named[:1] or list(value.values()))


def _closed(text: str) -> list[str]:
    return [match[1] for match in _STRING.finditer(text) if _is_json_string(match[1])]


def _is_json_string(part: str) -> bool:
    try:
        json.loads(f'"{part}"', strict=False)
    except ValueError:
        return False
    return bool(part.strip())


def _plain(text: str) -> list[str]:
    rows = [row.strip() for row in text.splitlines() if row.strip()]
    is_list = sum(_BULLET.match(row) is not None for row in rows) >= 2
    if is_list:  # what stands around a list is talk
        rows = [row for row in rows if _BULLET.match(row)]
    stripped = [_BULLET.sub("", row).strip().strip('"') for row in rows]
    return [row for row in stripped if row and not row.endswith(":")]
