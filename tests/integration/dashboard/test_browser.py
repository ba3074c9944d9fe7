"""The dashboard in a browser: its headers allow what the page needs, on a screen and on a phone."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import httpx
import pytest
from browsers import chromium
from command_line import one_contract
from PIL import Image
from playwright.sync_api import HttpCredentials, ViewportSize
from scored_windows import hour

from babylon_tasks.cli.picture_style import DARK, LIGHT

from .conftest import LOGIN

pytestmark = [one_contract, pytest.mark.usefixtures("learned")]
PATHS = {"/": "run", f"/windows/{hour(1)}": "hour", "/steps/1": "step", "/checkpoints/1": "tree"}
SIZES = ((390, True, 480), (1280, False, 1280))
SHOWN = """() => ({
    wide: document.documentElement.scrollWidth,
    paper: getComputedStyle(document.body).backgroundColor,
    own: [...document.images].map((image) => image.naturalWidth),
})"""


def test_it_is_legible_on_a_screen_and_on_a_phone_in_the_dark(
    site: httpx.Client, tmp_path: Path
) -> None:
    said: list[str] = []
    with chromium() as browser:
        for width, dark, own in SIZES:
            context = browser.new_context(
                viewport=ViewportSize(width=width, height=800),
                color_scheme="dark" if dark else "light",
                http_credentials=HttpCredentials(username=LOGIN[0], password=LOGIN[1]),
            )
            tab = context.new_page()
            tab.on("console", lambda message: said.append(message.text))
            paper = (DARK if dark else LIGHT).paper
            rgb = tuple(int(paper[at : at + 2], 16) for at in (1, 3, 5))
            for path, name in PATHS.items():
                assert tab.goto(f"{site.base_url}{path}").status == 200  # type: ignore[union-attr]
                found = tab.evaluate(SHOWN)
                assert found["wide"] == width, path
                assert found["paper"] == f"rgb{rgb}".replace(" ", " "), path
                assert found["own"] == ([own] if path == "/" else []), path
                tab.screenshot(path=tmp_path / f"{name}-{width}.png", full_page=True)
            tab.goto(str(site.base_url))
            corner = Image.open(BytesIO(tab.locator("img").first.screenshot())).convert("RGB")
            assert corner.getpixel((1, 1)) == rgb
            tab.get_by_label("from").fill(hour(2))
            tab.get_by_role("button").click()
            assert f"1 window from {hour(2)}" in tab.inner_text("body")
            tab.get_by_role("link", name=hour(2)).first.click()
            assert tab.title() == f"Window {hour(2)}"
            context.close()
    assert said == []
