"""Flower as an engineer on call sees it, in a real browser: what works, what failed, what waits.

With ``--pictures DIR`` the pages are written there (``make pictures``).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis
from acceptance.harness import until
from acceptance.pictures import NAMES, SIZE, Pictures, size
from acceptance.scene import LINEAGE, SCENE_OPTIONS, Scene
from babylon import CONTRACTS
from browsers import chromium
from databases import fresh_database
from playwright.sync_api import Browser, Locator, Page, expect
from playwright.sync_api import Error as Refused

from babylon_tasks.db.session import Connection, connect
from babylon_tasks.sandbox.servers import EmbeddedPostgres, EmbeddedValkey
from babylon_tasks.sandbox.stack import Stack
from babylon_tasks.tasks.app import KEY_PREFIX

PATIENCE = 30_000  # milliseconds: a bound, not an expectation
PAGES = ("/", "/tasks", "/workers", "/broker", "/metrics")
API = ("/api/tasks", "/api/workers", "/api/queues/length")


@pytest.fixture(scope="module")
def scene(
    administrator: Connection,
    templates: Callable[..., str],
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
            contextmanager(fresh_database)(
                administrator, postgres, templates(CONTRACTS[-1], migrated=True)
            )
        )
        options = {**SCENE_OPTIONS, "BABYLON_BASE_MODEL": str(tiny_model)}
        home = tmp_path_factory.mktemp("flower") / "stack"
        stack = parts.enter_context(
            Stack(home, options=options, database_url=database, redis_url=valkey.url)
        )
        scene = Scene(stack, parts.enter_context(connect(stack.settings)))
        parts.callback(scene.close)
        scene.play()
        yield scene


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of this file."""
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Browser, scene: Scene) -> Iterator[Page]:
    """A window of somebody who has logged in."""
    user, _, password = scene.stack.flower_login.partition(":")
    context = browser.new_context(
        base_url=scene.stack.flower_url,
        http_credentials={"username": user, "password": password, "send": "always"},
        viewport=SIZE,
    )
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield context.new_page()
    context.close()


@pytest.fixture
def pictures(request: pytest.FixtureRequest) -> Pictures:
    """The pictures in the documents."""
    chosen: str | None = request.config.getoption("--pictures")
    return Pictures(Path(chosen or "docs/pictures"), write=chosen is not None)


def row(page: Page, *words: str) -> Locator:
    """The one row of the list of tasks that holds all these words."""
    found = page.locator("table tbody tr")
    for word in words:
        found = found.filter(has_text=word)
    return found


def follow(page: Page, link: Locator) -> None:
    """To the page of a task."""
    link.click()
    expect(page.locator("#task-page")).to_be_visible()


def detail(page: Page, name: str) -> Locator:
    """The text beside a name on the page of a task."""
    term = page.locator("dt").filter(has_text=re.compile(rf"^\s*{name}\s*$"))
    return page.locator(".detail-row").filter(has=term).locator("dd")


def test_without_a_login_nothing_is_shown(browser: Browser, scene: Scene) -> None:
    assert_nothing_is_shown(browser, scene, {}, 401)


def assert_nothing_is_shown(
    browser: Browser, scene: Scene, headers: dict[str, str], *statuses: int
) -> None:
    """On any page, nor by the API."""
    context = browser.new_context(base_url=scene.stack.flower_url, extra_http_headers=headers)
    page = context.new_page()
    for path in PAGES:
        with pytest.raises(Refused, match=r"INVALID_AUTH|RESPONSE_CODE_FAILURE"):
            page.goto(path)
    for path in (*PAGES, *API):
        answer = context.request.get(path)
        assert answer.status in statuses, path
        text = answer.text()
        assert text in ("", "Access denied") or text.startswith("too many failed logins"), path
    assert context.request.get("/healthcheck").text() == "OK"
    context.close()


def test_the_workers_are_there_and_which_of_them_is_busy(page: Page, pictures: Pictures) -> None:
    page.goto("/workers")
    for worker, active in (("cpu@", "0"), ("gpu.", "1")):
        expect(row(page, worker)).to_contain_text("Online")
        expect(row(page, worker).locator("td").nth(2)).to_have_text(active)
    pictures.take(page, "flower-workers")


def test_the_queues_are_there_with_the_messages_that_wait(
    page: Page, scene: Scene, valkey: EmbeddedValkey, pictures: Pictures
) -> None:
    page.goto("/broker")
    lengths = {
        row.locator("td").nth(0).inner_text(): row.locator("td").nth(1).inner_text()
        for row in page.locator("#queue-table tbody tr").all()
    }
    # A message may have been sent twice, which is harmless: what Redis holds is what is shown.
    with redis.Redis.from_url(valkey.url) as client:
        queues = ("cpu", "gpu", "gpu.babylon", "upkeep")
        held = {name: client.llen(KEY_PREFIX + name) for name in queues}
    assert lengths == {name: str(length) for name, length in held.items()}
    assert held["gpu.babylon"] >= len(scene.waiting)
    pictures.take(page, "flower-queues")


def test_the_list_says_of_each_window_what_happened(
    page: Page, scene: Scene, pictures: Pictures
) -> None:
    page.goto("/tasks?name=_window")
    expect(row(page, scene.trained, "score_window")).to_contain_text("scored 12 of 12")
    trained = row(page, scene.trained, "train_window")
    expect(trained).to_contain_text(re.compile(r"committed, \d+ gradient steps?, \d+ tokens"))
    expect(row(page, scene.skipped, "score_window")).to_contain_text("skipped: no_spread")
    failed = row(page, scene.failed, "score_window", "FAILURE")
    expect(failed).to_contain_text('violates check constraint "refused"')
    expect(row(page, scene.running, "train_window")).to_contain_text("training: ")
    pictures.take(page, "flower-tasks")


