"""What can be wrong with one line by itself, seen from its text alone."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final, Literal

from unibind.knowledge.language import foreign_evidence

__all__ = ["SEVERITIES", "Fault", "Severity", "masked", "normalised", "text_faults", "visible"]

Severity = Literal["note", "warning", "error"]
SEVERITIES: Final[tuple[Severity, ...]] = ("note", "warning", "error")


_NO_LETTER = re.compile("[^0-9a-z]+")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        kind: ``"refusal"``, ``"control-character"``, ...
        severity: ``"error"``: the line must not reach a center; ``"warning"``: a person should
            look; ``"note"``: worth knowing.
        evidence: What was found.
        remedy: What to do.
    """

    kind: str
    severity: Severity
    evidence: str
    remedy: str


def text_faults(
    text: str, *, language: str = "en", min_words: int = 4, max_words: int = 60
) -> list[Fault]:
    """Return what is wrong with a text, worst first.

    Args:
        text: The line.
        language: The language it should be in.
        min_words: Shorter is too short.
        max_words: Longer is too long.
    """
    rules = _RULES if text.isascii() and text.isprintable() else (*_UNICODE_RULES, *_RULES)
    found = [fault for rule in rules for fault in rule(text)]
    n_words = len(text.split())
    if n_words < min_words:
        severity: Severity = "error" if n_words == 0 else "warning"
        found.append(
            Fault("too-short", severity, f"{n_words} words", f"write {min_words} words or more")
        )
    if n_words > max_words:
        found.append(
            Fault("too-long", "warning", f"{n_words} words", "split it into several lines")
        )
    if evidence := foreign_evidence(text, expected=language):
        found.append(
            Fault("wrong-language", "error", evidence, f"write it in {language!r}, or drop it")
        )
    return sorted(found, key=lambda fault: -SEVERITIES.index(fault.severity))


def normalised(text: str) -> str:
    """Return a text as duplicates compare it: without case, accents' encoding and punctuation."""
    if text.isascii() and text.isprintable():
        return " ".join(_NO_LETTER.sub(" ", text.lower()).split()) or " ".join(text.split())
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(c if c.isalnum() else " " for c in folded if unicodedata.category(c) != "Cf")
    return " ".join(kept.split()) or " ".join(folded.split())


def masked(text: str, class_name: str) -> str:
    """Return a text with the class's name made harmless.

    A class may be called "ignore all instructions" or "example.com": its name is no fault.
    """
    if _is_harmless(class_name):
        return text
    return re.sub(re.escape(class_name), "thing", text, flags=re.IGNORECASE)


@lru_cache(maxsize=4096)
def _is_harmless(class_name: str) -> bool:
    return not text_faults(class_name, min_words=0)


def visible(text: str) -> str:
    """Return what a text tower can be given of a text, however broken: visible and not empty."""
    kept = text
    if not (text.isascii() and text.isprintable()):
        kept = "".join(" " if _is_invisible(character) else character for character in text)
    return " ".join(kept.split())[:20_000] or "empty"


def _shown(text: str, limit: int = 60) -> str:
    short = text if len(text) <= limit else text[: limit - 3] + "..."
    return repr(short)


# -- invisible ---------------------------------------------------------------------------------

# Blank, yet letters; and the place of an object that is not there.
_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc")


def _invisible(text: str) -> Iterator[Fault]:
    names = [
        f"U+{ord(c):04X} {unicodedata.name(c, unicodedata.category(c))}"
        for c in text
        if _is_invisible(c)
    ]
    if names:
        yield Fault(
            "control-character",
            "error",
            ", ".join(dict.fromkeys(names)),
            "delete the characters; they are read by the model and not by a reviewer",
        )


def _is_invisible(character: str) -> bool:
    if character in _FILLERS or "\ufe00" <= character <= "\ufe0f" or character >= "\U000e0000":
        return True
    category = unicodedata.category(character)
    return category[0] == "C" or category in ("Zl", "Zp") or (category == "Zs" and character != " ")


def _broken_encoding(text: str) -> Iterator[Fault]:
    if match := re.search(r"\ufffd|Ã[\x80-\xbf\u0152-\u2122©¨¤¶¼]|â€|Â[\xa0-\xbf]", text):
        yield Fault(
            "encoding", "error", _shown(match[0]), "read the source with the right encoding"
        )
    stacked = re.search(r"[\u0300-\u036f]{3,}", unicodedata.normalize("NFD", text))
    if stacked:
        yield Fault("encoding", "error", "stacked combining marks", "delete the marks")


