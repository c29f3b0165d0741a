"""The documentation: every public name has its place, links of README lead somewhere, and the pages' tools work."""

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted((DOCS / "api").glob("*.md"))
DOCUMENTED = ("structformer", *(f"structformer.{name}" for name in (
    "tokenize", "ops", "nn", "models", "training", "estimators", "inspect", "datasets"
)))  # fmt: skip


def extension(name: str):
    if str(DOCS / "extensions") not in sys.path:
        sys.path.append(str(DOCS / "extensions"))
    return importlib.import_module(name)


def listed() -> dict[str, set[str]]:
    """Names that the API pages document, by module; a module that is documented as a whole has "*"."""
    found: dict[str, set[str]] = {}
    for page in PAGES:
        module = ""
        for kind, name in re.findall(r"^\s*\.\. (\w+):: ([\w.]+)$", page.read_text(), re.MULTILINE):
            if kind == "currentmodule":
                module = name
            elif kind == "automodule":
                found.setdefault(name, set()).add("*")
            else:
                found.setdefault(module, set()).add(name)
    return found


@pytest.mark.parametrize("module", DOCUMENTED)
def test_every_public_name_is_in_the_api(module):
    # What structformer.estimators offers is documented as names of structformer.
    names = listed()["structformer" if module == "structformer.estimators" else module]
    subpackages = {name.rpartition(".")[2] for name in DOCUMENTED}
    assert "*" in names or set(importlib.import_module(module).__all__) - subpackages <= names


def test_every_name_in_the_api_is_public():
    for module, names in listed().items():
        assert names - {"*"} <= set(importlib.import_module(module).__all__)


def test_every_benchmark_is_in_the_api():
    tasks = importlib.import_module("structformer.cli")._tasks()
    page = (DOCS / "api" / "tasks.md").read_text()
    assert {*re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)} == {*tasks}
    for name in tasks:
        assert callable(importlib.import_module(f"structformer.tasks.{name}").run)


def test_every_notebook_is_in_the_documentation():
    page = (DOCS / "notebooks.md").read_text()
    names = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {*re.findall(r"^notebooks/(\w+)$", page, re.MULTILINE)} == names


def test_the_index_of_the_api_leads_to_all_its_pages():
    index = (DOCS / "api" / "index.md").read_text()
    for page in PAGES:
        assert page.stem == "index" or f"\n{page.stem}\n" in index


def test_links_and_pictures_of_the_readme_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    inside = [target for target in targets if not target.startswith("https://")]
    assert inside
    for target in inside:
        assert (ROOT / target).exists(), target


def test_nothing_but_links_leads_out_of_the_site():
    for file in [*DOCS.rglob("*.md"), *DOCS.rglob("*.css"), *DOCS.rglob("conf.py")]:
        assert not re.search(r"(?:src=\"|url\(|!\[[^\]]*\]\()\s*https?:", file.read_text(encoding="utf-8"))


def test_formulas_become_mathml():
    pytest.importorskip("latex2mathml")
    mathml = extension("mathml")
    written = mathml.to_mathml(r"\hat{A}_{ij} = \sum_j a_{ij} v_j", "block")
    assert written.startswith("<math")
    assert 'display="block"' in written
    with pytest.raises(mathml.ExtensionError, match="nonsense"):
        mathml.to_mathml(r"a \nonsense b", "inline")


def test_signatures_say_shapes():
    pytest.importorskip("sphinx")
    readable = extension("shapes").readable
    written = "(h: ~jaxtyping.Float[Tensor, 'tokens width'], x: torch.Tensor | None = None)"
    assert readable(written) == "(h: Float[tokens, width], x: Tensor | None = None)"
    assert readable("Int[np.ndarray, ' nodes'] | Float[Tensor, '']") == "Int[ndarray, nodes] | Float"


def test_properties_say_shapes():
    pytest.importorskip("sphinx")
    from docutils import nodes
    from docutils.utils import new_document
    from sphinx import addnodes

    page, signature = new_document("page"), addnodes.desc_signature()
    annotations = {
        ": Float[Tensor, 'edges *heads']": ": Float[edges, *heads]",
        ": tuple[str, ...]": ": tuple[str, ...]",
    }
    for written in annotations:
        parts = addnodes.desc_annotation("", "", nodes.Text(written[:5]), nodes.Text(written[5:]))
        signature += [addnodes.desc_name("", "name"), parts]
    both = addnodes.desc_annotation("", ": ")
    for condition, name in (("resolved", "Int"), ("*", "jaxtyping.Int")):
        both += addnodes.pending_xref_condition("", "", nodes.Text(name), condition=condition)
    both += nodes.Text("[Tensor, 'rows']")
    annotations[both.astext()] = ": Int[rows]"
    signature += both
    page += signature
    extension("shapes").on_page(None, page)
    assert [part.astext() for part in page.findall(addnodes.desc_annotation)] == [*annotations.values()]


def test_docstrings_keep_their_marks():
    pytest.importorskip("sphinx")
    lines = [
        "|a| of `b | c` (mathematics.md, 2)",
        ":ivar classes_: Labels.",
        ":vartype w: Float[Tensor, 'e *h']",
    ]
    extension("shapes").on_docstring(None, "", "", None, None, lines)
    assert lines[0] == r"\|a\| of `b | c` (:doc:`the mathematics </mathematics>`, 2)"
    assert lines[1] == r":ivar classes\_: Labels."
    assert lines[2] == r":vartype w: Float[e, \*h]"


def test_figures_are_kept_where_their_block_of_code_ends(tmp_path):
    pytest.importorskip("sphinx")
    pictures = extension("pictures")
    page = tmp_path / "page.md"
    block = (
        ">>> import matplotlib.pyplot as plt\n>>> axes = plt.subplots()[1]\n>>> line = axes.plot([0, 1])\n\n"
    )
    report = ">>> from pathlib import Path\n>>> Path('seen.html').write_text('hello')\n5\n\n"
    page.write_text(f"```python\n{block}```\n\n```python\n>>> 1 + 1\n2\n\n```\n\n```python\n{report}```\n")
    (tmp_path / "kept" / "reports").mkdir(parents=True)
    pictures.draw(page, tmp_path / "kept")
    assert [file.name for file in (tmp_path / "kept").glob("*.png")] == ["page-1.png"]
    assert (tmp_path / "kept" / "reports" / "page-seen.html").read_text() == "hello"
    page.write_text("```python\n>>> 1 + 1\n3\n\n```\n")
    with pytest.raises(pictures.ExtensionError, match="Expected"):
        pictures.draw(page, tmp_path / "kept")


def test_pictures_are_drawn_anew_when_the_page_or_the_library_changes(tmp_path):
    pytest.importorskip("sphinx")
    fingerprint = extension("pictures").fingerprint
    page, library = tmp_path / "page.md", tmp_path / "library"
    library.mkdir()
    page.write_text("one")
    (library / "code.py").write_text("one")
    states = [fingerprint(page, library), fingerprint(page, library)]
    page.write_text("two")
    states.append(fingerprint(page, library))
    (library / "code.py").write_text("two")
    states.append(fingerprint(page, library))
    assert states[0] == states[1]
    assert len(set(states)) == 3
