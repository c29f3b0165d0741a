from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from structformer.cli import main
from structformer.training import save_checkpoint

SMALL = ("--width", 12, "--heads", 2, "--neighbors", 3, "--segment", 17, "--batch", 3, "--lr", 0.02)
TEXT = "The cat sat on the mat.\nThe dog sat on the log, né?\n" * 7


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def train(folder: Path, out: Path, *arguments: object) -> int:
    return run("lm", "train", folder / "text.txt", folder / "more.txt", "--out", out, *SMALL, *arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lm")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    (folder / "more.txt").write_text("The cow sat on the moon.\n" * 5, encoding="utf-8")
    assert train(folder, folder / "model", "--updates", 60) == 0
    return folder


def bytes_of(folder: Path) -> list[bytes]:
    return sorted(file.read_bytes() for file in folder.iterdir())


def test_training_says_where_it_stands(folder, tmp_path, capsys):
    assert train(folder, tmp_path / "m", "--updates", 5, "--save-every", 2) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"{len(TEXT.encode()) + 5 * 25} tokens, ")
    assert [line.split(":")[0] for line in told[1:4]] == [f"update {n} of 5" for n in (2, 4, 5)]
    assert told[4] == f"model in {tmp_path / 'm'}"


def test_an_interrupted_training_goes_on_with_the_same_command(folder, tmp_path, capsys, monkeypatch):
    from structformer.training.language import LanguageTrainer

    arguments = "--updates", 7, "--save-every", 2, "--dropout", 0.1, "--mixer", "rsa"
    assert train(folder, tmp_path / "whole", *arguments) == 0
    update = LanguageTrainer.update

    def interrupted(self):
        if len(self.history) == 5:
            raise KeyboardInterrupt
        return update(self)

    monkeypatch.setattr(LanguageTrainer, "update", interrupted)
    assert train(folder, tmp_path / "cut", *arguments) == 130
    monkeypatch.undo()
    capsys.readouterr()
    assert train(folder, tmp_path / "cut", *arguments) == 0
    told = capsys.readouterr().out
    assert "goes on after update 4 of 7" in told
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")
    # There is nothing left to do, and nothing is done.
    assert train(folder, tmp_path / "cut", *arguments) == 0
    assert "goes on after update 7 of 7" in capsys.readouterr().out
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")


def test_a_text_goes_on(folder, capsys):
    arguments = "lm", "sample", folder / "model", "--prompt", "The cat", "--tokens", 23
    found = []
    for more in ((), ("--seed", 0), ("--seed", 1), ("--temperature", 0), ("--top-p", 1e-6)):
        assert run(*arguments, *more) == 0
        found.append(capsys.readouterr().out)
    assert all(text.startswith("The cat") and text.endswith("\n") for text in found)
    assert found[0] == found[1] != found[2]
    assert found[3] == found[4], "the smallest set is the most probable token"
    assert len(found[3]) == len("The cat") + 23 + 1


def test_a_character_is_printed_when_it_is_complete(folder, capsys, monkeypatch):
    from structformer.models.language import ReSSFormerLM

    tokens = [torch.tensor([byte]) for byte in "né".encode() + b"\xc3"]
    monkeypatch.setattr(ReSSFormerLM, "generate", lambda *_, **__: iter(tokens))
    assert run("lm", "sample", folder / "model") == 0
    assert capsys.readouterr().out == "né�\n"


def test_a_text_is_measured(folder, capsys):
    assert run("lm", "eval", folder / "model", folder / "text.txt") == 0
    told = capsys.readouterr().out.splitlines()
    size = len(TEXT.encode())
    assert told[0] == f"{size:,} bytes, {size:,} tokens"
    bits, perplexity = float(told[1].split()[-1]), float(told[2].split()[1])
    assert bits < 5, "a byte that knows nothing of the text has 8 bits"
    assert perplexity == pytest.approx(2**bits, rel=1e-3)


