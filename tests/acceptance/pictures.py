"""The pages in docs/pictures: written by ``make pictures``, else held to what the tests see."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, ViewportSize

SIZE = ViewportSize(width=1600, height=800)
NAMES = frozenset(
    f"flower-{name}" for name in ("workers", "queues", "tasks", "window", "task", "failure")
)


class Pictures:
    """What cannot be compared is every dot; what is compared is each heading, column and label."""

    def __init__(self, folder: Path, *, write: bool) -> None:
        self._folder = folder
        self._write = write

    def take(self, page: Page, name: str) -> None:
        """A PNG of what is seen, and its headings beside it; or the check that these are such."""
        assert name in NAMES
        image, words = self._folder / f"{name}.png", self._folder / f"{name}.txt"
        seen = "\n".join(
            text.strip()
            for text in page.locator("nav a, .page-eyebrow, thead th, dt").all_inner_texts()
        )
        if self._write:
            page.evaluate("document.activeElement.blur()")  # no cursor in a search field
            page.screenshot(path=image, animations="disabled")
            words.write_text(seen + "\n", "utf-8")
        assert words.read_text("utf-8") == seen + "\n", f"{image} is old; run `make pictures`"


def size(image: Path) -> tuple[int, int]:
    """Width and height of a PNG, as its header has them."""
    head = image.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n", f"{image} is no PNG"
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
