"""Which language a short text is in, well enough to find the line that is in another one."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import Final

__all__ = ["LANGUAGES", "foreign_evidence"]

# Function words: short, frequent, and written by any model that writes the language at all.
_WORDS: Final[Mapping[str, str]] = {
    "en": """the a an of and or in on with to from is are was it its that this as at by for over
        under into when while often than but not their they has have one two which who where up
        down out across against between through like each after before around along without near
        beside behind above below off be can his her you your both all no only so then more most
        very some any every other same such these those there what how seen during until about
        almost usually sometimes just even still too also may will would if because were been
        being does do""",
    "de": """der die das ein eine einen einem einer und oder mit von zu ist sind war auf für nicht
        auch sich wie aus bei nach über unter zum zur im den dem des es er sie wenn oft sehr aber
        durch wird werden hat haben sein seine ihr ihre noch nur als an vor""",
    "fr": """le la les un une des du de et ou avec dans sur est sont pour pas que qui ce cette ces
        au aux par plus son sa ses il elle ils en à comme très souvent mais sans sous entre leur
        leurs être ont a d l s n qu""",
    "es": """el la los las un una unos unas y o con de del en es son para no que se su sus por al
        como más muy pero sin sobre entre cuando está están tiene tienen lo le este esta""",
    "it": """il lo la i gli le un uno una e o con di del della dei delle in è sono per non che si
        suo sua al alla come più molto ma senza su tra fra quando ha hanno nel nella dal dalla""",
    "pt": """o a os as um uma uns umas e ou com de do da dos das em é são para não que se seu sua
        no na nos nas por como mais muito mas sem sobre entre quando tem têm ao pelo pela""",
    "nl": """de het een en of met van te is zijn op voor niet ook zich als uit bij naar over onder
        in dat die er wordt worden heeft hebben zijn haar hun maar door nog zeer vaak aan om""",
    "sv": """och eller med av till är på för inte som den det en ett de har sig från vid över
        under när ofta mycket men utan mellan sin sitt sina kan om så""",
    "da": """og eller med af til er på for ikke som den det en et de har sig fra ved over under
        når ofte meget men uden mellem sin sit sine kan om så""",
    "pl": """i lub z ze w we na do jest są nie się że to ten ta te jak od po za przez dla ale
        bardzo często oraz który która które jego jej ich ma mają""",
    "cs": """a nebo s se v ve na do je jsou ne že to ten ta jak od po za pro ale velmi často který
        která které jeho její jejich má mají i k u""",
    "tr": """ve veya ile bir bu şu için değil gibi çok ama daha en da de ki olan olarak var
        üzerinde sonra kadar her""",
    "fi": """ja tai on ovat ei että se ne joka kun niin kuin myös mutta hyvin usein sen sitä sekä
        ilman kanssa""",
    "ro": """și sau cu de la în pe este sunt nu că un o care din mai foarte dar fără între când al
        ale lui ei se""",
    "hu": """a az és vagy egy nem hogy is van vannak ez mint de nagyon gyakran amely ki meg csak
        sem pedig""",
    "id": """dan atau dengan yang di ke dari untuk tidak adalah ini itu pada seperti sangat tetapi
        oleh juga akan dalam sebuah""",
    "vi": """và hoặc với của là có không một những các trong trên cho như rất nhưng được này đó
        khi""",
}
_LANGUAGES_OF: Final[Mapping[str, tuple[str, ...]]] = {
    word: tuple(name for name, known in _WORDS.items() if word in known.split())
    for words in _WORDS.values()
    for word in words.split()
}

LANGUAGES: Final = tuple(_WORDS)
"""Codes of the languages that lint can be told to expect."""

_WORD = re.compile(r"[^\W\d_]+")


def foreign_evidence(text: str, *, expected: str = "en") -> str | None:
    """Return what shows that a text is not in the expected language, or None.

    The expected language gets the benefit of the doubt: names, loan words and texts without
    function words are not taken as foreign.

    Args:
        text: The text.
        expected: One of `LANGUAGES`.
    """
    if not text.isascii() and (script := _foreign_script(text)):
        return f"letters of {script.title()}"
    words = [word.lower() for word in _WORD.findall(text)]
    counts = Counter(name for word in words for name in _LANGUAGES_OF.get(word, ()))
    best = max(LANGUAGES, key=lambda name: counts[name])
    if counts[best] >= 2 and counts[best] > 1.5 * counts[expected]:
        languages = {word: _LANGUAGES_OF.get(word, ()) for word in dict.fromkeys(words)}
        known = [word for word, of in languages.items() if best in of and expected not in of]
        return f"{best} words {', '.join(known[:5])}" if known else None
    is_accented = sum(not word.isascii() for word in words)
    if counts[expected] == 0 and len(words) >= 4 and expected == "en" and is_accented >= 2:
        return f"no English function word, accents in {is_accented} of {len(words)} words"
    return None


def _foreign_script(text: str) -> str | None:
    letters = [character for character in text if character.isalpha()]
    foreign = Counter(script for c in letters if (script := _script(c)) != "LATIN")
    if foreign and foreign.total() >= 0.2 * len(letters):
        return foreign.most_common(1)[0][0]
    return None


def _script(character: str) -> str:
    # The first word of a letter's Unicode name is its script: "LATIN SMALL LETTER A".
    return unicodedata.name(character, "UNKNOWN").partition(" ")[0]
