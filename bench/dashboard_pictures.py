"""The dashboard of a run as docs/pictures/dashboard-*.webp, on a screen and on a phone in the dark.

make demo ARGS="--windows 90 --reverse-at 30 --seed 3 --stay"  # and in another shell, as it says:
. …/demo.env; make browser; .venv/bin/python -m bench.dashboard_pictures 2025-01-05T08
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, FloatRect, HttpCredentials, Page, ViewportSize

from babylon_tasks.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from browsers import chromium  # noqa: E402

FOLDER = ROOT / "docs" / "pictures"
SCREEN, PHONE = ViewportSize(width=1280, height=1000), ViewportSize(width=390, height=844)
_MARGIN = 16.0
_PATIENCE = 180_000  # milliseconds: pages are drawn one after the other


def take(browser: Browser, settings: Settings, hour: str, folder: Path) -> None:
    """Take the whole run's page down to its curves, an hour's, and the curves on a phone."""
    page = _page(browser, settings, "/", SCREEN, dark=False)
    _write(page, folder / "dashboard-run.webp", 0.0, _curves_end(page))
    page = _page(browser, settings, f"/windows/{hour}", SCREEN, dark=False)
    _write(page, folder / "dashboard-hour.webp", 0.0, float(SCREEN["height"]))
    page = _page(browser, settings, "/", PHONE, dark=True)
    top = _top(page)
    _write(page, folder / "dashboard-phone.webp", top, top + PHONE["height"])


def _page(
    browser: Browser, settings: Settings, path: str, size: ViewportSize, *, dark: bool
) -> Page:
    login = settings.dashboard_login
    user, _, password = ("" if login is None else login.get_secret_value()).partition(":")
    context = browser.new_context(
        base_url=f"http://{settings.dashboard_host}:{settings.dashboard_port}",
        viewport=size,
        color_scheme="dark" if dark else "light",
        http_credentials=HttpCredentials(username=user, password=password),
    )
    context.set_default_timeout(_PATIENCE)
    page = context.new_page()
    answer = page.goto(path)
    if answer is None or not answer.ok:
        sys.exit(f"{path} is no page: {page.inner_text('body')}")
    return page


def _top(page: Page) -> float:
    box = page.locator("img").first.bounding_box()
    return 0.0 if box is None else box["y"] - _MARGIN


def _curves_end(page: Page) -> float:
    box = page.locator("img").first.bounding_box()
    return float(SCREEN["height"]) if box is None else box["y"] + box["height"] + _MARGIN


def _write(page: Page, file: Path, top: float, bottom: float) -> None:
    size = page.viewport_size or SCREEN
    clip = FloatRect(x=0, y=top, width=size["width"], height=bottom - top)
    found = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))
    found.convert("RGB").save(file, lossless=True, method=6)
    sys.stdout.write(f"{file}: {file.stat().st_size} bytes\n")


if __name__ == "__main__":
    with chromium() as browser:
        take(browser, load_settings(), sys.argv[1], FOLDER)
