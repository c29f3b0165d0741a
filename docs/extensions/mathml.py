"""Formulas as MathML: written once at build time, drawn by the browser, with nothing to fetch."""

from html import escape
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.math import get_node_equation_number


def to_mathml(formula: str, display: str) -> str:
    """Write a formula of LaTeX as MathML, ``display`` being "inline" or "block".

    Raises:
        ExtensionError: If a part of the formula is not understood.
    """
    try:
        written = convert(formula, display=display)
    except Exception as error:
        raise ExtensionError(f"formula {formula!r} cannot be written as MathML: {error!r}") from error
    # The converter passes commands that it does not know on as texts.
    if "\\" in written:
        raise ExtensionError(f"formula {formula!r} has a command without a counterpart in MathML: {written}")
    return written


def visit_inline(translator: Any, node: nodes.math) -> None:
    """Write a formula in a line."""
    translator.body.append(to_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    """Write a formula with lines of its own, with its number where it has one."""
    translator.body.append(translator.starttag(node, "div", CLASS="formula"))
    if node["number"]:
        number = get_node_equation_number(translator, node)
        translator.body.append(f'<span class="formula-number">({escape(number)})</span>')
    translator.body.append(to_mathml(node.astext(), "block"))
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
