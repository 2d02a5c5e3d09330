"""What an ablation decides, in words: whether sentences are kept, and which text stands instead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unibind.evaluation.bootstrap import Outcome, Summary, difference, summary
from unibind.evaluation.class_texts import KEPT_OVER, RANDOM
from unibind.knowledge.class_texts import LLM, NAME, TEMPLATES, WORD

__all__ = ["FEWEST", "Verdict", "judge"]

FEWEST = 6
"""Classes that must have been asked about as unseen ones: if an arm is better on each of fewer, a
sign test over classes still gives that more than 1 chance in 20 (2 * 2^-5 = 0.06)."""

_THE = {
    NAME: "the class's name",
    TEMPLATES: "hand templates",
    WORD: "the domain word",
    RANDOM: "shared random words",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided.

    Attributes:
        is_kept: Whether a language model's sentences are kept.
        words: The same in words, with the difference that decided.
        chosen: Which text stands for a class by this ablation, one of
            `unibind.knowledge.class_texts.KINDS`.
        because: Why that one, in words.
    """

    is_kept: bool
    words: str
    chosen: str
    because: str


def judge(unseen: Mapping[str, Sequence[Outcome]]) -> Verdict:
    """Return the verdict of what arms answered on unseen classes.

    Sentences are kept where they beat a word for the domain *and* shared random words, each with an
    interval above 0. Where they are not, the plainest text stands that nothing beats: the name, or
    the better of the two kinds of templates if its interval over the name is above 0.

    Args:
        unseen: Arm to its outcomes, one per seed; without any where no class could be left out.
    """
    if LLM not in unseen:
        return Verdict(
            False,
            "Whether LLM text helps cannot be told: of fewer than 4 classes none can be left out, "
            "and on classes that were trained on any text does as well",
            NAME,
            "nothing shows that more than the name is needed",
        )
    n_classes = len({name for outcome in unseen[LLM] for name in outcome.clusters})
    over = {arm: difference(unseen[LLM], unseen[arm]) for arm in KEPT_OVER}
    failed = [arm for arm in KEPT_OVER if not over[arm].low > 0]
    of = failed[0] if failed else min(KEPT_OVER, key=lambda arm: over[arm].mean)
    points = f"{_points(over[of], _THE[of])} on unseen classes"
    if n_classes < FEWEST:
        return Verdict(
            False,
            f"Whether LLM text helps cannot be told from {n_classes} classes, {FEWEST} are needed: "
            f"{points}",
            NAME,
            "nothing shows that more than the name is needed",
        )
    if not failed:
        return Verdict(True, f"LLM text is kept: {points}", LLM, points)
    chosen, because = _instead(unseen)
    return Verdict(False, f"LLM text is not kept: {points}", chosen, because)


def _instead(unseen: Mapping[str, Sequence[Outcome]]) -> tuple[str, str]:
    best = max((TEMPLATES, WORD), key=lambda arm: summary(unseen[arm]).mean)
    found = difference(unseen[best], unseen[NAME])
    told = f"{_THE[best]}: {_points(found, _THE[NAME])}"
    if found.low > 0:
        return best, told
    return NAME, f"no template is shown to be better ({told})"


def _points(found: Summary, over: str) -> str:
    interval = f"[{100 * found.low:.1f}, {100 * found.high:.1f}]"
    return f"{100 * found.mean:+.1f} points over {over} {interval}"
