"""Words that say what a statement does with a table: compares, counts, picks the largest, denies."""

from __future__ import annotations

from .tabfact_words import Word, stem

_GROUPS = {
    "most": "most highest largest biggest greatest best top maximum max longest tallest latest last newest heaviest "
    "fastest majority more recent",
    "least": "least lowest smallest fewest worst minimum min shortest earliest first oldest youngest slowest bottom",
    "above": "more higher greater larger bigger over above exceed after later longer better taller older least further",
    "below": "fewer less lower smaller under below before earlier shorter worse younger prior most",
    "not": "not no never none neither nor without nobody nothing",
    "only": "only single unique sole just exactly",
    "all": "all every each always entire both",
    "same": "same equal tie identical share even",
    "different": "different differ unlike except other",
    "mean": "average mean",
    "sum": "total combined sum overall together altogether",
    "count": "there number how many times time several",
    "win": "win winner victory victor beat defeat champion",
    "lose": "lose loss loser defeated",
    "than": "than compare",
    "between": "between from to during",
}
TRIGGERS = tuple(_GROUPS)
_OF: dict[str, list[int]] = {}
for _place, _name in enumerate(TRIGGERS):
    for _word in _GROUPS[_name].split():
        _OF.setdefault(stem(_word), []).append(_place)


def triggers(statement: tuple[Word, ...]) -> list[float]:
    """Return for each of `TRIGGERS` whether the statement has one of its words."""
    found = [0.0] * len(TRIGGERS)
    for word in statement:
        for place in _OF.get(word.stem, ()):
            found[place] = 1.0
    return found
