"""The pages of a comparison and of a run in a browser: on a phone in the dark, and on a screen."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from browsers import chromium
from PIL import Image
from playwright.sync_api import Browser, ViewportSize
from recorded_ramp import EXTERNAL, PARAMETERS, ramp, rows
from reported_run import extremes, run_rows

from babylon_tasks.cli import report_page
from babylon_tasks.cli.comparison_page import page
from babylon_tasks.cli.picture_style import DARK, LIGHT
from babylon_tasks.comparison.history import history
from babylon_tasks.run_history import run_history

pytestmark = pytest.mark.contract(None)
TITLE = f"with {EXTERNAL} <b>"
SHOWN = """() => {
    const image = document.querySelector("img")
    return {
        own: image.naturalWidth, shown: image.width, wide: document.documentElement.scrollWidth,
        paper: getComputedStyle(document.body).backgroundColor,
    }
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of this file."""
    with chromium() as found:
        yield found


def comparison() -> str:
    """The page of a ramp."""
    hours = list(ramp(36, falls_at=22))
    drawn = history(PARAMETERS, rows(hours), [one.arms for one in hours], {})
    return page(TITLE, ["x" * 500], drawn)


def run() -> str:
    """The page of a run's report."""
    read = run_rows(40, reason="r" * 200, why="w" * 500)
    found = run_history(read)
    assert found is not None
    return report_page.page(TITLE, ["x" * 500], found, read, extremes("y" * 300))


@pytest.fixture(scope="module", params=[comparison, run], ids=["comparison", "run"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(request.param(), "utf-8")
    return path


@pytest.mark.parametrize(
    ("width", "dark", "own", "shown"), [(390, True, 480, 358), (1280, False, 1280, 960)]
)
def test_the_picture_is_that_of_the_screen(
    browser: Browser, file: Path, width: int, dark: bool, own: int, shown: int
) -> None:
    context = browser.new_context(
        viewport=ViewportSize(width=width, height=800), color_scheme="dark" if dark else "light"
    )
    tab = context.new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))

    tab.goto(file.as_uri())

    found = tab.evaluate(SHOWN)
    paper = (DARK if dark else LIGHT).paper
    red, green, blue = (int(paper[at : at + 2], 16) for at in (1, 3, 5))
    assert found["paper"] == f"rgb({red}, {green}, {blue})"
    # 360 and 960 points of the picture's own size; nothing is wider than the screen.
    assert (found["own"], found["shown"], found["wide"]) == (own, shown, width)
    assert tab.title() == TITLE
    corner = Image.open(BytesIO(tab.locator("img").first.screenshot())).convert("RGB")
    assert corner.getpixel((1, 1)) == (red, green, blue)
    assert said == []
    context.close()
