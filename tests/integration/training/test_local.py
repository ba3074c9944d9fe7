"""Backend ``local`` without a card: ART's own backend, service and training loop.

A whole trainer process, ART's child of it and a server in vLLM's place; unsloth, trl and vLLM are
stand-ins (tests/without_card), whose model is one number: a step adds its learning rate to it for
each of its rows. An answer is the number of the checkpoint that gave it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from documents import ROOT
from endpoint import until
from openai import OpenAI
from recorded import train_request, trainer_settings, yes_pays

from babylon_tasks.errors import TrainingError
from babylon_tasks.step_records import StepResult
from babylon_tasks.training.protocol import CheckRequest
from babylon_tasks.training.supervisor import Trainer

pytestmark = pytest.mark.contract(None)

STAND_INS = ROOT / "tests/without_card"
KEY = "key-of-the-agents-0"
ROWS = 4  # of ``yes_pays``
RATE = 0.25
MOVED = ROWS * RATE


@pytest.fixture(scope="module")
def trainer(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    """A trainer of backend ``local``, for all tests: each goes on from the newest checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        paths = (str(STAND_INS), os.environ.get("PYTHONPATH"))
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
        patch.syspath_prepend(STAND_INS)  # where the worker looks for unsloth
        patch.setenv("ART_VLLM_RUNTIME_BIN", f"{sys.executable} {STAND_INS / 'vllm_runtime.py'}")
        settings = trainer_settings(
            tmp_path_factory.mktemp("local"),
            backend="local",
            base_model=str(tiny_model),
            inference_api_key=KEY,
            inference_timeout_seconds=60,
        )
        with Trainer(settings) as made:
            yield made


@pytest.fixture
def newest(trainer: Trainer) -> int:
    """The newest checkpoint when the test begins."""
    return trainer.backend_step().step


@pytest.fixture
def step(trainer: Trainer, tmp_path: Path) -> Callable[..., StepResult]:
    """``step()``: train one step from the newest checkpoint."""

    def train(**fields: Any) -> StepResult:
        base = trainer.backend_step().step
        fields = {"base_step": base, "learning_rate": RATE, **fields}
        return trainer.train(train_request(tmp_path, [yes_pays()], **fields))

    return train


def client(trainer: Trainer) -> OpenAI:
    return OpenAI(base_url=trainer.ready().base_url, api_key=KEY, max_retries=0)


def said(trainer: Trainer, step: int, **options: Any) -> str:
    """What a checkpoint answers."""
    with client(trainer) as asked:
        made = asked.chat.completions.create(
            model=f"tests@{step}", messages=[{"role": "user", "content": "?"}], **options
        )
    return made.choices[0].message.content or ""


def number(trainer: Trainer, step: int) -> float:
    """The same, as the number that the checkpoint is."""
    return float(said(trainer, step))


def vllm(trainer: Trainer) -> psutil.Process:
    """The stand-in itself, and not ART's process around it, of this trainer."""
    script, folder = str(STAND_INS / "vllm_runtime.py"), str(trainer.log_path.parent)
    [found] = [
        one
        for one in psutil.process_iter(["cmdline"])
        if (line := one.info["cmdline"] or [])[1:2] == [script]
        and any(folder in part for part in line)
    ]
    return found


def folder(trainer: Trainer, step: int) -> Path:
    [found] = trainer.log_path.parent.glob(f"*/models/tests/checkpoints/{step:04d}")
    return found


