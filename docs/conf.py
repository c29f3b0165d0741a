"""How Sphinx builds the documentation; `make docs` calls it."""

import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))
# Figures are drawn into files, whatever the machine has for a screen.
os.environ["MPLBACKEND"] = "Agg"

from sphinx.ext import autosummary  # noqa: E402

import structformer  # noqa: E402

# A summary is a docstring's first sentence, which "eq. 1" does not end.
autosummary.WELL_KNOWN_ABBREVIATIONS = (*autosummary.WELL_KNOWN_ABBREVIATIONS, "eq.")

project = "structformer"
author = "The structformer developers"
copyright = author
version = release = structformer.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "mathml",
    "pictures",
    "shapes",
]
exclude_patterns = ["pictures"]
# Notebooks are shown with the outputs that they are kept with; the tests run them.
nb_execution_mode = "off"
shutil.rmtree(HERE / "notebooks", ignore_errors=True)
shutil.copytree(HERE.parent / "notebooks", HERE / "notebooks", ignore=shutil.ignore_patterns(".*"))
html_theme = "furo"
html_title = "structformer"
html_static_path = ["static"]
html_css_files = ["pages.css"]
# Reports that the pages' own code wrote; pages show them in frames.
html_extra_path = ["pictures/reports"]
(HERE / "pictures" / "reports").mkdir(parents=True, exist_ok=True)
html_show_sphinx = False
templates_path: list[str] = []

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
# The benchmarks' page is made for other readers too, and starts its headings anew.
suppress_warnings = ["myst.header"]
# MathML is drawn by the browser itself: no script, no font and nothing from the network.
html_math_renderer = "mathml"

# Docstrings write names in single backticks; those that lead somewhere become links.
default_role = "py:obj"
autosummary_generate = False
autodoc_default_options = {"members": True, "inherited-members": True, "show-inheritance": True}
autodoc_inherit_docstrings = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
add_module_names = False

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
