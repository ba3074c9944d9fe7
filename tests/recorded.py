"""Groups of recorded answers as the data layer hands them to a trainer, and settings for one.

The token ids are the real tokenizer's; ``AS_BASE`` is about what the tiny random model gives
any token, so that importance ratios begin near 1.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from babylon_tasks.records import Group, LlmCall, Member
from babylon_tasks.settings import Settings
from babylon_tasks.training.groups_file import write_groups
from babylon_tasks.training.protocol import TrainRequest

YES, NO = "Yes", "No"
IDS = {YES: (10539, 2), NO: (5230, 2)}  # the word and the end of the turn
AS_BASE = -math.log(49152)
SECRETS = {
    "DATABASE_URL": "postgresql://babylon:word-of-postgres@127.0.0.1:1/none",
    "REDIS_URL": "redis://:word-of-redis@127.0.0.1:1/0",
    "WANDB_API_KEY": "word-of-wandb",
    "BABYLON_INFERENCE_API_KEY": "word-of-inference",
    "babylon_inference_api_key": "word-of-inference",  # settings are read in any case
}
# Not the machine's choice: a card gives other figures. `TESTS_TORCH_DEVICE=cuda` tries one.
TORCH_DEVICE = os.environ.get("TESTS_TORCH_DEVICE", "cpu")
QUESTION = "ACME is down 4% and falling. Will ACME close higher? Answer YES or NO."


def prompt(question: str = QUESTION) -> tuple[tuple[str, str], ...]:
    """The messages that an agent sends."""
    return (("system", "You trade on prediction markets."), ("user", question))


def call(answer: str = YES, question: str = QUESTION, **fields: Any) -> LlmCall:
    """A recorded call with logprobs and token ids; ``fields`` replace any of it."""
    return LlmCall(
        **{
            "model": "tests@0",
            "messages": prompt(question),
            "response": answer,
            "temperature": 1.0,
            "policy_step": 0,
            "logprobs": (AS_BASE,) * len(IDS.get(answer, ())),
            "token_ids": IDS.get(answer),
            **fields,
        }
    )


def without_logprobs(one: LlmCall) -> LlmCall:
    """The same call as the first system recorded it."""
    return msgspec.structs.replace(one, logprobs=None, token_ids=None)


def group(
    members: Sequence[tuple[LlmCall | Sequence[LlmCall], float]], key: str = "market"
) -> Group:
    """A group of (call or calls, reward)."""
    return Group(
        "2026-01-31T09:00",
        key,
        tuple(
            Member(f"{key}-{n}", reward, (calls,) if isinstance(calls, LlmCall) else tuple(calls))
            for n, (calls, reward) in enumerate(members)
        ),
    )


def yes_pays(question: str = QUESTION, *, yes: float = 1.0, no: float = 0.0) -> Group:
    """Two of each answer to one question."""
    return group([(call(YES, question), yes), (call(NO, question), no)] * 2, question)


def many(count: int, *, yes: float = 1.0, no: float = 0.0) -> list[Group]:
    """Groups about different questions, in all of which the same answer pays."""
    return [yes_pays(f"Question {n}: {QUESTION}", yes=yes, no=no) for n in range(count)]


def groups_file(folder: Path, groups: Sequence[Group]) -> str:
    """Write the file that a request names."""
    path = folder / "groups.json"
    write_groups(path, groups)
    return str(path)


def train_request(folder: Path, groups: Sequence[Group], **fields: Any) -> TrainRequest:
    """A request for a step on these groups, from the base model by default."""
    return TrainRequest(
        **{
            "base_step": 0,
            "manifest_hash": "manifest",
            "groups_path": groups_file(folder, groups),
            "learning_rate": 1e-2,
            "kl_coefficient": 0.0,
            "seed": 0,
            "packed_sequence_length": 128,
            **fields,
        }
    )


OF_WANDB: dict[str, Any] = {"backend": "serverless", "base_model": "OpenPipe/Qwen3-14B-Instruct"}


def trainer_settings(data_dir: Path, **fields: Any) -> Settings:
    """Settings of a worker with a trainer; the database is never asked."""
    return Settings(
        **{
            "DATABASE_URL": "postgresql://nobody:no-word@127.0.0.1:1/none",
            "WANDB_API_KEY": None,
            "backend": "cpu",
            "torch_device": TORCH_DEVICE,
            "lineage": "tests",
            "data_dir": data_dir,
            "inference_port": 0,
            "packed_sequence_length": 128,
            "trainer_silence_timeout_seconds": 120,
            **fields,
        }
    )


def settings_at_wandb(data_dir: Path, url: str, key: str, **fields: Any) -> Settings:
    """The same of a trainer of backend ``serverless``; its peer listens at ``url``."""
    return trainer_settings(data_dir, WANDB_API_KEY=key, wandb_base_url=url, **OF_WANDB, **fields)
