"""What agents are told to ask before anything has been trained is what W&B knows."""

from __future__ import annotations

import asyncio

import psutil
import pytest
from openai import AsyncOpenAI
from scoring_runs import MakeSettings
from wandb_peer import WandbPeer

from babylon_tasks.pipeline.serve import serve
from babylon_tasks.training.supervisor import Trainer


@pytest.mark.contract(None)
def test_the_first_agents_ask_for_step_0_by_its_name_at_wandb(
    make_settings: MakeSettings, remote: Trainer, peer: WandbPeer
) -> None:
    found = serve(make_settings(), remote)

    assert found.inference_name == "wandb-artifact:///default-entity/babylon/tests:step0"
    assert found.base_url is not None

    async def ask() -> str:
        async with AsyncOpenAI(base_url=found.base_url, api_key=peer.key) as client:
            answer = await client.chat.completions.create(
                model=found.inference_name, messages=[{"role": "user", "content": "Yes or no?"}]
            )
            return answer.model

    assert asyncio.run(ask()) == found.inference_name


def test_a_trainer_whose_model_is_at_wandb_does_without_torch(remote: Trainer) -> None:
    remote.ready()
    loaded = [one.path for one in psutil.Process(remote.pid).memory_maps()]

    assert any("/pydantic_core/" in path for path in loaded)
    assert not any("/torch/" in path for path in loaded)
