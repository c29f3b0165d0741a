"""Notebooks run from beginning to end, and are kept with what they print and draw."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert NOTEBOOKS


@each
def test_it_is_kept_with_its_outputs(path):
    cells = code(nbformat.read(path, as_version=4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [
        output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"
    ]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@each
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_runs(path, tmp_path):
    """A cell that raises fails the run."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert all(cell.execution_count for cell in code(notebook))


@each
def test_it_names_no_place_of_this_machine(path):
    text = json.dumps(json.loads(path.read_text(encoding="utf-8")))
    assert str(FOLDER.parent) not in text
    assert "/tmp/" not in text
