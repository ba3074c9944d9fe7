"""Flower as an engineer on call sees it, in a real browser: what works, what failed, what waits.

With ``--pictures DIR`` the pages are written there (``make pictures``).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis
from acceptance.harness import OPTIONS, Babylon, hours, until
from conftest import fresh_database
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from babylon_tasks.db.session import Connection, connect
from babylon_tasks.sandbox.servers import EmbeddedPostgres, EmbeddedValkey
from babylon_tasks.sandbox.stack import Stack
from babylon_tasks.tasks.app import QUEUES

PATIENCE = 30_000  # milliseconds: a bound, not an expectation
FLAGS = [
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


class Scene(Babylon):
    """A system with three windows: one trained, one failed, one whose training stands still."""

    trained: str
    failed: str
    running: str

    def play(self) -> None:
        """Let it come to that."""
        self.trained, self.failed, self.running = hours(3)
        self.start("flower", "gpu-worker", "cpu-worker", "beat")
        until("Flower listens", lambda: "Connected to redis" in self.log("flower"))
        self.record(self.trained, groups=4, agents=5)
        self.await_states([self.trained], "trained")
        self.connection.execute("ALTER TABLE market_outcomes RENAME TO elsewhere")
        self.record(self.failed)
        self.await_states([self.failed], "failed")
        self.connection.execute("ALTER TABLE elsewhere RENAME TO market_outcomes")
        self.record(self.running, groups=100, agents=6)
        self.await_running_step()
        trainer = self.trainer()
        assert trainer is not None
        trainer.suspend()


@pytest.fixture(scope="module")
def scene(
    administrator: Connection,
    template: str,
    postgres: EmbeddedPostgres,
    valkey: EmbeddedValkey,
    tiny_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    """One for all tests of this file, which only look at it."""
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
    with ExitStack() as parts:
        database = parts.enter_context(
            contextmanager(fresh_database)(administrator, postgres, template)
        )
        options = {
            **OPTIONS,
            "BABYLON_LINEAGE": "babylon",
            "BABYLON_BASE_MODEL": str(tiny_model),
            "BABYLON_MAX_ATTEMPTS": "1",
            "BABYLON_LEASE_SECONDS": "90",
            "BABYLON_UPKEEP_SECONDS": "2",
        }
        home = tmp_path_factory.mktemp("flower") / "stack"
        stack = parts.enter_context(
            Stack(home, options=options, database_url=database, redis_url=valkey.url)
        )
        scene = Scene(stack, parts.enter_context(connect(stack.settings)))
        parts.callback(scene.close)
        scene.play()
        yield scene


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Debian's Chromium; ``make setup`` installs it."""
    program = shutil.which("chromium")
    assert program is not None, "Chromium is not installed; run `make browser`"
    # Its sandbox refuses to run as root.
    flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else FLAGS
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=flags)


@pytest.fixture
def page(browser: Browser, scene: Scene) -> Iterator[Page]:
    """A window of somebody who has logged in."""
    user, _, password = scene.stack.flower_login.partition(":")
    context = browser.new_context(
        base_url=scene.stack.flower_url,
        http_credentials={"username": user, "password": password},
        viewport={"width": 1600, "height": 720},
    )
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield context.new_page()
    context.close()


class Pictures:
    """The pages in docs/pictures: written where ``--pictures`` asks for it, else held to the page.

    What cannot be compared is every dot; what is compared is each heading, column and label.
    """

    def __init__(self, folder: Path, *, write: bool) -> None:
        self._folder = folder
        self._write = write

    def take(self, page: Page, name: str) -> None:
        """A PNG of what is seen, and its headings beside it; or the check that these are such."""
        image, words = self._folder / f"{name}.png", self._folder / f"{name}.txt"
        seen = "\n".join(
            text.strip()
            for text in page.locator("nav a, .page-eyebrow, thead th, dt").all_inner_texts()
        )
        if self._write:
            page.screenshot(path=image)
            words.write_text(seen + "\n", "utf-8")
        assert image.read_bytes().startswith(b"\x89PNG"), image
        assert words.read_text("utf-8") == seen + "\n", f"{image} is old; run `make pictures`"


