import re

from structformer.tasks.planetoid import CARD as OF_THE_TASK
from structformer.tasks.planetoid_card import CARD


def test_published_figures_are_percentages_with_a_source():
    assert CARD is OF_THE_TASK
    for published in CARD.published:
        assert re.search(r"\d{4}\.\d{5}", published.source), published.method
        assert all(60 < float(figure) < 90 for figure in published.figures.values())


def test_figures_are_of_one_protocol_each_and_those_that_were_not_printed_are_not_there():
    for published in CARD.published:
        protocols = {name.partition(", ")[2] for name in published.figures}
        assert len(protocols) == 1
        assert protocols <= {"public", "random split", "no graph"}
    (gps,) = (one for one in CARD.published if one.method == "GraphGPS")
    assert set(gps.figures) == {"cora, random split", "pubmed, random split"}