@pytest.mark.parametrize("width", [1280, 390])
def test_window_step_and_what_happened_are_within_a_narrow_page(
    page: Page, scene: Scene, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/tasks?name=_window")
    (step,) = scene.steps("committed")
    trained = row(page, scene.trained, "committed")
    for number, text in enumerate((scene.trained, str(step["target_step"]), "tokens")):
        cell = trained.locator("td").nth(number)
        expect(cell).to_contain_text(text)
        box = cell.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width, f"{text} is cut off at {width} pixels"
    follow(page, trained.locator("a[href*='/task/']"))
    expect(detail(page, "Summary")).to_contain_text("tokens")


def test_a_window_is_followed_from_its_score_to_its_training(
    page: Page, scene: Scene, pictures: Pictures
) -> None:
    page.goto("/tasks")
    page.locator("input[type=search]").fill(f'"{scene.trained}" name:_window')
    expect(page.locator("#tasks-table tbody tr")).to_have_count(2)  # the search has been done
    score = row(page, "score_window")
    promoted = re.compile(r"promoted: objective [+-]0\.\d{4} ")
    expect(row(page, "train_window")).to_contain_text(promoted)
    pictures.take(page, "flower-window")

    follow(page, score.locator("a[href*='/task/']"))
    expect(detail(page, "Window")).to_have_text(scene.trained)
    expect(detail(page, "Summary")).to_contain_text("scored 12 of 12 trajectories")

    follow(page, detail(page, "Children").get_by_role("link"))
    expect(detail(page, "Name")).to_have_text("train_window")
    (step,) = scene.steps("committed")
    expect(detail(page, "Result")).to_contain_text(
        f"window {scene.trained} · lineage {LINEAGE} · step {step['target_step']} · committed, "
        f"{step['gradient_steps']} gradient steps, {step['trainable_tokens']} tokens"
    )
    pictures.take(page, "flower-task")


def test_the_page_shows_why_a_window_failed(page: Page, scene: Scene, pictures: Pictures) -> None:
    page.goto("/tasks?state=FAILURE")
    follow(page, row(page, scene.failed).locator("a[href*='/task/']"))
    expect(detail(page, "Status")).to_have_text("FAILURE")
    last = scene.events_of(scene.failed)[-1]
    assert last["kind"] == "scoring_failed"
    why = last["detail"]["error"]
    assert 'violates check constraint "refused"' in why
    expect(detail(page, "Summary")).to_contain_text('violates check constraint "refused"')
    expect(detail(page, "Lineage")).to_have_text(LINEAGE)
    expect(detail(page, "Traceback")).to_contain_text("CheckViolation")
    pictures.take(page, "flower-failure")


def test_a_running_step_shows_how_far_it_is_and_counts_as_started(page: Page, scene: Scene) -> None:
    (step,) = scene.steps("running")
    page.goto("/tasks?state=STARTED")
    follow(page, row(page, scene.running).locator("a[href*='/task/']"))
    expect(detail(page, "Status")).to_have_text("STARTED")
    expect(detail(page, "Step")).to_have_text(str(step["target_step"]))
    expect(detail(page, "Summary")).to_have_text(
        re.compile(rf"training: \d+ of {step['progress']['total']} gradient steps, [\d,]+ tokens")
    )


def test_no_secret_is_on_any_page(page: Page, scene: Scene) -> None:
    settings = scene.stack.settings
    secrets = {
        scene.stack.flower_login.partition(":")[2],
        settings.inference_api_key.get_secret_value(),
        *(
            url.get_secret_value().split(":")[2].split("@")[0]
            for url in (settings.database_url, settings.redis_url)
        ),
    }
    assert min(map(len, secrets)) > 8
    tasks = [f"/task/{name}" for name in json.loads(page.request.get("/api/tasks").text())]
    assert len(tasks) > 10
    gpu = until("the worker was inspected", lambda: _inspected(page))
    for path in (*PAGES, *API, *tasks, f"/worker/{gpu}"):
        answer = page.request.get(path)
        assert answer.status == 200, path
        assert not [secret for secret in secrets if secret in answer.text()], path


def _inspected(page: Page) -> str | None:
    workers = json.loads(page.request.get("/api/workers?refresh=1").text())
    return next((name for name in workers if name.startswith("gpu.")), None)


def test_the_pictures_in_the_documents_are_those_that_are_taken() -> None:
    found = list(Path("docs/pictures").glob("flower-*.png"))
    assert {image.stem for image in found} == NAMES
    assert {size(image) for image in found} == {(SIZE["width"], SIZE["height"])}
    source = Path(__file__).read_text("utf-8")
    assert set(re.findall(r'pictures\.take\(page, "([^"]+)"\)', source)) == NAMES


def test_with_a_guessed_password_nothing_is_shown(browser: Browser, scene: Scene) -> None:
    """The last one here: after five guesses, nobody's login is looked at for a while."""
    guess = base64.b64encode(b"babylon:guessed-it").decode()
    headers = {"Authorization": f"Basic {guess}"}
    assert_nothing_is_shown(browser, scene, headers, 401, 429)
