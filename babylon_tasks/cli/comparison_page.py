"""A comparison as one HTML file: its picture, and what was concluded in words.

It asks no server and runs no script, and what others wrote is text in it. The picture is there for
narrow and wide screens, in light and dark: the browser chooses. Pure.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape

from babylon_tasks.cli.comparison_curves import draw
from babylon_tasks.cli.picture_style import DARK, LIGHT, NARROW
from babylon_tasks.comparison.history import ComparisonHistory, Mark
from babylon_tasks.plain_text import plain

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_IS_NARROW = "(max-width: 700px)"
_IS_DARK = "(prefers-color-scheme: dark)"
_STYLE = f"""
:root {{ color-scheme: light dark;
  --ink: {LIGHT.ink}; --paper: {LIGHT.paper}; --line: {LIGHT.grid} }}
@media {_IS_DARK} {{ :root {{ --ink: {DARK.ink}; --paper: {DARK.paper}; --line: {DARK.grid} }} }}
body {{ margin: 0 auto; max-width: 960px; padding: 16px; font: 16px/1.4 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); overflow-wrap: break-word }}
h1 {{ font-size: 1.3em }}
img {{ display: block; width: 100%; height: auto }}
p, h1, td:last-child {{ overflow-wrap: anywhere }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ padding: 4px 8px 4px 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line) }}
"""


def page(title: str, lines: Iterable[str], history: ComparisonHistory) -> str:
    """Write the page; ``lines``: where the comparison stands."""
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{_text(title)}</h1>",
            *(f"<p>{_text(line)}</p>" for line in lines),
            _picture(history),
            *_concluded(history.marks),
            "</body></html>\n",
        )
    )


def _picture(history: ComparisonHistory) -> str:
    sources = [
        (f"{_IS_NARROW} and {_IS_DARK}", draw(history, DARK, NARROW)),
        (_IS_NARROW, draw(history, LIGHT, NARROW)),
        (_IS_DARK, draw(history, DARK)),
    ]
    chosen = "\n".join(f'<source media="{when}" srcset="{_data(svg)}">' for when, svg in sources)
    alt = f"Curves of {history.windows} windows; what they led to is listed below"
    return f'<picture>{chosen}\n<img alt="{alt}" src="{_data(draw(history))}"></picture>'


def _data(svg: str) -> str:
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"


def _concluded(marks: Sequence[Mark]) -> list[str]:
    if not marks:
        return ["<p>Nothing has been concluded yet.</p>"]
    heads = "".join(f"<th>{head}</th>" for head in ("", "window", "why, what was done"))
    return [f"<table><thead><tr>{heads}</tr></thead><tbody>", *map(_row, marks), "</tbody></table>"]


def _row(mark: Mark) -> str:
    words = f"{mark.why}: {mark.done}" if mark.done else mark.why
    cells = (str(mark.number), f"{mark.window} {mark.conclusion}", words)
    return f"<tr>{''.join(f'<td>{_text(one)}</td>' for one in cells)}</tr>"


def _text(text: str) -> str:
    return escape(plain(text))