def test_it_listens_where_the_settings_say_and_shows_nothing_else_of_vllm(
    trainer: Trainer,
) -> None:
    base_url = trainer.ready().base_url
    assert base_url == f"http://127.0.0.1:{trainer.port}/v1"
    root = base_url.removesuffix("/v1")
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=root) as asked:
        assert asked.get("/health").status_code == 200
        assert asked.get("/v1/models/tests@0").status_code == 401
        assert asked.get("/v1/models/tests@0", headers=headers).json()["id"] == "tests@0"
        assert asked.get("/v1/models/tests@99", headers=headers).status_code == 404
        for path in ("/sleep", "/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
            assert asked.post(path, headers=headers).status_code == 404
    arguments = vllm(trainer).cmdline()
    assert "--host=127.0.0.1" in arguments
    assert KEY not in " ".join(arguments) + trainer.log_path.read_text()


def test_what_did_not_count_is_in_no_memory(
    trainer: Trainer, newest: int, step: Callable[..., StepResult]
) -> None:
    """The next step starts from the parent's weights, and its name means the new ones."""
    before, next_step = number(trainer, newest), newest + 1
    first = step()
    assert (first.step, first.gradient_steps) == (next_step, ROWS)
    assert number(trainer, next_step) == before + MOVED

    assert trainer.set_aside(next_step, "0001-a").step == newest
    with pytest.raises(openai.NotFoundError):
        said(trainer, next_step)
    assert number(trainer, newest) == before
    again = step()
    assert again.adapter_hash == first.adapter_hash

    assert trainer.discard(next_step).step == newest
    step(learning_rate=2 * RATE)
    assert number(trainer, next_step) == before + 2 * MOVED


def test_a_step_that_fails_ends_neither_serving_nor_training(
    trainer: Trainer, newest: int, step: Callable[..., StepResult]
) -> None:
    before = number(trainer, newest)
    with pytest.raises(TrainingError, match="the card has no memory left"):
        step(learning_rate=1000.0)

    assert number(trainer, newest) == before
    assert number(trainer, step().step) == before + MOVED


def test_agents_wait_while_a_step_has_the_card(
    trainer: Trainer, newest: int, step: Callable[..., StepResult]
) -> None:
    """vLLM sleeps then, and refuses whoever asks it all the same."""
    before, answers = number(trainer, newest), []
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(step)
        while not training.done():
            answers.append(number(trainer, newest))
    assert training.result().step == newest + 1
    assert set(answers) == {before}


def test_a_vllm_that_ends_by_itself_is_started_anew(trainer: Trainer, newest: int) -> None:
    before = number(trainer, newest)
    vllm(trainer).kill()

    def answers() -> bool:
        try:
            return number(trainer, newest) == before
        except openai.InternalServerError:
            return False

    until(answers)
    assert "vLLM has ended; the last lines of " in trainer.log_path.read_text()


def test_after_a_restart_each_checkpoint_answers_as_itself(
    trainer: Trainer, newest: int, step: Callable[..., StepResult]
) -> None:
    """Also those that ART does not load: the one that serves need not be the newest."""
    before = number(trainer, newest)
    results = [step(), step(), step()]
    serving, pruned, head = (one.step for one in results)
    trainer.kill()

    committed = tuple(one.as_committed() for one in results)
    assert trainer.check(CheckRequest(committed, (serving, head))).damaged == {}
    steps = (newest, serving, pruned, head)
    assert [number(trainer, one) for one in steps] == [before + n * MOVED for n in range(4)]

    shutil.rmtree(folder(trainer, pruned))  # by a command, in another process
    (folder(trainer, serving) / "adapter_model.safetensors").write_bytes(b"\0" * 80)
    assert list(trainer.check(CheckRequest(committed, (serving, head))).damaged) == [serving]
    with pytest.raises(openai.NotFoundError):
        said(trainer, pruned)
    with pytest.raises(openai.InternalServerError, match="not what was committed"):
        said(trainer, serving)
    assert number(trainer, head) == before + 3 * MOVED


def test_the_next_step_starts_from_the_parent_of_a_dead_branch(
    trainer: Trainer, newest: int, step: Callable[..., StepResult]
) -> None:
    """No number comes again, and nobody is answered by a dead one's name."""
    before = number(trainer, newest)
    first, second = step(), step()
    dead = (second.step, first.step)

    assert trainer.discard_branch(newest, dead, "dead-a").step == second.step
    assert trainer.discard_branch(newest, dead, "dead-b").step == second.step, "done once"
    with pytest.raises(openai.InternalServerError, match="not what was committed"):
        said(trainer, second.step)
    assert number(trainer, newest) == before
    made = step(parent_step=newest, learning_rate=2 * RATE)

    assert made.step == second.step + 1
    assert number(trainer, made.step) == before + 2 * MOVED
    aside = folder(trainer, newest).parent.with_name("set-aside")
    assert (aside / "dead-a").is_dir()
    assert not (aside / "dead-b").exists()
