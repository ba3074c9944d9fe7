"""What is in a page: its elements, its text, its pictures."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from html.parser import HTMLParser

# What would act in a page, in a picture, on a terminal, or in matplotlib.
HOSTILE = "</title></td><script>alert(1)</script><img src=x onerror='a(\"b\")'>&amp;\x1b[2J$\\frac$"


class Elements(HTMLParser):
    """The elements of a page with their attributes, its text, and where its links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names, self.attributes, self.words = set[str](), set[str](), ""
        self.links, self.ids = list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name == "href"]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.words += data


def pictures(text: str) -> Iterator[str]:
    """The SVGs that a page contains."""
    for found in re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", text):
        yield b64decode(found).decode()
