"""Docstrings and signatures as people read them: shapes in place of long types, and only what is this library's own."""

import builtins
import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject

# jaxtyping.Float[Tensor, 'tokens width'] -> Float[tokens, width]; arrays of numpy say so.
SHAPED = re.compile(
    r"~?(?:jaxtyping\.)?(Float|Int|Bool|Shaped|Num)\[~?(?:torch\.)?(Tensor|(?:np\.|numpy\.)?ndarray), "
    r"(['\"])(.*?)\3\]"
)
MODULES = re.compile(r"~?\b(?:[a-z_]\w*\.)+(?=[A-Z])")
LITERAL = re.compile(r"(`[^`]*`)")
NAMED = re.compile(r"^(:ivar \w*\w)_:")
TYPE = re.compile(r":(?:vartype|type|rtype)\b")


def readable(signature: str) -> str:
    """Shorten a signature's annotations.

    >>> readable("(h: ~jaxtyping.Float[Tensor, 'tokens width'], ptr: torch.Tensor | None = None)")
    '(h: Float[tokens, width], ptr: Tensor | None = None)'
    >>> readable("(x: Int[np.ndarray, ' nodes']) -> Float[Tensor, '']")
    '(x: Int[ndarray, nodes]) -> Float'
    """

    def shape(match: re.Match[str]) -> str:
        kind, array, _, dimensions = match.groups()
        parts = (["ndarray"] if array.endswith("ndarray") else []) + dimensions.split()
        return f"{kind}[{', '.join(parts)}]" if parts else kind

    return MODULES.sub("", SHAPED.sub(shape, signature))


def on_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Called by autodoc for each signature."""
    return signature and readable(signature), returns and readable(returns)


def on_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Called by autodoc for each docstring: marks of mathematics stay what they are, and sections become links."""
    for number, line in enumerate(lines):
        if TYPE.match(line):
            lines[number] = readable(line).replace("*", r"\*").replace("_:", r"\_:")
            continue
        if line.startswith(":ivar "):
            # A name like classes_ would be read as a reference.
            line = NAMED.sub(r"\1\_:", line, count=1)
        parts = LITERAL.split(line)
        # Every second part stands in backticks.
        parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
        lines[number] = "".join(parts).replace("mathematics.md", ":doc:`the mathematics </mathematics>`")


def on_page(app: Sphinx, doctree: nodes.document) -> None:
    """Called for each page read: names of dimensions in signatures are no names of classes; properties say shapes."""
    for signature in doctree.findall(addnodes.desc_signature):
        for annotation in signature.findall(addnodes.desc_annotation):
            # Autodoc writes these itself and asks nobody; of names that may become links it writes two forms.
            text = "".join(part.astext() for part in annotation.findall(nodes.Text) if is_shown(part))
            if (short := readable(text)) != text:
                annotation.children = [nodes.Text(short)]
        for link in list(signature.findall(addnodes.pending_xref)):
            target = link.get("reftarget", "")
            if target.islower() and "." not in target and not hasattr(builtins, target):
                link.replace_self(nodes.Text(target))


def is_shown(text: nodes.Text) -> bool:
    """Whether a text stands on the page whether or not the name that it belongs to becomes a link."""
    return (
        not isinstance(text.parent, addnodes.pending_xref_condition) or text.parent["condition"] == "resolved"
    )


def is_foreign(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Called by autodoc for each member: leave out what torch, PyG and scikit-learn give to every class."""
    made = getattr(obj, "fget", None) or getattr(obj, "__func__", obj)
    module = getattr(made, "__module__", None) or ""
    own = module.split(".")[0] in ("structformer", "datasets")
    # scikit-learn writes the signatures of these anew, in the name of each class.
    return True if (callable(made) and not own) or name.endswith("_request") else None


def named_attributes() -> None:
    """Call the attributes of a class so, which Sphinx calls its variables."""
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    named_attributes()
    app.connect("autodoc-process-signature", on_signature)
    app.connect("autodoc-process-docstring", on_docstring, priority=900)  # after napoleon
    app.connect("doctree-read", on_page)
    app.connect("autodoc-skip-member", is_foreign)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
