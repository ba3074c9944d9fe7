"""What agents get of the gateway while something is taken away under load: answers, or errors that
OpenAI's clients read, and never a wait without an end; and what became of the captures.

Each test prints what docs/reliability.md says of it. With ``--measured FILE`` the outages last
longer, and the same is appended to the file.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import openai
import pytest
from acceptance.harness import PATIENCE, Babylon, until
from openai import OpenAI
from tcp_proxy import TcpProxy
from upstream import Upstream

from babylon_tasks.db import lineages
from babylon_tasks.sandbox.servers import free_port

KEY = "key-of-the-agents-0"
AGENTS = 12
ENOUGH = 5 * AGENTS  # calls: each agent has had several
MEASURED = 10 * ENOUGH  # where figures are wanted
ERROR = {"message", "type", "param", "code"}
LINEAGE, OTHER = "acceptance", "qwen/q"
BOTH = ("gateway-0", "gateway-1")
# That what serves could not be read, and captures not be written.
MISSED = {"pointer.outdated", "calls.delayed"}
MESSAGES: list[Any] = [{"role": "user", "content": "Will ACME close higher?"}]


class Outcome(NamedTuple):
    """What a call for a model came to; ``status`` 0: the connection was lost."""

    asked: str
    status: int
    code: str = ""
    model: str = ""
    served_by: str = ""
    fallback: str = ""


class Agents:
    """Agents that ask without a pause, as long as the block lasts, each over a kept connection.

    ``urls`` are the gateways that they know: on a lost connection an agent goes to the next, as a
    Service sends it. ``model`` is what each asks for, by number. ``enough`` calls are as many as it
    takes to see something.
    """

    def __init__(self, urls: list[str], model: Callable[[int], str], enough: int) -> None:
        self._seen: list[tuple[int, Outcome]] = []  # with the phase in which the call began
        self._phase = 0
        self.struck: tuple[float, list[Outcome]] = (0.0, [])
        self._enough = enough
        self._urls = urls
        self._model = model
        self._ended = threading.Event()

    def __enter__(self) -> Agents:
        self._pool = ThreadPoolExecutor(AGENTS)
        self._running = [self._pool.submit(self._ask, number) for number in range(AGENTS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._pool.shutdown()
        for agent in self._running:
            agent.result()  # raises what no agent should see

    @property
    def outcomes(self) -> list[Outcome]:
        """Of all calls up to now."""
        return [found for _, found in self._seen]

    def fresh(self, wanted: Callable[[Outcome], bool] = lambda _: True) -> list[Outcome]:
        """What all agents get of calls that begin from now on, once enough of it is as wanted."""
        self._phase += 1

        def begun() -> list[Outcome]:
            return [found for phase, found in self._seen if phase == self._phase]

        until(
            f"{self._enough} calls, last {self._seen[-1:]}",
            lambda: sum(map(wanted, begun())) >= self._enough,
        )
        return begun()

    @contextmanager
    def without(self, proxy: TcpProxy | None = None) -> Iterator[None]:
        """Take away what is behind a proxy, present connections included, or what the block does.

        ``struck`` is then how long that was, and what agents got meanwhile.
        """
        before, began = len(self.outcomes), time.monotonic()
        if proxy is not None:
            proxy.refuse()
            proxy.cut()
        yield
        self.struck = (time.monotonic() - began, self.outcomes[before:])
        if proxy is not None:
            proxy.refuse(False)

    def _ask(self, number: int) -> None:
        at = number
        while not self._ended.is_set():
            url = self._urls[at % len(self._urls)]
            with OpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=PATIENCE) as client:
                while not self._ended.is_set():
                    phase = self._phase
                    found = outcome(client, self._model(number))
                    self._seen.append((phase, found))
                    if not found.status:
                        at += 1
                        break


def outcome(client: OpenAI, model: str) -> Outcome:
    """Ask once; raises openai.APITimeoutError for an answer that does not come."""
    try:
        raw = client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES)
    except openai.APITimeoutError:
        raise
    except openai.APIConnectionError:
        return Outcome(model, 0)
    except openai.APIStatusError as error:
        if not isinstance(error.body, dict) or set(error.body) != ERROR:
            raise  # it has not OpenAI's shape
        return Outcome(model, error.status_code, error.body["code"] or "")
    labels = (raw.headers.get(f"x-babylon-{name}", "") for name in ("served-by", "fallback"))
    return Outcome(model, raw.status_code, "", raw.parse().model, *labels)


class Scene(NamedTuple):
    """Two gateways; Postgres, the trainer's endpoint and another server behind proxies."""

    babylon: Babylon
    urls: list[str]
    postgres: TcpProxy
    trainer: TcpProxy
    other: TcpProxy
    server: Upstream
    through: str
    enough: int
    file: str | None

    def agents(self, model: Callable[[int], str]) -> Agents:
        """Agents of both gateways."""
        return Agents(self.urls, model, self.enough)

    def captured(self, *names: str) -> int:
        """How many captures of checkpoints Postgres has once these last gateways have ended."""
        ended = [self.babylon.terminate(name) for name in names or BOTH]
        assert [one.child.wait(PATIENCE) for one in ended] == [0] * len(ended)
        (row,) = self.babylon.rows("SELECT count(step) AS calls FROM training.calls")
        return int(row["calls"])

    def lost(self, without: str, agents: Agents, captured: int) -> int:
        """How many answers of checkpoints have no capture; says what agents saw meanwhile."""
        seconds, seen = agents.struck
        answers = Counter(
            "the fallback" if one.fallback else one.served_by for one in seen if one.status == 200
        )
        errors = Counter(
            f"{one.status} {one.code}".strip() if one.status else "lost connection"
            for one in seen
            if one.status != 200
        )
        sampled = sum(one.model.startswith(f"{LINEAGE}@") for one in agents.outcomes)
        said = {
            "without": without,
            "seconds": round(seconds, 1),
            "answers": dict(answers),
            "errors": dict(errors),
            "sampled, before and after too": sampled,
            "captured": captured,
        }
        print(json.dumps(said))
        if self.file is not None:
            with Path(self.file).open("a", encoding="ascii") as lines:
                lines.write(json.dumps(said) + "\n")
        return sampled - captured

    def promote(self, step: int) -> None:
        """Have another checkpoint serve."""
        self.babylon.connection.execute("UPDATE training.lineages SET serving_step = %s", [step])