def _mixed_script(text: str) -> Iterator[Fault]:
    for word in re.findall(r"[^\W\d_]+", text):
        names = {unicodedata.name(c, "?").partition(" ")[0] for c in word}
        if "LATIN" in names and names & {"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"}:
            yield Fault(
                "mixed-script",
                "error",
                f"{word!r} mixes {' and '.join(sorted(names))} letters",
                "write the word in one script",
            )
            return


# -- what a chat model says around its answer --------------------------------------------------

_SUBJECT = r"(?:i|we)"
_REFUSALS = re.compile(
    rf"""
      \bas\ (?:an?\ )?(?:ai|large\ language|language|virtual|helpful|artificial|chatbot)\b[^.]*?
        (?:model|assistant|intelligence|\bi\b)
    | \b{_SUBJECT}(?:'m|\ am|\ are|'re)\ (?:\w+\ )?(?:sorry|afraid|unable|not\ able|not\ sure|
        not\ allowed|not\ permitted|not\ comfortable|not\ familiar|not\ aware|an\ ai|just\ an\ ai|
        only\ an\ ai|a\ language\ model|a\ large\ language)
    | \b{_SUBJECT}\ (?:can(?:'t|not|\ not)|could(?:n't|\ not)|won't|will\ not|would\ not|
        must\ decline|decline|refuse|do(?:n't|\ not)\ (?:have|know|feel|think\ i|believe\ i))\b
    | \b(?:sorry|apologies|unfortunately|regrettably),?\ +(?:but\ )?(?:i|we|this|that|there|the
        \ request|it)\b
    | ^\W*(?:sorry|apologies|my\ apologies|unfortunately)\b
    | \b(?:i|we)\ apologi[sz]e\b | \bmy\ apologies\b
    | \b(?:can(?:'t|not)|unable\ to|not\ able\ to)\ (?:help|assist|comply|fulfil|fulfill|provide|
        answer|complete|generate|create|describe|do\ that|continue|discuss)\b
    | \b(?:against|violates?)\ (?:my|our|the|openai'?s?)\ (?:\w+\ )?(?:guidelines|polic(?:y|ies)|
        programming|rules)\b
    | \b(?:content|usage|safety)\ (?:policy|policies|guidelines)\b
    | \bmy\ (?:training\ data|knowledge\ cutoff|programming|guidelines)\b
    | \b(?:request|prompt|question|query)\ (?:was|has\ been|is)\ (?:declined|refused|blocked|
        rejected|denied|not\ (?:appropriate|allowed))\b
    | \b(?:insufficient|not\ enough)\ (?:information|context)\b
    | \b(?:no|not\ any|any)\ (?:\w+\ )?(?:information|descriptions?|data|details|knowledge|
        records?)\b.{{0,60}}\b(?:available|given|provided|possible|found|known|about|on|of)\b
    | \bnot\ (?:possible|able|permitted|allowed|in\ a\ position)\b.{{0,30}}\b(?:to\ )?(?:describe|
        say|tell|hear|see|provide|answer|give|generate|write|find|determine|know)\b
    | (?:^|[,;:.!?]\ |\b(?:and|but|so|that|if|as|because|which|what|while|than)\ )I
        \ (?:\w+\ )?(?:not|never|no|cannot|lack|only|apologi[sz]e|regret)\b
    | \b(?:that|this|it|which)(?:'s|\ is)\ (?:beyond|outside|not\ something)\b.{{0,20}}\b(?:I|we|my|
        our|me)\b
    | \b(?:possible|impossible|hard|difficult|appropriate|available)\ (?:for|to)\ me\b
    | ^\W*no\ comment\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_DEBRIS = re.compile(
    r"""
      ^\W*(?:sure|certainly|absolutely|of\ course|okay|ok|alright|great|gladly|no\ problem|
        happy\ to|good\ question|great\ question|got\ it|yes|definitely|understood|
        indeed)\s*[,!.:;\u2014-]
    | ^\W*(?:sure|certainly|absolutely)\ (?:thing|here|i)\b
    | \bhere(?:'s|\ is|\ are)\ (?:a|an|the|your|some|my|one|two|three|four|five|six|seven|eight|
        nine|ten|\d+|several|few|another|more)\b.*(?::|\b(?:descriptions?|sentences?|lines?|list|
        response|answer|version|examples?|captions?)\b)
    | \b(?:i\ hope\ (?:this|that|these|it)|hope\ (?:this|that|these)\ help|let\ me\ know|
        feel\ free\ to|(?:do|would)\ you\ (?:want|like|need)\ (?:me|more|any|another|to)|
        is\ there\ anything|anything\ else|happy\ to\ help|glad\ to\ help|i'?d\ be\ (?:happy|glad)|
        as\ (?:you\ )?requested|as\ per\ your|per\ your\ request|based\ on\ (?:your|the\ (?:json|
        provided|given|information))|in\ summary|in\ conclusion|to\ summari[sz]e|
        thanks?\ (?:you\ )?for|you(?:'re|\ are)\ welcome|please\ (?:note|let|provide|specify|find)|
        the\ (?:above|following)\ (?:is|are|sentences?|descriptions?|lines?|text|list)|
        this\ (?:sentence|description|response|answer|line)\b|
        i(?:\ have|\ will|'ll|'ve)\ (?:written|write|describe|provide|create|generate|list|try)|
        word\ count|
        let(?:'s|\ us)\ (?:describe|look|think|start|begin|see|consider|break|explore|imagine)|
        step\ by\ step|below\ (?:is|are|you)|the\ user\b|the\ (?:given|requested|target)\ (?:class|
        object)|(?:for|to|by|tell|give|ask)\ me\b|
        if\ you(?:'d\ like|\ would\ like|\ need|\ have)\ (?:any|more|me|further|to\ know|another))
    | <\|[^|>]*\|> | \[/?INST\] | </?s> | <<SYS>> | </?think>
    | (?:^|[.!?:,;]\ |\b(?:and|but|so|that|as|because)\ )I(?:'(?:m|ve|ll|d))?\ [a-z]+
    | ^\W*(?:assistant|user|human|system|ai|chatgpt|bot|model|response|answer|output|
        description|caption|sentence|line|note|example|question|q|a)\s*(?:\d+\s*)?[:>]
    | ^\s*(?:\(?\d{1,3}[.):]|[a-hA-H][.)]|[-*\u2022\u2023\u25e6\u25aa\u25cf\u2013\u2014>+])\s+\S
    | ^\s*(?:step|option|item|no\.?|\#)\s*\d+\b
    | :\s*$
    """,
    re.IGNORECASE | re.VERBOSE,
)
_PLACEHOLDER = re.compile(
    r"""\{\{?\s*\w+\s*\}?\}|\$\{\w+\}|%\(?\w*\)?s\b|<(?i:class|name|object|insert|your)[^>]*>
    |\[(?i:class|name|object|insert|your|something|x)[^\]]*\]|\bclass_name\b|\blorem\ ipsum\b
    |\b(?:TODO|TBD|FIXME|XXX|N/A|NaN|undefined|placeholder)\b|^\W*(?:null|none|nil)\W*$""",
    re.VERBOSE,
)


def _searched(
    kind: str, pattern: re.Pattern[str], remedy: str, severity: Severity, text: str
) -> Iterator[Fault]:
    plain = text.replace("\u2019", "'").replace("\u2018", "'")
    if match := pattern.search(plain):
        yield Fault(kind, severity, _shown(match[0]), remedy)


# -- what has no place in a sentence -----------------------------------------------------------

_MARKUP = re.compile(
    r"""</?[a-zA-Z][^<>]{0,200}>|<!--|&(?:[a-z]{2,8}|\#\d+|\#x[0-9a-f]+);|\*\*|__\w|\w__
    |(?<!\w)\*[^*\s][^*]*\*(?!\w)|(?<!\w)_[^_\s][^_]*_(?!\w)|~~|`|^\s*\#{1,6}\s|\[[^\]]+\]\([^)]*\)
    |!\[|\\[a-zA-Z]+\{|\$[^$\s][^$]*\$|\[/?(?:b|i|u|url|img|code|quote|color|size)\b[^\]]*\]
    |^\s*\||\|\s*-{2,}|={3,}|-{3,}|\{[^}]*:[^}]*\}|^\s*[\[{]|"\s*:\s*["\[{\d]|\\[nrtu]
    |[\w\]]\s*\([^)]*\)\s*=>|;\s*$|=\s*["'\[]""",
    re.VERBOSE | re.IGNORECASE,
)
_URL = re.compile(
    r"""\b(?:https?|ftp|file|javascript|data|mailto|s3)\s*:(?://)?\S|\bwww\.|[\w.+-]+@[\w-]+\.\w{2,}
    |\b[\w-]{2,}\.(?:com|org|net|edu|gov|io|co|ai|app|dev|info|biz|ru|cn|de|uk|xyz|ly|me)\b(?:/\S*)?
    |\bhxxps?|\b\d{1,3}(?:\.\d{1,3}){3}\b""",
    re.VERBOSE | re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]+(?!-)")  # not the I of an I-beam
_META_WORD = re.compile(
    r"""(?:describ(?:e|ed|es|ing)|descriptions?|sentences?|captions?|paragraphs?|texts?
    |answer(?:s|ed|ing)?|repl(?:y|ies)|respon(?:d|ds|se|ses)|requests?|requested|prompts?|quer(?:y|ies)
    |questions?|inputs?|outputs?|tasks?|instruct\w*|commands?|commanded|orders|rules|guidelines
    |polic(?:y|ies)|class|classes|classif\w+|categor\w+|labels?|labell?(?:ed|ing)|tag|tags|tagged
    |scores?|probabilit\w+|confidence|predict\w*|model|assistant|chatbot|AI|system|debug|json
    |words?|information|context|knowledge|training|trained|details|topics?|sources?|asked?|tell|told
    |say|said|mention(?:s|ed)?|explain|write|wrote|written|choose|select|return|prefer|promote|goal
    |obey\w*|execute|print|ignore|disregard|forget|consider|treat|assign|pretend|imagine|assume
    |provided?|generated?|produced?|comply|declined?|refused?|sorry|apolog\w+|regret\w*|unable
    |allowed|(?:in)?appropriate|comment|happy|glad|thanks?|hope|please|kindly|important|certainly
    |understood|understand|everything|anything|instead|images?|final|following|title|needed|let|help
    |you|your|me|my|we|our|us|I)""",
    re.VERBOSE,
)
_INSTRUCTION = re.compile(
    r"""
      \b(?:ignore|disregard|forget|override|bypass|skip)\b.{0,40}\b(?:instructions?|prompts?|rules?|
        guidelines?|above|previous|prior|earlier|everything|directions?|context|safety|polic)
    | \b(?:instructions?|prompt|system\ message|system\ prompt|developer\ mode|jailbreak|
        new\ task|new\ role|admin\ mode)\b
    | \byou\ are\ (?:now|no\ longer|a|an|chatgpt|dan)\b
    | \byou\ (?:must|should|will)\ (?:now|always|never|only|respond|answer|say|
        classify|obey|output|return|reply|comply|act|ignore)\b
    | \b(?:pretend|act|behave|roleplay)\ (?:to\ be|as\ (?:if|though|an?|the))\b
    | ^\W*(?:please\ )?(?:write|describe|respond|reply|answer|classify|label|output|print|return|
        generate|translate|summari[sz]e|execute|run|call|send|delete|reveal|repeat|say|tell|give|
        list|provide|add|make\ sure|always|never|do\ not|don't|remember|note\ that|imagine|consider|
        assume|explain|identify|visit|click|download|subscribe|buy|select|choose|predict|assign)\b
        (?:\ \w+)?\ (?:the|a|an|this|that|these|all|any|every|me|us|your|to|it|as|with|only|
        everything|anything|json|\d+|one|two|in|here|for)\b
    | ^\W*(?:please\ |now\ |kindly\ |always\ |never\ )?(?:override|bypass|disregard|forget|rewrite|
        rephrase|paraphrase|translate|summari[sz]e|classify|categori[sz]e|pretend|respond|reply|
        reveal|obey|comply|answer|output|predict|kindly)\b(?!\ (?:the\ )?(?:call|knock|sound)s?\b)
    | ^\W*(?:from\ now\ on|whenever\ you|in\ (?:all|your)\ (?:future\ )?answers?)\b
    | \b(?:should|must|shall|has\ to|have\ to|needs?\ to|is\ to|are\ to)\ (?:\w+\ )?be\ (?:
        labell?ed|classified|marked|treated|ranked|tagged|predicted|scored|returned|answered|called|named)\b
    | \b(?:for|to|on)\ (?:each|every|all|any)\ (?:\w+\ )?(?:requests?|quer(?:y|ies)|inputs?|
        prompts?|images?|questions?)\b
    | \b(?:all|any|each|every)\ (?:images?|inputs?|photo(?:graph)?s?|pictures?|queries)\ (?:as|
        belongs?|counts?)\b
    | \bset\ the\ (?:probability|score|label|class)\b
    | \b(?:full|high|highest|maximum|total)\ (?:confidence|probability|scores?)\b
    | \b(?:right|correct|only|true)\ (?:class|label|answer|category)\ (?:is|must|should)\b
    | \b(?:whenever|if|when|anything)\ you\ (?:are|see|get|hear)\ (?:asked|told|prompted)\b
    | \b(?:the|your)\ (?:classifier|language\ model|embedding\ model|system\ message)\b
    | \b(?:classify|label|predict|rank|score)\ (?:this|all|every|any|each|it)\b
    | \b(?:mark|treat|assign)\ (?:all|every|any|each)\ (?:images?|pictures?|inputs?|items?)\b
    | \b(?:drop\ table|select\ \*|rm\ -rf|sudo\ |import\ os|os\.system|eval\(|exec\(|
        (?:curl|wget)\ (?:-|http))
    | \b(?:api|secret|private)[\ _-]?key\b | \bpassword\b.{0,20}\b(?:is|reveal|print|send)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)


def _meta_talk(text: str) -> Iterator[Fault]:
    """Two words of those that talk about talking are rare in a sentence about a thing."""
    text = text[:1].lower() + text[1:] if not text.startswith("I ") else text
    found = {word.lower(): None for word in _WORD.findall(text) if _is_about_talking(word)}
    if len(found) >= 2:
        evidence = ", ".join(repr(word) for word in [*found][:4])
        yield Fault("meta-talk", "warning", evidence, "speak of the thing, not of the answer")


@lru_cache(maxsize=65536)
def _is_about_talking(word: str) -> bool:
    return _META_WORD.fullmatch(word) is not None


def _unfinished(text: str) -> Iterator[Fault]:
    stripped = text.rstrip()
    if len(stripped.split()) > 7 and not re.search(r"[.!?\u2026][\"'\u201d\u2019)\]]*$", stripped):
        yield Fault("truncated", "note", f"ends in {_shown(stripped[-20:])}", "finish the sentence")


def _repetitive(text: str) -> Iterator[Fault]:
    words = normalised(text).split()
    if match := re.search(r"(\S)\1{7,}|\b(\w+)(?:[\s,.;!]+\2\b){2,}", text, re.IGNORECASE):
        yield Fault("repetition", "warning", _shown(match[0]), "write the line anew")
    elif len(words) >= 8 and len(set(words)) <= 0.5 * len(words):
        evidence = f"{len(set(words))} different words of {len(words)}"
        yield Fault("repetition", "warning", evidence, "write the line anew")


def _wordless(text: str) -> Iterator[Fault]:
    visible = [c for c in text if not c.isspace()]
    n_letters = sum(c.isalpha() for c in visible)
    if visible and n_letters < 0.6 * len(visible):
        yield Fault(
            "gibberish", "error", f"{n_letters} letters of {len(visible)} signs", "write a sentence"
        )
    words = re.findall(r"[a-z]{5,}", text.lower())
    odd = [word for word in words if not re.search(r"[aeiouy]", word)]
    if len(odd) >= 2 or any(len(word) > 28 for word in words):
        evidence = _shown(" ".join(odd) or max(words, key=len))
        yield Fault("gibberish", "error", evidence, "write a sentence")
    if n_letters >= 20 and text.upper() == text:
        yield Fault("markup", "note", "capitals throughout", "write it in sentence case")


_Rule = Callable[[str], Iterator[Fault]]

_UNICODE_RULES: Final[tuple[_Rule, ...]] = (_invisible, _broken_encoding, _mixed_script)
"""Rules that a text of visible ASCII cannot break."""

_RULES: Final[tuple[_Rule, ...]] = (
    partial(_searched, "refusal", _REFUSALS, "drop the line and ask again", "error"),
    partial(_searched, "chat-debris", _DEBRIS, "keep the description only", "error"),
    partial(_searched, "placeholder", _PLACEHOLDER, "drop the line and ask again", "error"),
    partial(_searched, "url", _URL, "delete the address", "error"),
    partial(_searched, "markup", _MARKUP, "delete the markup, keep the words", "error"),
    partial(_searched, "instruction", _INSTRUCTION, "describe, do not instruct", "error"),
    _meta_talk,
    _unfinished,
    _repetitive,
    _wordless,
)
