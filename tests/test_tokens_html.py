import xml.etree.ElementTree as ET

import pytest
import torch
from torch_geometric.data import Batch

from structformer.tokens import TokenSet


def texts(html: str) -> list[str]:
    """The words of the block, which must be a tree: a text that broke out of its place would break it."""
    return [text.strip() for text in ET.fromstring(html).itertext() if text.strip()]


def sets(sizes: list[int], **fields) -> TokenSet:
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    return TokenSet(torch.rand(sum(sizes), 3), ptr=ptr, **fields)


def test_fields_say_what_they_belong_to_and_hold():
    rows = TokenSet(torch.rand(2, 5))
    tokens = sets(
        [2, 3], y=torch.tensor([0, 1]), names=list("abcde"), edge_index=torch.tensor([[0], [1]]), rows=rows
    )
    said = texts(tokens._repr_html_())
    assert said[:2] == ["TokenSet", repr(tokens)[len("TokenSet(") : -1]]
    triples = {tuple(said[i : i + 3]) for i in range(len(said) - 2)}
    assert ("x", "tokens", "float32 [5, 3]") in triples
    assert ("y", "sets", "int64 [2]") in triples
    assert ("edge_index", "edges", "int64 [2, 1]") in triples
    assert ("names", "tokens", "list of 5") in triples
    assert ("rows", "sets", "TokenSet(2 tokens, 1 set, 5 features)") in triples


def test_the_histogram_counts_every_set():
    sizes = [3] * 7 + [4] * 2 + [9]
    html = sets(sizes)._repr_html_()
    root = ET.fromstring(html)
    titles = [element.text for element in root.iter() if element.tag.endswith("title")]
    assert titles == ["3 tokens: 7 sets", "4 tokens: 2 sets", "9 tokens: 1 sets"]
    heights = [float(element.attrib["height"]) for element in root.iter() if element.tag.endswith("rect")]
    assert heights[0] == pytest.approx(7 * heights[2], rel=0.01)
    assert 'aria-label="Histogram of set sizes, from 3 to 9 tokens, mean 3.8"' in html
    assert "Every set has 3 tokens." in texts(sets([3, 3])._repr_html_())


def test_wide_ranges_share_bars():
    html = sets(list(range(1, 200)))._repr_html_()
    titles = [e.text or "" for e in ET.fromstring(html).iter() if e.tag.endswith("title")]
    assert len(titles) <= 24
    assert titles[0] == "1 to 9 tokens: 9 sets"
    assert sum(int(title.split()[-2]) for title in titles) == 199


def test_first_names_are_shown_and_escaped():
    evil = "<script>alert(1)</script>"
    tokens = sets([3, 4], names=[evil, *"bcdefg"], set_names=[evil, "second"], **{"token_<b>": torch.rand(7)})
    html = tokens._repr_html_()
    assert "<script" not in html
    said = " ".join(texts(html))
    assert "token_<b> tokens float32 [7]" in said
    assert (
        f"First names of tokens: {evil[:27]}… , b , c , d , e and 2 more".replace(f"{evil[:27]}…", evil)
        in said
    )
    assert f"Names of sets: {evil} , second" in said


@pytest.mark.parametrize(
    "tokens",
    [
        TokenSet(),
        TokenSet(torch.empty(0, 3)),
        sets([0, 0, 0]),
        sets([0, 2, 0]),
        sets([2, 3]).to("meta"),
        Batch.from_data_list([sets([2], names=["a", "b"]), sets([3], names=["c", "d", "e"])]),
    ],
)
def test_odd_sets_are_shown(tokens: TokenSet):
    assert texts(tokens._repr_html_())[0] == "TokenSet"