@pytest.fixture
def scene(
    make_babylon: Callable[..., Babylon], database_url: str, request: pytest.FixtureRequest
) -> Iterator[Scene]:
    file: str | None = request.config.option.measured
    with ExitStack() as stack:
        server = stack.enter_context(Upstream())
        server.says("yes")
        server.seconds = 0.02
        parts = urlsplit(database_url)
        postgres = stack.enter_context(TcpProxy(parts.port or 5432))
        trainer, other = (stack.enter_context(TcpProxy(server.port)) for _ in range(2))
        babylon = make_babylon(
            BABYLON_GATEWAY_KEYS=f"agents:{KEY}",
            BABYLON_GATEWAY_UPSTREAMS=json.dumps(
                {"other": {"base_url": f"http://127.0.0.1:{other.port}/v1", "models": [OTHER]}}
            ),
            BABYLON_GATEWAY_FALLBACK=f"other/{OTHER}",
        )
        lineages.ensure(babylon.connection, babylon.stack.settings)
        address = f"http://127.0.0.1:{trainer.port}/v1"
        lineages.announce(babylon.connection, LINEAGE, backend="cpu", base_url=address)
        babylon.connection.execute(
            "INSERT INTO training.checkpoints (lineage, step, inference_name, uri)"
            " SELECT lineage, 1, 'acceptance@1', 'x' FROM training.checkpoints WHERE step = 0"
        )
        login = parts.netloc.rpartition("@")[0]
        through = urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{postgres.port}"))
        urls = [start(babylon, name, through) for name in BOTH]
        enough = ENOUGH if file is None else MEASURED
        yield Scene(babylon, urls, postgres, trainer, other, server, through, enough, file)


def start(babylon: Babylon, name: str, database_url: str) -> str:
    """Start a gateway; its address once it is ready."""
    port = free_port()
    options = {"BABYLON_GATEWAY_PORT": str(port), "BABYLON_METRICS_PORT": "0"}
    command = babylon.stack.command("gateway")
    babylon.stack.start(name, command, {**options, "DATABASE_URL": database_url})
    until(f"{name} is ready", lambda: is_ready(port))
    return f"http://127.0.0.1:{port}/v1"


def is_ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except ConnectionError:
        return False
    finally:
        connection.close()


def events(scene: Scene, name: str) -> set[str]:
    """What a process has logged, by the names of the events."""
    return {line["event"] for line in scene.babylon.lines(name)}


def bare(_: int) -> str:
    """The model that serves, for every agent."""
    return LINEAGE


