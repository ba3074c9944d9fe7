"""A page in one HTML file: it asks no server and runs no script, and what others wrote is text.

Its picture is there for narrow and wide screens, its colours for light and dark: the browser
chooses. Pure.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from html import escape

from babylon_tasks.cli.picture_style import DARK, LIGHT, NARROW, WIDE, ScreenSize, Theme
from babylon_tasks.plain_text import plain

_IS_NARROW = "(max-width: 700px)"
_IS_DARK = "(prefers-color-scheme: dark)"
_LINES = "\n\t"
# Where lines and marks are, in points: matplotlib writes millionths, which no screen shows.
_PLACES = re.compile(r' (?:d|x|y)="[^"]*"')
_DIGITS = re.compile(r"(\.\d\d)\d+")
_STYLE = f"""
:root {{ color-scheme: light dark;
  --ink: {LIGHT.ink}; --paper: {LIGHT.paper}; --line: {LIGHT.grid}; --link: {LIGHT.lines[0]} }}
@media {_IS_DARK} {{ :root {{ --ink: {DARK.ink}; --paper: {DARK.paper}; --line: {DARK.grid};
  --link: {DARK.lines[0]} }} }}
body {{ margin: 0 auto; max-width: 960px; padding: 16px; font: 16px/1.4 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); overflow-wrap: break-word }}
h1 {{ font-size: 1.3em }}
h2 {{ font-size: 1.1em; margin-top: 1.6em }}
a {{ color: var(--link) }}
img {{ display: block; width: 100%; height: auto }}
p, h1, h2, h3 {{ overflow-wrap: anywhere }}
table {{ border-collapse: collapse; display: block; overflow-x: auto }}
th, td {{ padding: 4px 8px 4px 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line) }}
td:first-child {{ white-space: nowrap }}
td:not(:first-child) {{ max-width: 24em; overflow-wrap: break-word }}
td:last-child {{ overflow-wrap: anywhere }}
h3 {{ font-size: 1em; margin: 1.2em 0 0.3em }}
h3 + p {{ margin-top: 0 }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; padding: 4px 8px; font-size: 13px;
  border-left: 3px solid var(--line) }}
article {{ min-width: 0 }}
ul {{ padding-left: 1.2em; overflow-wrap: anywhere }}
.pair {{ display: grid; grid-template-columns: 1fr 1fr; gap: 16px;
  border-bottom: 1px solid var(--line) }}
@media {_IS_NARROW} {{ table {{ font-size: 13px }} .pair {{ display: block }} }}
"""
# The only style that a page may have, also where something of others were taken for HTML.
STYLE_HASH = f"sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}"
_POLICY = f"default-src 'none'; img-src data:; style-src '{STYLE_HASH}'; base-uri 'none'"


def document(title: str, body: Iterable[str]) -> str:
    """Write a page; ``body`` is HTML, the title is text."""
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{text(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{text(title)}</h1>",
            *body,
            "</body></html>\n",
        )
    )


def picture(draw: Callable[[ScreenSize], str], alt: str) -> str:
    """Contain a picture twice; ``draw`` makes it as SVG, in light colours."""
    source = f'<source media="{_IS_NARROW}" srcset="{_data(_both_themes(draw(NARROW)))}">'
    image = f'<img alt="{text(alt)}" src="{_data(_both_themes(draw(WIDE)))}">'
    return f"<picture>{source}\n{image}</picture>"


def paragraphs(lines: Iterable[str]) -> list[str]:
    """Write a paragraph for each line of text."""
    return [f"<p>{text(line)}</p>" for line in lines]


def block(written: str) -> str:
    """Write text of several lines as it is."""
    return f"<pre>{escape(plain(written, keep=_LINES))}</pre>"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Write a table; heads and cells are HTML."""
    head = "".join(f"<th>{one}</th>" for one in heads)
    body = (f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return [f"<table><thead><tr>{head}</tr></thead><tbody>", *body, "</tbody></table>"]


def text(written: str) -> str:
    """Write text so that no character of it acts."""
    return escape(plain(written))


def _data(svg: str) -> str:
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"


def _both_themes(svg: str) -> str:
    """Let the browser choose the colours of a picture, which is drawn in those of LIGHT."""
    light, dark = _colours(LIGHT), _colours(DARK)
    for name, colour in light.items():
        svg = svg.replace(colour, f"var(--{name})")
    style = f":root {{{_set(light)}}} @media {_IS_DARK} {{ :root {{{_set(dark)}}} }}"
    svg = _PLACES.sub(lambda found: _DIGITS.sub(r"\1", found[0]), svg)
    start = svg.index(">", svg.index("<svg")) + 1
    return f"{svg[:start]}<style>{style}</style>{svg[start:]}"


def _colours(theme: Theme) -> dict[str, str]:
    lines = {f"line-{place}": colour for place, colour in enumerate(theme.lines)}
    others = {name: getattr(theme, name) for name in ("paper", "ink", "grid", "good", "bad")}
    return lines | others


def _set(colours: Mapping[str, str]) -> str:
    return "; ".join(f"--{name}: {colour}" for name, colour in colours.items())
