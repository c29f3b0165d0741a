import numpy as np
import pytest
import torch
from structformer.tasks.evidence_data import FEATURES, LINKS, NAMING, Evidence
from structformer.tasks.evidence_model import EvidenceModel, evidence_encoder, pack


def question(paragraphs: int, seed: int) -> Evidence:
    drawn = np.random.default_rng(seed)
    links = drawn.normal(size=(paragraphs, paragraphs, len(LINKS)))
    links[..., NAMING] = 0.0
    links[0, 1, NAMING[0]] = 1.0
    return Evidence(drawn.normal(size=(paragraphs, len(FEATURES))), links, np.arange(paragraphs) == 1)


@pytest.mark.parametrize(("links", "edges"), [("all", 3 * 2 + 4 * 3), ("naming", 2), ("none", 0)])
def test_pairs_are_given_as_asked(links: str, edges: int):
    tokens = pack([question(3, 0), question(4, 1)], links)
    assert tokens.sizes.tolist() == [3, 4]
    assert tokens.y.nonzero().flatten().tolist() == [1, 4]
    if not edges:
        assert tokens.edge_index is None
    else:
        assert tokens.edge_index.shape[1] == len(tokens.edge_attr) == edges
    if links == "naming":
        assert tokens.edge_index.T.tolist() == [[1, 0], [4, 3]]
    with pytest.raises(ValueError, match=r"links must be all, naming or none \(got 'some'\)"):
        pack([question(3, 0)], "some")


@pytest.mark.parametrize(
    ("name", "links"), [("soes", "all"), ("soes", "none"), ("ressformer", "naming"), ("dense", "none")]
)
def test_scores_follow_the_paragraphs_and_questions_do_not_hear_each_other(name: str, links: str):
    encoder = evidence_encoder(name, 8, 2, 0.0, links, **({"layers": 1} if name == "dense" else {}))
    model = EvidenceModel([[]] * len(FEATURES), encoder, 8, 0.0).double().eval()

    def scores(*some: Evidence) -> torch.Tensor:
        tokens = pack(some, links)
        tokens.x = tokens.x.double()
        if tokens.edge_attr is not None:
            tokens.edge_attr = tokens.edge_attr.double()
        return model(tokens)[0]

    one, order = question(4, 0), [2, 0, 3, 1]
    torch.testing.assert_close(scores(one.permuted(order), question(3, 5))[:4], scores(one)[order])


def test_links_need_an_encoder_that_reads_them():
    with pytest.raises(ValueError, match=r"links must be none for transformer \(got all\)"):
        evidence_encoder("transformer", 8, 2, 0.0, "all")
