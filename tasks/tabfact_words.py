"""Words of statements and of tables in one form, so that they can be told to be the same.

Training statements are as they were written; those for validation and the test were lemmatised by their authors, and
have figures in place of number words. Stems and figures bring both to one form.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

_TOKEN = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+|[a-z]+")
_ORDINAL = re.compile(r"(?<![\w.])(\d+)\s?(?:st|nd|rd|th)\b")
_NOT = re.compile(r"n['\u2019]t\b")
_BASE = {
    "be": "am is are was were been being",
    "have": "has had having",
    "do": "does did done doing",
    "win": "won winning",
    "lose": "lost losing",
    "go": "went gone goes",
    "take": "took taken taking",
    "make": "made making",
    "get": "got gotten getting",
    "give": "gave given giving",
    "come": "came coming",
    "see": "saw seen",
    "hold": "held",
    "lead": "led",
    "run": "ran running",
    "beat": "beaten",
    "begin": "began begun beginning",
    "become": "became becoming",
    "write": "wrote written writing",
    "draw": "drew drawn",
    "fall": "fell fallen",
    "know": "knew known",
    "sell": "sold",
    "spend": "spent",
    "tie": "tied ties tying",
    "man": "men",
    "woman": "women",
}
_IRREGULAR = {form: base for base, forms in _BASE.items() for form in forms.split()}
_CARDINALS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_NUMBERS = {word: number for number, word in enumerate(_CARDINALS.split())} | {
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "sixty": 60,
    "seventy": 70,
    "eighty": 80,
    "ninety": 90,
    "hundred": 100,
    "dozen": 12,
    "once": 1,
    "twice": 2,
    "thrice": 3,
}
_PLACES = "first second third fourth fifth sixth seventh eighth ninth tenth"
_ORDINALS = {word: number for number, word in enumerate(_PLACES.split(), start=1)}
_COMMON = """
the a an of in on at to for from by with and or as be have do that this it its their there his her he she they which
who was but while when where during s t than then also into out up after before between all any each not no more most
less least only same other both one total number time year what if would will can
"""


@dataclass(frozen=True)
class Word:
    """A word.

    Attributes:
        stem: By which words are the same; a number's own figures.
        number: Its value, or None.
        ordinal: Whether it says a place in an order, such as "first" and "1st".
    """

    stem: str
    number: float | None = None
    ordinal: bool = False

    @property
    def content(self) -> bool:
        """Whether it says what is talked about: no number, and not one of the commonest words."""
        return self.number is None and self.stem not in _STOPSTEMS


@lru_cache(maxsize=1 << 18)
def words(text: str) -> tuple[Word, ...]:
    """Return the words of a text; accents, case and punctuation do not count."""
    plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
    plain = _ORDINAL.sub(r" \1ordinal ", _NOT.sub(" not", plain))
    found: list[Word] = []
    for token in _TOKEN.findall(plain):
        if token == "ordinal" and found:
            found[-1] = Word(found[-1].stem, found[-1].number, True)
        elif token != "s":
            found.append(_word(token))
    return tuple(found)


def stem(word: str) -> str:
    """Return a word without its usual endings; irregular verbs in their base form.

    Not a word of English always, but the same for "scored", "scores" and "score".
    """
    word = _IRREGULAR.get(word, word)
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 4 and re.search(r"(?:s|x|z|ch|sh)es$", word):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    if len(word) > 4 and word.endswith("ied"):
        word = word[:-3] + "y"
    for ending in ("ing", "ed"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) > 2 and re.search("[aeiouy]", rest) and not word.endswith("eed"):
            double = len(rest) > 3 and rest[-1] == rest[-2] and rest[-1] not in "lsz"
            word = rest[:-1] if double else rest
            break
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


def _word(token: str) -> Word:
    if not token[-1].isdigit():
        if token in _ORDINALS:
            return Word(str(_ORDINALS[token]), float(_ORDINALS[token]), True)
        if token in _NUMBERS:
            return Word(str(_NUMBERS[token]), float(_NUMBERS[token]))
        return Word(stem(token))
    value = float(token.replace(",", ""))
    return Word(f"{value:.12g}", value)


_STOPSTEMS = frozenset(map(stem, _COMMON.split()))
