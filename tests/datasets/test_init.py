import ast
import subprocess
import sys
from pathlib import Path

import pytest
import structformer.datasets

HERE = Path(structformer.datasets.__file__).parent


def test_every_public_name_is_there_and_no_other():
    public = structformer.datasets
    assert all(getattr(public, name) is not None for name in public.__all__)
    assert set(public.__all__) <= set(dir(public))
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        public.nonsense  # noqa: B018


def test_no_module_hides_what_is_public():
    assert not {path.stem for path in HERE.glob("*.py")} & set(structformer.datasets.__all__)


def test_only_the_transfer_knows_the_network():
    knowing = set()
    for path in HERE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if {name.split(".")[0] for name in names} & {"urllib", "http", "socket", "requests", "fsspec"}:
                knowing.add(path.name)
    assert knowing == {"transfer.py"}


def test_cards_and_the_download_need_no_torch():
    code = "import sys, structformer.datasets as d; d.cards(); d.download; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
