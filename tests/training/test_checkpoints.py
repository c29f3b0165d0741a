import json
import os

import pytest
import torch

from structformer.training import checkpoints, load_checkpoint, save_checkpoint

STATE = {"name": "Käse", "numbers": [1, 2.5, None], "format": "mine", "nested": {"a": True}}


def tensors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(5, 7, generator=generator)
    return {
        "weight": weight,
        "turned": weight.T,
        "part": weight[1:3],
        "count": torch.tensor(3),
        "none": weight[:0],
    }


def same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def weights_of(folder):
    (file,) = folder.glob("weights-*.safetensors")
    return file


def test_what_is_saved_is_loaded(tmp_path):
    folder = save_checkpoint(tmp_path / "deep" / "model", STATE, tensors())
    state, found = load_checkpoint(folder)
    assert state == STATE
    same(found, tensors())
    assert sorted(file.name for file in folder.iterdir()) == ["structformer.json", weights_of(folder).name]


def test_no_pickle_is_needed(tmp_path, monkeypatch):
    folder = save_checkpoint(tmp_path / "model", STATE, tensors())
    monkeypatch.setattr("pickle.load", None)
    monkeypatch.setattr("pickle.Unpickler", None)
    same(load_checkpoint(str(folder))[1], tensors())


def test_saving_again_replaces_the_model_and_leaves_other_files(tmp_path):
    save_checkpoint(tmp_path, {}, tensors(1))
    (tmp_path / "notes.txt").write_text("keep me")
    save_checkpoint(tmp_path, STATE, tensors(2))
    assert load_checkpoint(tmp_path)[0] == STATE
    same(load_checkpoint(tmp_path)[1], tensors(2))
    assert weights_of(tmp_path), "the old weights are gone"
    assert (tmp_path / "notes.txt").read_text() == "keep me"


def test_the_same_model_gives_the_same_files(tmp_path):
    first, second = (save_checkpoint(tmp_path / name, STATE, tensors()) for name in "ab")
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes()


def test_saving_into_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_checkpoint(".", {}, tensors(1))
    save_checkpoint(".", STATE, tensors(2))
    assert load_checkpoint(".")[0] == STATE


@pytest.mark.parametrize("broken", range(6))
def test_an_interrupted_save_leaves_the_old_checkpoint(tmp_path, monkeypatch, broken):
    """Each step that touches the disk is made to fail in turn."""
    folder = save_checkpoint(tmp_path / "model", STATE, tensors(1))
    steps = 0

    def interrupt(real):
        def step(*arguments, **options):
            nonlocal steps
            steps += 1
            if steps == broken + 1:
                raise KeyboardInterrupt
            return real(*arguments, **options)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt(os.fsync))
        patch.setattr(checkpoints.Path, "open", interrupt(checkpoints.Path.open))
        patch.setattr(checkpoints.Path, "replace", interrupt(checkpoints.Path.replace))
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(folder, {"new": 1}, tensors(2))
    state, found = load_checkpoint(folder)
    assert state == STATE
    same(found, tensors(1))
    assert not [*folder.glob("*.part")]
    save_checkpoint(folder, {"new": 1}, tensors(2))
    same(load_checkpoint(folder)[1], tensors(2))
    assert weights_of(folder)


def test_at_every_moment_a_whole_checkpoint_is_there(tmp_path, monkeypatch):
    folder = save_checkpoint(tmp_path / "model", {"version": 0}, tensors(0))
    found, looking = [], False

    def watch(real):
        def step(*arguments, **options):
            nonlocal looking
            result = real(*arguments, **options)
            if not looking:  # reading the checkpoint opens files too
                looking = True
                state, loaded = load_checkpoint(folder)
                looking = False
                same(loaded, tensors(state["version"]))
                found.append(state["version"])
            return result

        return step

    monkeypatch.setattr(os, "fsync", watch(os.fsync))
    for name in ("open", "replace", "unlink"):
        monkeypatch.setattr(checkpoints.Path, name, watch(getattr(checkpoints.Path, name)))
    save_checkpoint(folder, {"version": 1}, tensors(1))
    monkeypatch.undo()
    assert found == sorted(found)
    assert set(found) == {0, 1}


def test_an_interrupted_first_save_can_be_repeated(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "DESCRIPTION", "no/such/folder")
        with pytest.raises(FileNotFoundError):
            save_checkpoint(tmp_path / "model", STATE, tensors())
    assert weights_of(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match="not a structformer model"):
        load_checkpoint(tmp_path / "model")
    save_checkpoint(tmp_path / "model", STATE, tensors())
    assert load_checkpoint(tmp_path / "model")[0] == STATE


def test_what_is_no_model_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="is not a structformer model: choose another name"):
        save_checkpoint(tmp_path, STATE, tensors())
    with pytest.raises(FileExistsError, match=r"thesis\.tex exists"):
        save_checkpoint(tmp_path / "thesis.tex", STATE, tensors())
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(("value", "error"), [(float("nan"), ValueError), ({1, 2}, TypeError)])
def test_a_state_that_json_cannot_hold_touches_nothing(tmp_path, value, error):
    with pytest.raises(error):
        save_checkpoint(tmp_path / "model", {"value": value}, tensors())
    assert not (tmp_path / "model").exists()


def test_nothing_there_is_said_so(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("gone", "file"):
        message = rf"{name} is not a structformer model: structformer\.json is missing"
        with pytest.raises(FileNotFoundError, match=message):
            load_checkpoint(tmp_path / name)


def test_missing_weights_are_named(tmp_path):
    save_checkpoint(tmp_path, STATE, tensors())
    weights_of(tmp_path).unlink()
    with pytest.raises(FileNotFoundError, match=r"weights-\w+\.safetensors is missing"):
        load_checkpoint(tmp_path)


def test_truncated_and_changed_weights_are_named(tmp_path):
    save_checkpoint(tmp_path, STATE, tensors())
    file = weights_of(tmp_path)
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:11], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{file.name} is damaged"):
            load_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"format": 1', b"\xff\xfe", b'{"format": 1}'])
def test_damaged_json_is_named(tmp_path, content):
    save_checkpoint(tmp_path, STATE, tensors())
    (tmp_path / "structformer.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"structformer\.json is damaged"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(("content", "got"), [({"format": 2}, "2"), ({}, "None"), ([1], "'list'")])
def test_another_format_is_named(tmp_path, content, got):
    save_checkpoint(tmp_path, STATE, tensors())
    (tmp_path / "structformer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"has format {got}; this version reads format 1"):
        load_checkpoint(tmp_path)
