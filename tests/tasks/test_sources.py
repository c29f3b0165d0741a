from structformer.tasks.sources import BENCHMARKS, LIBRARY, closure, digest_of

import structformer


def test_a_module_brings_what_it_imports_however_indirectly():
    found = closure("structformer.tasks.mqar", LIBRARY)
    assert {"structformer.tasks.mqar", "structformer.tasks.mqar_data", "structformer.nn.asam"} <= set(found)
    assert "structformer.tasks.babi" not in found
    assert "structformer.estimators.nodes" not in closure("structformer.ops.segment", LIBRARY)


def test_what_only_tells_results_is_left_out():
    found = closure("structformer.tasks.mqar", LIBRARY)
    assert {"structformer.tasks.sweeps", "structformer.graph"} <= set(found)
    assert not {"structformer.tasks.ledger", "structformer.tasks.summaries", "structformer"} & set(found)


def test_a_package_is_read_for_what_is_no_module_of_it():
    assert "structformer.estimators.nodes" in closure("structformer.tasks.latent_tables", LIBRARY)


def test_only_the_wanted_packages_are_followed():
    found = closure("structformer.tasks.mqar", BENCHMARKS)
    assert "structformer.tasks.mqar_data" in found
    assert not any(name.startswith("structformer.nn") for name in found)


def test_a_changed_file_changes_the_digest(tmp_path, monkeypatch):
    package = tmp_path / "made_up"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text("from .two import x\nfrom . import three\n")
    (package / "two.py").write_text("x = 1\n")
    (package / "three.py").write_text("import json\n")
    (package / "four.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    found = closure("made_up.one", ("made_up",))
    assert set(found) == {"made_up.one", "made_up.two", "made_up.three"}
    before = digest_of("made_up.one", ("made_up",))
    (package / "four.py").write_text("y = 1\n")
    assert digest_of("made_up.one", ("made_up",)) == before
    (package / "two.py").write_text("x = 2\n")
    assert digest_of("made_up.one", ("made_up",)) != before


def test_the_library_is_read_where_it_lies():
    assert closure("structformer.tokens", LIBRARY)["structformer.tokens"].parent.samefile(
        structformer.__path__[0]
    )
