from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structformer import markup


class Words(HTMLParser):
    """Collects what a page would show, and the elements it has."""

    def __init__(self) -> None:
        super().__init__()
        self.shown, self.tags = "", []

    def handle_data(self, data):
        self.shown += data

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)


@given(st.text())
def test_no_text_becomes_markup_and_none_is_longer_than_asked(value: str):
    page = Words()
    page.feed(markup.text(value, 12))
    page.close()
    assert page.tags == []
    assert len(page.shown) <= 12
    assert page.shown.isprintable()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\n\tb", "a b"),
        ("x" * 41, "x" * 39 + "…"),
        ("\ud800", "�"),
        ("\x07", "�"),
        (None, "None"),
        (1.5, "1.5"),
    ],
)
def test_what_cannot_be_shown_is_replaced(value: object, shown: str):
    assert markup.text(value) == shown


def test_a_name_keeps_its_direction_of_writing_to_itself():
    assert markup.name("שלום <b>") == "<bdi>שלום &lt;b&gt;</bdi>"


def test_a_table_has_headings_for_rows_and_columns():
    found = markup.table([("a", "1"), ("b", "2")], "Edges", ("who", "weight"), numbers=True)
    root = ElementTree.fromstring(found)
    assert root.find("caption").text == "Edges"
    assert [cell.text for cell in root.iter("th") if cell.get("scope") == "col"] == ["who", "weight"]
    assert [cell.text for cell in root.iter("th") if cell.get("scope") == "row"] == ["a", "b"]
    aligned = ["right" in cell.get("style") for cell in root.iter("td")]
    assert aligned == [True, True]
    assert markup.table([], "Edges") == ""


def test_a_block_leaves_empty_parts_out():
    root = ElementTree.fromstring(markup.block("Title", "more", ["", "<p>one</p>", "", "<p>two</p>"], "note"))
    assert [part.text for part in root.iter("p")] == ["one", "two"]
    assert "".join(root.itertext()).endswith("note")
    ElementTree.fromstring(markup.block("Title", "", []))


def test_a_picture_says_what_it_shows_to_who_cannot_see_it():
    root = ElementTree.fromstring(markup.svg(10, 20, 'five "tokens" & <more>', "<g/>"))
    assert root.get("aria-label") == 'five "tokens" & <more>'
    assert root.get("viewBox") == "0 0 10 20"
