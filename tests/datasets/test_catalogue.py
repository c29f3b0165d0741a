import ast
import re
import socket
from urllib.parse import urlparse

import pytest
import structformer.datasets
from structformer.datasets import cards, catalogue
from structformer.datasets.catalogue import card, chosen
from structformer.datasets.store import read

NAMES = [
    *(f"planetoid/{name}" for name in ("cora", "citeseer", "pubmed")),
    *(f"heterophilous/{name}" for name in ("actor", "chameleon", "minesweeper")),
    "amazon_photo",
    *(f"tu_graphs/{name}" for name in ("MUTAG", "PROTEINS", "ENZYMES")),
    *(f"molecules/{name}" for name in ("HIV", "BBBP", "ESOL")),
    "hotpotqa",
    "mnist",
    "tabfact",
    *(
        f"mixed_tables/{name}"
        for name in ("adult", "ames", "attrition", "bank", "california_housing", "credit_data", "diamonds")
    ),
    *(f"mixed_tables/{name}" for name in ("mlc_churn", "titanic", "womens_clothing_reviews")),
    "wikitext2",
    "shakespeare",
    "babi",
]


def test_there_is_a_card_for_every_data_set():
    assert list(cards()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_card_is_complete(name):
    about = card(name)
    assert about.name == name
    assert re.search(r"\d", about.what)
    for said in (about.home, about.licence, about.citation):
        assert len(said) > 2
    assert re.search(r"(19|20)\d\d|R package", about.citation)
    assert about.traps
    assert all(isinstance(trap, str) and len(trap) > 10 for trap in about.traps)
    for one in (str(about), *str(about).splitlines()):
        assert "NAME" not in one
    assert f"beware    {about.traps[-1]}" in str(about)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_where_each_file_comes_from(name):
    about = card(name)
    assert about.files
    assert about.size == sum(file.size for file in about.files) > 1_000
    for file in about.files:
        assert urlparse(file.url).scheme == "https"
        # At a commit, so that it cannot change.
        assert re.search(r"/[0-9a-f]{40}[/.]", file.url)
        assert file.is_folder or file.member or file.url.rpartition("/")[2]
        for form in (file, *([file.prepared] if file.prepared else [])):
            assert form.size > 0
            assert re.fullmatch(r"[0-9a-f]{64}", form.sha256)
            assert not form.path.startswith("/")
            assert ".." not in form.path
        if file.archive_sha256 is not None:
            assert re.fullmatch(r"[0-9a-f]{64}", file.archive_sha256)


def test_no_two_files_share_a_place():
    paths = [
        form.path
        for about in cards().values()
        for file in about.files
        for form in (file, file.prepared)
        if form
    ]
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_how_it_is_loaded_and_loading_stays_off_the_network(name, folder, monkeypatch):
    def refused(*_):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    call = ast.parse(card(name).load, mode="eval").body
    arguments = [argument.value for argument in call.args]
    assert name.split("/")[1:] == arguments
    with pytest.raises(FileNotFoundError, match=re.escape(f"structformer.datasets.download({name!r})")):
        getattr(structformer.datasets, call.func.id)(*arguments)


def test_a_name_is_one_data_set_or_a_group():
    assert [one.name for one in chosen("planetoid")] == NAMES[:3]
    assert [one.name for one in chosen("planetoid/cora")] == NAMES[:1]
    assert chosen("mnist") == (card("mnist"),)
    for asked in (chosen, card):
        with pytest.raises(
            ValueError, match="there is no data set 'cora'; known are planetoid/cora, planetoid/cit"
        ):
            asked("cora")


@pytest.mark.parametrize("name", NAMES)
def test_the_real_files_are_what_the_cards_say(name, real):
    real(name)
    found = read(name)
    assert len(found) >= len(card(name).files)


def test_cards_are_read_once():
    assert catalogue.cards() is catalogue.cards()
