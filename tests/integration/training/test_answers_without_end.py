"""A judge's server and W&B's may answer with what they like: of each answer so much is read."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from endless_peer import MEGABYTE, EndlessPeer
from recorded import trainer_settings

from babylon_tasks.errors import BabylonTasksError
from babylon_tasks.training.bounded_answers import MOST_BYTES, AnswerRefused, bound_answers
from babylon_tasks.training.judge import Judge
from babylon_tasks.training.judge_process import GradeRequest
from babylon_tasks.training.supervisor import Trainer

KEY = "word-of-the-server"
# Beside what the client has read, what the kernels of both ends hold.
MOST_POURED = MOST_BYTES + 16 * MEGABYTE
TOO_LONG = "127.0.0.1 answered with more than 8 MiB"


class Transport(httpx.AsyncHTTPTransport):
    """httpx's own in this process stays as it is."""


bound_answers(Transport)


async def ask(url: str) -> bytes:
    async with httpx.AsyncClient(transport=Transport(), follow_redirects=True) as client:
        return (await client.post(url)).content


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        *((kind, TOO_LONG) for kind in ("answer", "error", "redirect", "length")),
        ("packed", "packed its answer"),
        ("heads", ""),  # httpx itself bounds it
    ],
)
def test_each_kind_of_answer(kind: str, why: str) -> None:
    with EndlessPeer(kind) as peer, pytest.raises(httpx.TransportError) as raised:
        asyncio.run(ask(peer.url))

    assert why in str(raised.value)
    assert isinstance(raised.value, AnswerRefused) == bool(why)
    assert len(peer.poured) == 1
    assert peer.poured[0] <= MOST_POURED


@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "anthropic/claude-3-haiku"])
def test_a_judges_answer(model: str, tmp_path: Path) -> None:
    with EndlessPeer("answer") as peer:
        settings = trainer_settings(
            tmp_path,
            scorer="ruler",
            ruler_model=model,
            ruler_base_url=peer.url,
            ruler_api_key=KEY,
            ruler_timeout_seconds=120,
        )
        conversation = (("user", "ACME?"), ("assistant", "YES"))
        with Judge(settings, tick=lambda: None) as judge:
            [answer] = judge.answers([GradeRequest(1, (conversation, conversation))])

    assert (answer.grades, answer.failure) == ((), "no_answer")
    assert TOO_LONG in answer.detail
    assert peer.poured
    assert max(peer.poured) <= MOST_POURED


def test_wandbs_answer(tmp_path: Path) -> None:
    with EndlessPeer("answer") as peer:
        settings = trainer_settings(
            tmp_path,
            backend="serverless",
            base_model="OpenPipe/Qwen3-14B-Instruct",
            WANDB_API_KEY=KEY,
            wandb_base_url=peer.url,
        )
        with Trainer(settings) as trainer, pytest.raises(BabylonTasksError) as raised:
            trainer.ready()

    assert TOO_LONG in str(raised.value)
    assert peer.poured
    assert max(peer.poured) <= MOST_POURED
