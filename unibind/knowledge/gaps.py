"""What the last build of a base was asked for and did not get."""

from collections import Counter
from typing import NamedTuple

from unibind.knowledge.values import KnowledgeBase

__all__ = ["Gap", "gaps"]


class Gap(NamedTuple):
    """Lines of one class that are missing.

    Attributes:
        class_name: The class.
        prompt: Id of the prompt that they answer.
        n_missing: How many.
    """

    class_name: str
    prompt: str
    n_missing: int


def gaps(base: KnowledgeBase) -> list[Gap]:
    """Return what is missing, by class; nothing of a base that was not built.

    Lines that a person wrote or rejected are the person's business: a rejected line is missing
    again, and one by hand fills no gap.
    """
    wanted = dict(base.plan.get("prompts", {}))
    present = Counter(
        (line.class_name, base.sources[line.source].prompt)
        for line in base.lines
        if line.source in base.sources and not line.against
    )
    return [
        Gap(name, prompt, n_lines - present[name, prompt])
        for name in base.classes
        for prompt, n_lines in wanted.items()
        if present[name, prompt] < n_lines
    ]
