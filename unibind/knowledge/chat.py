"""A request in the shape of OpenAI's chat completions, which nearly every server speaks."""

import base64
import json
from collections.abc import Mapping

from unibind.errors import WriterError
from unibind.types import Json, WritingRequest, WrittenAnswer

__all__ = ["answer_of", "chat_body"]


def chat_body(
    request: WritingRequest,
    *,
    model: str,
    sampling: Mapping[str, Json],
    structured: bool = True,
) -> dict[str, Json]:
    """Return the body of a chat completion.

    Args:
        request: What to ask.
        model: The model's name.
        sampling: Temperature and so on; its base seed gives way to the request's own.
        structured: Whether the server is told the answer's JSON schema.
    """
    body: dict[str, Json] = {"model": model, "messages": _messages(request)}
    body |= {name: value for name, value in sampling.items() if value is not None}
    body["seed"] = request.seed
    if structured:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": dict(request.schema)},
        }
    return body


def answer_of(response: Json) -> WrittenAnswer:
    """Return the answer in a chat completion.

    Raises:
        WriterError: It has no text; the message has what it has instead.
    """
    try:
        message = response["choices"][0]["message"]
        content = message.get("content") or message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError):
        content = None
    if not isinstance(content, str) or not content.strip():
        raise WriterError(f"the answer has no text: {str(response)[:200]}")
    usage = response.get("usage") or {}
    return WrittenAnswer(
        content,
        n_prompt_tokens=int(usage.get("prompt_tokens") or 0),
        n_answer_tokens=int(usage.get("completion_tokens") or 0),
    )


def _messages(request: WritingRequest) -> list[dict[str, Json]]:
    messages: list[dict[str, Json]] = [{"role": "system", "content": request.instruction}]
    for facts, answer in request.examples:
        messages.append({"role": "user", "content": _as_text(facts)})
        messages.append({"role": "assistant", "content": _as_text(answer)})
    question: Json = _as_text(request.facts)
    if request.media:
        parts = [_media_part(kind, content) for kind, content in request.media]
        question = [{"type": "text", "text": question}, *parts]
    messages.append({"role": "user", "content": question})
    return messages


def _as_text(value: Mapping[str, Json]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _media_part(kind: str, content: bytes) -> dict[str, Json]:
    data = base64.b64encode(content).decode()
    family, _, form = kind.partition("/")
    if family == "audio":
        form = {"x-wav": "wav", "mpeg": "mp3"}.get(form, form)
        return {"type": "input_audio", "input_audio": {"data": data, "format": form}}
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
