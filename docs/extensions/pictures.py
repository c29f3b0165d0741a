"""The pages' own code is run when they are built, and the figures that it draws are their pictures.

The nth figure that the examples of ``guide/graphs.md`` draw becomes ``pictures/graphs-n.png``, and a report
``club.html`` that they write ``pictures/reports/graphs-club.html``. Pages that name neither are not run here; the
tests run them all.
"""

import doctest
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging

USED = re.compile(r"pictures/[\w-]+-\d+\.png|[\w-]+\.html\"")
DOTS_PER_INCH = 130
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS

log = logging.getLogger(__name__)


class Drawing(doctest.DocTestRunner):
    """Runs examples and keeps each figure as a file."""

    def __init__(self, stem: Path) -> None:
        super().__init__(verbose=False, optionflags=FLAGS)
        self.stem = stem
        self.drawn = 0

    def report_success(self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        """Keep the figures that are open where a block of code ends."""
        import matplotlib.pyplot as plt

        following = [other.lineno for other in test.examples if other.lineno > example.lineno]
        lines = (test.docstring or "").splitlines()[example.lineno : min(following, default=None)]
        if not any(line.startswith("```") for line in lines):
            return
        for number in plt.get_fignums():
            self.drawn += 1
            figure = plt.figure(number)
            path = self.stem.with_name(f"{self.stem.name}-{self.drawn}.png")
            figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
            plt.close(figure)


def draw(page: Path, folder: Path) -> None:
    """Run the examples of a page in an empty folder; keep their figures and reports.

    Raises:
        ExtensionError: If an example does not give what the page says.
    """
    import matplotlib.pyplot as plt

    stem = folder / page.stem
    for old in folder.rglob(f"{page.stem}-*"):
        old.unlink()
    test = doctest.DocTestParser().get_doctest(page.read_text(encoding="utf-8"), {}, page.name, str(page), 0)
    runner, told, home = Drawing(stem), [], Path.cwd()
    plt.close("all")  # figures that others left open are none of this page's
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            runner.run(test, out=told.append)
        finally:
            os.chdir(home)
        for report in sorted(Path(scratch).glob("*.html")):
            shutil.copyfile(report, folder / "reports" / f"{page.stem}-{report.name}")
    if runner.failures:
        raise ExtensionError(f"{page.name}: {''.join(told)}")


def fingerprint(page: Path, library: Path) -> str:
    """What a page's pictures depend on: its text and the library's code."""
    digest = hashlib.sha256(page.read_bytes())
    digest.update(Path(__file__).read_bytes())
    for file in sorted(path for path in library.rglob("*") if path.suffix in (".py", ".js", ".css", ".html")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def draw_all(app: Sphinx) -> None:
    """Draw for the pages whose pictures are missing or of another state of things."""
    import structformer

    folder = Path(app.srcdir) / "pictures"
    (folder / "reports").mkdir(parents=True, exist_ok=True)
    library = Path(structformer.__file__).parent
    for page in sorted([*app.srcdir.glob("*.md"), *app.srcdir.glob("guide/*.md")]):
        if not USED.search(page.read_text(encoding="utf-8")):
            continue
        stamp, state = folder / f"{page.stem}.state", fingerprint(page, library)
        if stamp.is_file() and stamp.read_text() == state:
            continue
        log.info("running the examples of %s", page.name)
        draw(page, folder)
        stamp.write_text(state)


def closed_up(app: Sphinx, name: str, source: list[str]) -> None:
    """Called for each page: the empty line that ends an example's output for the tests is not shown."""
    source[0] = source[0].replace("\n\n```\n", "\n```\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", draw_all)
    app.connect("source-read", closed_up)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
