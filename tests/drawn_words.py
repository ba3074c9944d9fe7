"""What is written in an SVG."""

from __future__ import annotations

from xml.etree import ElementTree


def words(svg: str) -> str:
    """Its texts, one a line; raises ParseError where it is not well-formed."""
    texts = ElementTree.fromstring(svg).itertext()  # noqa: S314  # ours
    return "\n".join(text.strip() for text in texts if text.strip())
