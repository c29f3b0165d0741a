"""Pieces of HTML for notebooks: no script, no network, in the colours of the page they stand on."""

from collections.abc import Sequence
from html import escape

# Inherited colours make one block fit light and dark pages.
_BLOCK = "font-family:system-ui,sans-serif;font-size:13px;line-height:1.45;color:inherit;max-width:880px"
_ROW = "display:flex;flex-wrap:wrap;gap:8px 24px;align-items:flex-start;margin-top:6px"
_TABLE = "border-collapse:collapse;margin:0 0 8px;font-size:13px;color:inherit"
_CAPTION = "caption-side:top;text-align:left;padding:0;font-weight:600;color:inherit;white-space:nowrap"
_CELL = "padding:1px 12px 1px 0;vertical-align:top;font-weight:400;white-space:normal"


def text(value: object, most: int = 40) -> str:
    """A value as a text on one line of at most `most` characters that no page reads as markup."""
    line = " ".join(str(value).split())
    line = line if len(line) <= most else f"{line[: most - 1]}…"
    # Control characters show nothing, and half a surrogate pair cannot be sent.
    line = "".join(letter if letter.isprintable() else "\ufffd" for letter in line)
    return escape(line)


def name(value: object, most: int = 40) -> str:
    """A name, whose direction of writing does not reach beyond it."""
    return f"<bdi>{text(value, most)}</bdi>"


def table(
    rows: Sequence[Sequence[str]], caption: str = "", heads: Sequence[str] = (), numbers: bool = False
) -> str:
    """A table of cells that are markup already, the first of each row its heading.

    Args:
        rows: Cells; without any there is no table.
        caption: Heading of the table, as markup.
        heads: Headings of the columns, as markup.
        numbers: Whether the last cell of each row is a number.
    """
    if not rows:
        return ""
    count = len(rows[0])

    def cell(tag: str, place: int, content: str, more: str = "") -> str:
        right = numbers and place == count - 1
        align = "right;font-variant-numeric:tabular-nums" if right else "left"
        return f'<{tag} style="{_CELL};text-align:{align}{more}">{content}</{tag[:2]}>'

    above = "".join(cell('th scope="col"', place, head, ";opacity:.8") for place, head in enumerate(heads))
    body = [
        "".join(
            cell("td" if place else 'th scope="row"', place, content) for place, content in enumerate(row)
        )
        for row in rows
    ]
    lines = "".join(f'<tr style="background:none">{line}</tr>' for line in [above, *body] if line)
    head = f'<caption style="{_CAPTION}">{caption}</caption>' if caption else ""
    return f'<table style="{_TABLE}">{head}<tbody>{lines}</tbody></table>'


def block(title: str, subtitle: str, parts: Sequence[str], note: str = "") -> str:
    """The whole: a heading, the first part with the others beside or below it, and a small note; all markup."""
    first, *others = [part for part in parts if part] or [""]
    beside = "".join(f"<div>{part}</div>" for part in others)
    if beside:
        beside = f'<div style="{_ROW};margin:0;flex:1 1 220px;min-width:0">{beside}</div>'
    below = f'<div style="font-size:12px">{note}</div>' if note else ""
    heading = f'<strong>{title}</strong> <span style="opacity:.8">{subtitle}</span>'
    row = f'<div style="{_ROW}"><div>{first}</div>{beside}</div>'
    return f'<div style="{_BLOCK}"><div>{heading}</div>{row}{below}</div>'


def svg(width: int, height: int, described: str, content: str) -> str:
    """An inline picture in the colour of the text around it; `described` is a plain text for who cannot see it."""
    style = "display:block;max-width:100%;height:auto;overflow:visible"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{text(described, 300)}" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}" style="{style}">{content}</svg>'
    )
