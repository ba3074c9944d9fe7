"""The endpoint before vLLM is bounded, and agents wait at it while vLLM cannot answer.

vLLM is a stand-in in this process (tests/without_card); what it has loaded is said here.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from documents import ROOT
from endpoint import PATIENCE, head, read_all, until
from openai import OpenAI
from openai.types import Model

from babylon_tasks.errors import BackendUnavailable, CheckpointDamaged
from babylon_tasks.http_server import deliver
from babylon_tasks.training.trainer_start import StartTrainer
from babylon_tasks.training.vllm_front import upstream
from babylon_tasks.training.vllm_front.server import VllmFront
from babylon_tasks.training.vllm_front.upstream import Vllm

pytestmark = pytest.mark.contract(None)

KEY, VLLMS_KEY = "key-of-the-agents-0", "key-of-one-start"
ASKED: dict[str, Any] = {"model": "tests@1", "messages": [{"role": "user", "content": "?"}]}


class Loop:
    """An event loop in a thread, in the trainer's place."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


class Front:
    """The endpoint of two checkpoints; of the second it is said that it is damaged."""

    def __init__(self, folder: Path, **fields: Any) -> None:
        for step in (1, 2):
            adapter(folder / f"{step:04d}", step)
        self.folder = folder
        self.trainer = Loop()
        self.vllm = _stand_in().Server(
            ("127.0.0.1", 0), served="tests@1", adapter=str(folder / "0001"), key=VLLMS_KEY
        )
        threading.Thread(target=self.vllm.serve_forever, daemon=True).start()
        start = {
            "backend": "local",
            "lineage": "tests",
            "base_model": "m",
            "project": "p",
            "data_dir": str(folder),
            "inference_host": "127.0.0.1",
            "inference_port": 0,
            "inference_api_key": KEY,
            "inference_timeout_seconds": PATIENCE,
            **fields,
        }
        self.start = StartTrainer(**start)

        async def opened() -> VllmFront:
            made = VllmFront(self.start, folder, self.load)
            made.start()
            return made

        self.front = self.trainer.run(opened())
        self.loads: list[int] = []

    async def load(self, step: int) -> None:
        self.loads.append(step)
        if step == 2:
            raise CheckpointDamaged("checkpoint 2 cannot be loaded: it is not what was committed")

    def answers(self) -> None:
        """vLLM may be asked."""
        url = f"http://127.0.0.1:{self.vllm.server_address[1]}/v1"
        self.front.answer_by(Vllm(url, VLLMS_KEY), {1})
        self.front.gate.open()

    @property
    def port(self) -> int:
        return int(self.front.base_url.rpartition(":")[2].removesuffix("/v1"))

    def client(self) -> OpenAI:
        return OpenAI(base_url=self.front.base_url, api_key=KEY, max_retries=0, timeout=PATIENCE)

    def close(self) -> None:
        self.front.stop()
        self.vllm.shutdown()
        self.vllm.server_close()
        self.trainer.close()


def _stand_in() -> Any:
    spec = importlib.util.spec_from_file_location(
        "vllm_runtime", ROOT / "tests/without_card/vllm_runtime.py"
    )
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def adapter(folder: Path, number: float) -> None:
    """A checkpoint as the stand-in reads it."""
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<f", number))


@pytest.fixture
def front(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Front]:
    made = Front(tmp_path, **getattr(request, "param", {}))
    yield made
    made.close()


def text(answer: Any) -> str:
    return answer.choices[0].message.content or ""


def test_agents_wait_while_vllm_cannot_answer(front: Front) -> None:
    """A step is trained on the card, or vLLM is started anew."""
    said: list[str] = []

    def ask() -> None:
        with front.client() as client:
            said.append(text(client.chat.completions.create(**ASKED)))

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: front.loads == [1])
    assert said == []

    front.answers()
    asking.join(PATIENCE)
    assert said == ["1.0000"]


def test_a_step_begins_when_vllm_has_answered(front: Front) -> None:
    front.answers()

    async def held() -> bool:
        async with front.front.gate.passing():
            closing = asyncio.ensure_future(front.front.gate.close(PATIENCE))
            await asyncio.sleep(0.3)
            waited = not closing.done()
        await closing
        return waited

    assert front.trainer.run(held())


@pytest.mark.parametrize("front", [{"inference_timeout_seconds": 0.5}], indirect=True)
def test_nobody_waits_longer_than_the_setting_says(front: Front) -> None:
    with front.client() as client, pytest.raises(openai.InternalServerError) as refusal:
        client.chat.completions.create(**ASKED)

    assert refusal.value.status_code == 503
    assert "BABYLON_INFERENCE_TIMEOUT_SECONDS" in str(refusal.value)


@pytest.mark.parametrize("front", [{"inference_max_requests": 1}], indirect=True)
def test_no_more_wait_than_the_setting_says(front: Front) -> None:
    with front.client() as client, front.client() as other:
        first = threading.Thread(target=lambda: client.chat.completions.create(**ASKED))
        first.start()
        until(lambda: front.loads == [1])
        with pytest.raises(openai.RateLimitError, match="BABYLON_INFERENCE_MAX_REQUESTS"):
            other.chat.completions.create(**ASKED)
        front.answers()
        first.join(PATIENCE)