@pytest.fixture
def pictures(request: pytest.FixtureRequest) -> Pictures:
    """The pictures in the documents."""
    chosen: str | None = request.config.getoption("--pictures")
    return Pictures(Path(chosen or "docs/pictures"), write=chosen is not None)


def search(page: Page, window: str) -> None:
    """The list of tasks, narrowed down to a window's; upkeep would fill it otherwise."""
    page.goto("/tasks")
    page.locator("input[type=search]").fill(f'args:"{window}"')


def row(page: Page, *words: str) -> Locator:
    """The row of the list of tasks that holds all these words."""
    found = page.locator("table tbody tr")
    for word in words:
        found = found.filter(has_text=word)
    expect(found.first).to_be_visible()
    return found.first


def test_without_a_password_nothing_is_shown(browser: Browser, scene: Scene) -> None:
    context = browser.new_context(base_url=scene.stack.flower_url)
    page = context.new_page()
    for path in ("/", "/tasks", "/workers", "/broker", "/api/tasks", "/api/workers", "/metrics"):
        answer = context.request.get(path)
        assert answer.status == 401, path
        assert scene.trained not in answer.text()
    answer = page.goto("/healthcheck")
    assert answer is not None
    assert page.inner_text("body") == "OK"
    context.close()


def test_workers_and_the_three_queues_are_there(
    page: Page, scene: Scene, pictures: Pictures
) -> None:
    page.goto("/workers")
    for worker in ("cpu@", "gpu@"):
        expect(page.locator("table tbody tr").filter(has_text=worker)).to_contain_text("Online")
    pictures.take(page, "flower-workers")

    page.goto("/broker")
    for queue in QUEUES:
        expect(page.locator(f"tr#{queue}")).to_be_visible()
    password = scene.stack.settings.redis_url.get_secret_value().split(":")[2].split("@")[0]
    assert password not in page.content()
    pictures.take(page, "flower-queues")


def test_a_window_is_followed_from_its_score_to_its_training(
    page: Page, scene: Scene, pictures: Pictures
) -> None:
    search(page, scene.trained)
    scored = row(page, scene.trained, "score_window", "SUCCESS", "20 of 20 trajectories")
    expect(scored).to_contain_text("mean reward 0.")
    (step, *_) = scene.steps("committed")
    trained = row(page, scene.trained, "train_window", "SUCCESS", "committed")
    expect(trained).to_contain_text(f"{step['trainable_tokens']} tokens")
    pictures.take(page, "flower-window")

    trained.locator("a[href*='/task/']").click()
    expect(page.locator("#task-page")).to_contain_text("promoted")
    expect(page.locator("#task-page")).to_contain_text(scene.trained)
    expect(page.locator("#task-page")).to_contain_text("babylon")
    pictures.take(page, "flower-task")


def test_why_a_window_failed_is_said_on_the_page(
    page: Page, scene: Scene, pictures: Pictures
) -> None:
    search(page, scene.failed)
    failed = row(page, scene.failed, "score_window", "FAILURE")
    expect(failed).to_contain_text('relation "market_outcomes" does not exist')

    failed.locator("a[href*='/task/']").click()
    shown = page.locator("#task-page")
    expect(shown).to_contain_text("run `babylon-tasks migrate`")
    pictures.take(page, "flower-failure")
    for secret in (
        scene.stack.settings.database_url.get_secret_value().split(":")[2].split("@")[0],
        scene.stack.settings.inference_api_key.get_secret_value(),
    ):
        assert secret not in page.content()


def test_a_running_step_shows_how_far_it_is(page: Page, scene: Scene, pictures: Pictures) -> None:
    (step,) = scene.steps("running")
    search(page, scene.running)
    running = row(page, scene.running, "train_window", f"of {step['progress']['total']}")
    expect(running).not_to_contain_text("SUCCESS")
    expect(running).to_contain_text(str(step["target_step"]))

    page.locator("input[type=search]").fill("name:_window")
    for window in (scene.trained, scene.failed, scene.running):
        row(page, window)
    pictures.take(page, "flower-tasks")