def test_byte_pairs_are_learned_and_kept(folder, tmp_path, capsys):
    pytest.importorskip("tokenizers")
    assert train(folder, tmp_path / "m", "--updates", 3, "--vocabulary", 281) == 0
    assert run("lm", "eval", tmp_path / "m", folder / "text.txt") == 0
    told = capsys.readouterr().out
    size = len(TEXT.encode())
    assert f"{size:,} bytes, " in told
    assert f"{size:,} tokens" not in told
    assert run("lm", "sample", tmp_path / "m", "--prompt", "The né", "--tokens", 5) == 0
    assert capsys.readouterr().out.startswith("The né")


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["train", "{}/gone.txt", "--out", "{}/m"], "there is no file {}/gone.txt"),
        (["train", "{}/empty.txt", "--out", "{}/m"], "{}/empty.txt is empty"),
        (["train", "{}/text.txt", "{}/binary", "--out", "{}/m"], "{}/binary is not a text: byte 1 is 0"),
        (["train", "{}", "--out", "{}/m"], "{} is a directory, not a text"),
        (["train", "{}/text.txt"], "--out"),
        (["train", "--out", "{}/m"], "FILE"),
        (["train", "{}/text.txt", "--out", "{}"], "{} exists and is not a structformer model"),
        (["train", "{}/text.txt", "--out", "{}/text.txt"], "{}/text.txt exists and is not a structformer"),
        (
            ["train", "{}/text.txt", "--out", "{}/table"],
            "{}/table holds a TableEncoder, not a language model",
        ),
        (["train", "{}/text.txt", "--out", "{}/model", "--no-resume"], "{}/model holds a model already"),
        (["train", "{}/text.txt", "--out", "{}/model"], "was trained with width=12, "),
        (
            ["train", "{}/text.txt", "--out", "{}/m", "--mixer", "magic"],
            "mixer must be one of attention, rsa",
        ),
        (["train", "{}/text.txt", "--out", "{}/m", "--updates", "0"], "updates must be at least 1 (got 0)"),
        (["train", "{}/text.txt", "--out", "{}/m", "--save-every", "0"], "every must be at least 1 (got 0)"),
        (["train", "{}/text.txt", "--out", "{}/m", "--vocabulary", "9"], "--vocabulary must be at least 256"),
        (["train", "{}/text.txt", "--out", "{}/m", "--batch", "1000"], "for each of 1000 lanes"),
        (["train", "{}/text.txt", "--out", "{}/m", "--lr", "1e9", "--updates", "9"], "lower learning_rate"),
        (["sample", "{}"], "{} is not a structformer model"),
        (["sample", "{}/table"], "{}/table holds a TableEncoder, not a language model"),
        (["sample", "{}/broken"], "is damaged"),
        (["sample", "{}/model", "--tokens", "0"], "tokens must be at least 1 (got 0)"),
        (["sample", "{}/model", "--temperature=-1"], "temperature must be at least 0 (got -1.0)"),
        (["sample", "{}/model", "--top-p", "0"], "top_p must be above 0 and at most 1 (got 0.0)"),
        (["eval", "{}/model", "{}/gone.txt"], "there is no file {}/gone.txt"),
        (["eval", "{}/model", "{}/empty.txt"], "{}/empty.txt is empty"),
        (["eval", "{}/broken", "{}/text.txt"], "is damaged"),
    ],
)
def test_errors_are_one_line_that_names_the_culprit(folder, capsys, arguments, culprit):
    (folder / "empty.txt").write_text("")
    (folder / "binary").write_bytes(b"\x7f\x00ELF")
    save_checkpoint(folder / "table", {"class": "TableEncoder"}, {})
    if not (folder / "broken").exists():
        shutil.copytree(folder / "model", folder / "broken")
        (weights,) = (folder / "broken").glob("*.safetensors")
        weights.write_bytes(weights.read_bytes()[:-7])
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert run("lm", *(argument.format(folder) for argument in arguments)) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert told[0].startswith("structformer: ")
    assert culprit.format(folder) in told[0]
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_no_command_shows_the_help(capsys):
    assert run("lm") == 2
    told = capsys.readouterr().out
    assert all(command in told for command in ("train", "sample", "eval"))
