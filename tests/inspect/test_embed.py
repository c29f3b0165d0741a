from __future__ import annotations

import json

import pytest

from structformer.inspect.embed import json_for_page

NASTY = ["</script><script>alert(1)</script>", "a & b", "<!--", "\u2028line\u2029", "schön", 'quote " \\ end']


def test_values_come_back_as_they_were():
    value = {"names": NASTY, "weight": [0.25, -1, None], "known": True}
    assert json.loads(str(json_for_page(value))) == value


@pytest.mark.parametrize("text", NASTY)
def test_nothing_in_it_can_end_the_script_or_its_line(text):
    page = str(json_for_page({text: text}))
    assert not set("<>&\u2028\u2029") & set(page)


def test_numbers_that_json_does_not_know_are_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_for_page([float("nan")])