def test_without_postgres_each_call_is_answered_by_what_served_last(scene: Scene) -> None:
    with scene.agents(bare) as agents:
        with agents.without(scene.postgres):
            scene.promote(1)
            until("both have missed it", lambda: all(events(scene, one) >= MISSED for one in BOTH))
            assert {one.model for one in agents.fresh()} == {"acceptance@0"}
        agents.fresh(lambda one: one.model == "acceptance@1")
    assert {one.status for one in agents.outcomes} == {200}
    assert scene.lost("Postgres", agents, scene.captured()) == 0


def test_without_the_trainer_the_fallback_answers_with_a_label(scene: Scene) -> None:
    def models(number: int) -> str:
        return LINEAGE if number % 2 else "acceptance@0"

    with scene.agents(models) as agents:
        agents.fresh(lambda one: one.served_by == "acceptance@0")
        with agents.without(scene.trainer):
            found = agents.fresh(lambda one: one.served_by == "other")
            answered = {one for one in found if one.status == 200}
            assert {one.served_by for one in answered} == {"other"}
            assert all(one.fallback for one in answered)
            # Whoever names a checkpoint gets that one or an error.
            assert {one.status for one in found} == {200, 503}
        agents.fresh(lambda one: one.model == "acceptance@0" and not one.fallback)
    assert {one.status for one in agents.outcomes} == {200, 503}
    assert scene.lost("the trainer", agents, scene.captured()) == 0


def test_without_another_server_only_its_models_are_refused(scene: Scene) -> None:
    def models(number: int) -> str:
        return LINEAGE if number % 2 else OTHER

    with scene.agents(models) as agents:
        agents.fresh(lambda one: one.served_by == "other")
        with agents.without(scene.other):
            agents.fresh(lambda one: one.status == 502)
        agents.fresh(lambda one: one.served_by == "other")
    assert {one.status for one in agents.outcomes} <= {200, 502}
    assert {one.served_by for one in agents.outcomes} >= {"acceptance@0", "other"}
    assert scene.lost("another server", agents, scene.captured()) == 0


def test_of_two_replicas_one_may_be_killed_and_its_agents_go_to_the_other(scene: Scene) -> None:
    with scene.agents(bare) as agents:
        agents.fresh()
        # From now on what is captured stays in files: half of it in those of the one to be killed.
        scene.postgres.refuse()
        scene.postgres.cut()
        agents.fresh()
        with agents.without():
            scene.babylon.kill("gateway-0")
            agents.fresh()
            assert {one.status for one in agents.fresh()} == {200}, "the other one has them all"
    assert {one.status for one in agents.outcomes} <= {200, 0}
    connections = sum(one.status == 0 for one in agents.outcomes)
    assert connections <= AGENTS / 2, "no more than was under way there"
    # The next to start brings what the dead one has left in its files.
    scene.postgres.refuse(False)
    start(scene.babylon, "gateway-2", scene.through)
    captured = scene.captured("gateway-1", "gateway-2")
    lost = scene.lost("one of two replicas, killed", agents, captured)
    assert -connections <= lost <= AGENTS, "no more than was not in its files yet"


def test_a_replica_that_is_told_to_end_finishes_what_it_has_begun(scene: Scene) -> None:
    scene.server.seconds = 2
    with (
        OpenAI(base_url=scene.urls[0], api_key=KEY, max_retries=0, timeout=PATIENCE) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(outcome, client, LINEAGE)
        # Each replica has asked two tokens at its start.
        until("it is asked", lambda: any(b"Say a word" not in one for _, one in scene.server.came))
        gateway = scene.babylon.terminate("gateway-0")
        assert asked.result().status == 200
    assert gateway.child.wait(PATIENCE) == 0


def test_open_connections_obey_a_rollback_and_a_conversation_keeps_its_checkpoint(
    scene: Scene,
) -> None:
    def models(number: int) -> str:
        return LINEAGE if number % 2 else "acceptance@1"

    with scene.agents(models) as agents:
        scene.promote(1)
        agents.fresh(lambda one: (one.asked, one.model) == (LINEAGE, "acceptance@1"))
        scene.promote(0)

        def obeyed() -> bool:
            found = {(one.asked, one.model) for one in agents.fresh()}
            return found == {(LINEAGE, "acceptance@0"), ("acceptance@1", "acceptance@1")}

        until("both replicas have read it", obeyed)
    assert {one.status for one in agents.outcomes} == {200}, "no connection was lost"
