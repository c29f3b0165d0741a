import sys

import pytest

from structformer.training.progress import Progress


class Terminal:
    """Standard error as a person sees it."""

    def __init__(self, stream):
        self.stream = stream

    def isatty(self):
        return True

    def __getattr__(self, name):
        return getattr(self.stream, name)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def run(show):
    with Progress("reading", 3, show) as bar:
        for epoch in (1, 2, 3):
            bar.update(epoch, 0.1234, 0.9)


@pytest.mark.parametrize("show", [None, False])
def test_silent_where_nobody_watches(show, capsys):
    run(show)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("show", [None, True])
def test_shows_loss_and_score_on_a_terminal(show, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal(sys.stderr))
    run(show)
    out, err = capsys.readouterr()
    assert out == ""
    assert "reading · loss 0.1234 · validation 0.9000" in err
    assert "3/3" in err


def test_silent_on_a_terminal_when_asked(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal(sys.stderr))
    run(False)
    assert capsys.readouterr() == ("", "")


def test_an_error_passes_through():
    with pytest.raises(KeyError, match="lost"), Progress("reading", 3, False):
        raise KeyError("lost")
