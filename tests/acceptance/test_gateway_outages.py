"""What agents get of the gateway while something is taken away under load: answers, or errors that
OpenAI's clients read, and never a wait without an end."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
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
ERROR = {"message", "type", "param", "code"}
LINEAGE, OTHER = "acceptance", "qwen/q"
MESSAGES: list[Any] = [{"role": "user", "content": "Will ACME close higher?"}]


class Outcome(NamedTuple):
    """What a call for a model came to; ``status`` 0: the connection was lost."""

    asked: str
    status: int
    model: str = ""
    served_by: str = ""
    fallback: str = ""


class Agents:
    """Agents that ask without a pause, as long as the block lasts, each over a kept connection.

    ``urls`` are the gateways that they know: on a lost connection an agent goes to the next, as a
    Service sends it. ``model`` is what each asks for, by number.
    """

    def __init__(self, urls: list[str], model: Callable[[int], str]) -> None:
        self.outcomes: list[Outcome] = []
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

    def fresh(self, wanted: Callable[[Outcome], bool] = lambda _: True) -> list[Outcome]:
        """What all agents get from now on, once enough of it is as wanted."""
        before = len(self.outcomes)

        def enough() -> bool:
            return sum(map(wanted, self.outcomes[before:])) >= ENOUGH

        until(f"{ENOUGH} calls, last {self.outcomes[-1:]}", enough)
        # What was under way when it began may belong to the time before.
        return self.outcomes[before + AGENTS :]

    def _ask(self, number: int) -> None:
        at = number
        while not self._ended.is_set():
            url = self._urls[at % len(self._urls)]
            with OpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=PATIENCE) as client:
                while not self._ended.is_set():
                    found = outcome(client, self._model(number))
                    self.outcomes.append(found)
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
        return Outcome(model, error.status_code)
    labels = (raw.headers.get(f"x-babylon-{name}", "") for name in ("served-by", "fallback"))
    return Outcome(model, raw.status_code, raw.parse().model, *labels)


class Scene(NamedTuple):
    """Two gateways; Postgres, the trainer's endpoint and another server behind proxies."""

    babylon: Babylon
    urls: list[str]
    postgres: TcpProxy
    trainer: TcpProxy
    other: TcpProxy
    server: Upstream

    def promote(self, step: int) -> None:
        """Have another checkpoint serve."""
        self.babylon.connection.execute("UPDATE training.lineages SET serving_step = %s", [step])


@pytest.fixture
def scene(make_babylon: Callable[..., Babylon], database_url: str) -> Iterator[Scene]:
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
        urls = []
        for name in ("gateway-0", "gateway-1"):
            port = free_port()
            options = {"BABYLON_GATEWAY_PORT": str(port), "BABYLON_METRICS_PORT": "0"}
            command = babylon.stack.command("gateway")
            babylon.stack.start(name, command, {**options, "DATABASE_URL": through})
            until(f"{name} is ready", lambda port=port: is_ready(port))
            urls.append(f"http://127.0.0.1:{port}/v1")
        yield Scene(babylon, urls, postgres, trainer, other, server)


def is_ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except ConnectionError:
        return False
    finally:
        connection.close()


@contextmanager
def away(proxy: TcpProxy) -> Iterator[None]:
    """Take away what is behind a proxy, present connections included."""
    proxy.refuse()
    proxy.cut()
    yield
    proxy.refuse(False)


def bare(_: int) -> str:
    """The model that serves, for every agent."""
    return LINEAGE


def test_without_postgres_each_call_is_answered_by_what_served_last(scene: Scene) -> None:
    with Agents(scene.urls, bare) as agents:
        with away(scene.postgres):
            scene.promote(1)
            agents.fresh()
            assert {one.model for one in agents.fresh()} == {"acceptance@0"}
        agents.fresh(lambda one: one.model == "acceptance@1")
    assert {one.status for one in agents.outcomes} == {200}


def test_without_the_trainer_the_fallback_answers_with_a_label(scene: Scene) -> None:
    def models(number: int) -> str:
        return LINEAGE if number % 2 else "acceptance@0"

    with Agents(scene.urls, models) as agents:
        agents.fresh(lambda one: one.served_by == "acceptance@0")
        with away(scene.trainer):
            found = agents.fresh(lambda one: one.served_by == "other")
            answered = {one for one in found if one.status == 200}
            assert {one.served_by for one in answered} == {"other"}
            assert all(one.fallback for one in answered)
            # Whoever names a checkpoint gets that one or an error.
            assert {one.status for one in found} == {200, 503}
        agents.fresh(lambda one: one.model == "acceptance@0" and not one.fallback)
    assert {one.status for one in agents.outcomes} == {200, 503}


def test_without_another_server_only_its_models_are_refused(scene: Scene) -> None:
    def models(number: int) -> str:
        return LINEAGE if number % 2 else OTHER

    with Agents(scene.urls, models) as agents:
        agents.fresh(lambda one: one.served_by == "other")
        with away(scene.other):
            agents.fresh(lambda one: one.status == 502)
        agents.fresh(lambda one: one.served_by == "other")
    assert {one.status for one in agents.outcomes} <= {200, 502}
    assert {one.served_by for one in agents.outcomes} >= {"acceptance@0", "other"}


def test_of_two_replicas_one_may_be_killed_and_its_agents_go_to_the_other(scene: Scene) -> None:
    with Agents(scene.urls, bare) as agents:
        agents.fresh()
        scene.babylon.kill("gateway-0")
        agents.fresh()
        assert {one.status for one in agents.fresh()} == {200}, "the other one has them all"
    assert {one.status for one in agents.outcomes} <= {200, 0}
    lost = sum(one.status == 0 for one in agents.outcomes)
    assert lost <= AGENTS / 2, "no more than was under way there"


def test_a_replica_that_is_told_to_end_finishes_what_it_has_begun(scene: Scene) -> None:
    scene.server.seconds = 2
    with (
        OpenAI(base_url=scene.urls[0], api_key=KEY, max_retries=0, timeout=PATIENCE) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(outcome, client, LINEAGE)
        until("it is asked", lambda: scene.server.came)
        gateway = scene.babylon.terminate("gateway-0")
        assert asked.result().status == 200
    assert gateway.child.wait(PATIENCE) == 0


def test_open_connections_obey_a_rollback_and_a_conversation_keeps_its_checkpoint(
    scene: Scene,
) -> None:
    def models(number: int) -> str:
        return LINEAGE if number % 2 else "acceptance@1"

    with Agents(scene.urls, models) as agents:
        scene.promote(1)
        agents.fresh(lambda one: (one.asked, one.model) == (LINEAGE, "acceptance@1"))
        scene.promote(0)
        agents.fresh(lambda one: (one.asked, one.model) == (LINEAGE, "acceptance@0"))
        found = {(one.asked, one.model) for one in agents.fresh()}
    assert found == {(LINEAGE, "acceptance@0"), ("acceptance@1", "acceptance@1")}
    assert {one.status for one in agents.outcomes} == {200}, "no connection was lost"