def test_a_checkpoint_that_is_gone_never_means_the_base_model(front: Front) -> None:
    """To vLLM the name that it was started with does."""
    front.answers()
    del front.vllm.adapters["tests@1"]
    (front.folder / "0001/adapter_model.safetensors").unlink()
    (front.folder / "0001").rmdir()

    with front.client() as client, pytest.raises(openai.NotFoundError, match="no model 'tests@1'"):
        client.chat.completions.create(**ASKED)


@pytest.mark.parametrize(
    ("model", "status"), [("tests@2", 503), ("tests@3", 404), ("other@1", 404), ("tests", 404)]
)
def test_only_whole_checkpoints_of_the_lineage_answer(
    front: Front, model: str, status: int
) -> None:
    front.answers()

    with front.client() as client:
        with pytest.raises(openai.APIStatusError) as refusal:
            client.chat.completions.create(**{**ASKED, "model": model})
        assert refusal.value.status_code == status
        with pytest.raises(openai.APIStatusError) as refusal:
            client.models.retrieve(model)
        assert refusal.value.status_code == status
        listed = list(client.models.list())
        assert [one.id for one in listed] == ["tests@1", "tests@2"]
        for one in (*listed, client.models.retrieve("tests@1")):
            Model.model_validate(one.to_dict())


def test_a_stream_is_passed_on_as_it_comes(front: Front) -> None:
    front.answers()

    with front.client() as client, client.chat.completions.create(**ASKED, stream=True) as stream:
        parts = [one.choices[0].delta.content or "" for one in stream]
    assert parts == [*"1.0000", ""]


def test_no_connection_to_vllm_is_kept_until_vllm_closes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert upstream._IDLE_SECONDS < 5, "as uvicorn, and so vLLM, has it"
    monkeypatch.setattr(upstream, "_IDLE_SECONDS", 0)
    front = Front(tmp_path)
    try:
        front.answers()
        opened: list[Any] = []
        process = front.vllm.process_request

        def counted(*connection: Any) -> None:
            opened.append(connection)
            process(*connection)

        monkeypatch.setattr(front.vllm, "process_request", counted)
        with front.client() as client:
            assert [text(client.chat.completions.create(**ASKED)) for _ in "12"] == ["1.0000"] * 2
        assert len(opened) == 2
    finally:
        front.close()


def test_half_a_stream_is_no_whole_answer(front: Front) -> None:
    front.answers()
    body = {**ASKED, "stream": True, "user": "breaks"}
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx.Client(timeout=PATIENCE) as client, pytest.raises(httpx.TransportError):
        client.post(f"{front.front.base_url}/chat/completions", json=body, headers=headers)


def test_a_client_that_does_not_read_its_stream_holds_up_no_step(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "FLUSH_SECONDS", 0.2)
    front.answers()
    body = json.dumps({**ASKED, "stream": True, "user": "goes on"}).encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", front.port))
        connection.sendall(head(length=len(body), key=KEY) + body)
        until(lambda: front.front.gate._inside == 1)

        until(lambda: front.front.gate._inside == 0)
        assert not read_all(connection).endswith(b"0\r\n\r\n"), "no whole answer"


def test_of_a_vllm_that_has_ended_agents_and_the_trainer_learn(front: Front) -> None:
    front.answers()
    front.vllm.shutdown()
    front.vllm.server_close()

    with front.client() as client, pytest.raises(openai.InternalServerError, match="no answer"):
        client.chat.completions.create(**ASKED)
    assert not front.trainer.run(front.front.lives())


def test_what_is_no_request_is_refused(front: Front) -> None:
    front.answers()
    url, headers = f"{front.front.base_url}/chat/completions", {"authorization": f"Bearer {KEY}"}
    with httpx.Client(timeout=PATIENCE) as client:
        assert client.post(url, content=b"{", headers=headers).status_code == 400
        half = json.dumps({**ASKED, "user": "\ud83d"})
        assert "half a character" in client.post(url, content=half, headers=headers).text
        assert client.get(url, headers=headers).status_code == 405
        assert client.post(url, json=ASKED).status_code == 401
        large = json.dumps({**ASKED, "user": "x" * 2**24}).encode()
        assert client.post(url, content=large, headers=headers).status_code == 413


def test_a_port_that_is_taken_is_named(front: Front) -> None:
    other = StartTrainer(**{**_fields(front.start), "inference_port": front.port})

    async def opened() -> None:
        VllmFront(other, front.folder, front.load).start()

    with pytest.raises(BackendUnavailable, match="BABYLON_INFERENCE_PORT"):
        front.trainer.run(opened())


def _fields(start: StartTrainer) -> dict[str, Any]:
    return {name: getattr(start, name) for name in start.__struct_fields__}
