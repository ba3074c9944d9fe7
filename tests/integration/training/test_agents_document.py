"""Every agent of docs/agents.md is run as it is written there, and what it leaves is trainable."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from documents import ROOT, blocks, executed_by
from endpoint import Endpoint
from gateways import KEY, opened
from node import TYPESCRIPT, run

from babylon_tasks.db.session import Connection
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.decode import decode
from babylon_tasks.records import Trajectory
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract("today")

DOCUMENT = ROOT / "docs/agents.md"
COMPARISON = ROOT / "docs/comparison.md"
LINES = 20
WORLD = """
def questions():
    return ["Will ACME close higher?"]

def trade(question, answer):
    return 10.0
"""


@pytest.fixture
def gateway(
    serve: Callable[..., Endpoint],
    make_settings: Callable[..., Settings],
    connection: Connection,
    tmp_path: Path,
) -> Iterator[str]:
    """The address of a gateway to which ``babylon`` is step 0 of a real model."""
    trainer = f"{serve(lineage='babylon').url}/v1"
    with opened(make_settings, connection, trainer, tmp_path / "calls", "babylon") as url:
        yield url


@pytest.fixture
def environment(gateway: str, database_url: str) -> dict[str, str]:
    """An agent's environment."""
    return {"OPENAI_BASE_URL": gateway, "OPENAI_API_KEY": KEY, "DATABASE_URL": database_url}


def example(language: str) -> str:
    """The document's only block in that language, of few lines."""
    (block,) = (block for block in blocks(DOCUMENT) if block.language == language)
    assert len([line for line in block.text.splitlines() if line.strip()]) <= LINES
    return block.text


def recorded(connection: Connection, settings: Settings) -> Trajectory:
    """The only trajectory that was written, decoded."""
    (window,) = connection.execute('SELECT "windowId" FROM trajectories').fetchone() or ("",)
    ((raw,),) = stream_window(connection, window, settings)
    found = decode(raw)
    assert isinstance(found, Trajectory), found
    return found


def is_exact(found: Trajectory) -> None:
    (call,) = found.calls
    assert (found.agent_id, call.policy_step) == ("agent-7", 0)
    assert [role for role, _ in call.messages] == ["system", "user"]
    assert call.logprobs is not None
    assert call.token_ids is not None
    assert len(call.logprobs) == len(call.token_ids) == call.completion_tokens
    assert (call.temperature, call.top_p) == (1, 1)
    assert call.finish_reason in ("stop", "length")
    assert found.actions[0].success


def test_the_agent_in_python_records_what_was_sampled(
    environment: dict[str, str], connection: Connection, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "agent.py").write_text(example("python"), "utf-8")
    done = subprocess.run(
        [sys.executable, "agent.py"],
        cwd=tmp_path,
        env={**environment, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    is_exact(recorded(connection, settings))


def test_the_toy_agent_of_the_comparison_records(
    environment: dict[str, str], connection: Connection, settings: Settings, tmp_path: Path
) -> None:
    (listing,) = (block.text for block in blocks(COMPARISON) if "Recorder" in block.text)
    (tmp_path / "world.py").write_text(WORLD, "utf-8")
    (tmp_path / "agent.py").write_text(listing, "utf-8")
    done = subprocess.run(
        [sys.executable, "agent.py"],
        cwd=tmp_path,
        env={**environment, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = recorded(connection, settings)
    (call,) = found.calls
    assert (found.agent_id, call.policy_step, call.logprobs) == ("agent-7", 0, None)
    assert found.actions[0].success


def test_the_agent_in_typescript_records_what_was_sampled(
    environment: dict[str, str], connection: Connection, settings: Settings, tmp_path: Path
) -> None:
    # As `npm install` of the built package leaves it.
    modules = tmp_path / "agent/node_modules"
    package = modules / "babylon-tasks"
    package.mkdir(parents=True)
    shutil.copy(TYPESCRIPT / "package.json", package)
    build = ("--project", "tsconfig.build.json", "--outDir", package / "dist")
    run("node_modules/typescript/bin/tsc", *build)
    for installed in (TYPESCRIPT / "node_modules").iterdir():
        (modules / installed.name).symlink_to(installed)
    (tmp_path / "agent/agent.mts").write_text(example("ts"), "utf-8")
    strict = ("--noEmit", "--strict", "--module", "nodenext", "--target", "es2024")
    compiler = TYPESCRIPT / "node_modules/typescript/bin/tsc"
    agent = tmp_path / "agent"
    run(compiler, *strict, "--types", "node", "--skipLibCheck", "agent.mts", folder=agent)
    run("agent.mts", folder=agent, condition=None, **environment)
    is_exact(recorded(connection, settings))


def test_babylon_as_it_is_follows_what_serves_by_its_environment_alone(
    serve: Callable[..., Endpoint],
    make_settings: Callable[..., Settings],
    connection: Connection,
    tmp_path: Path,
) -> None:
    said: dict[str, str] = {}
    for block in executed_by(__file__):
        said |= exported(block.text)
    temperature = float(said.pop("BABYLON_GATEWAY_TEMPERATURE"))  # the gateway's own
    trainer = f"{serve(lineage='babylon').url}/v1"
    calls = tmp_path / "calls"
    with opened(
        make_settings, connection, trainer, calls, "babylon", gateway_temperature=temperature
    ) as url:
        given = {"http://gateway:8200/v1": url, "KEY": KEY}
        named = {name: given.get(value, value) for name, value in said.items()}
        assert len(named) == 4
        assert run("test/babylon.ts", **named).split() == ["babylon@0", "babylon@0"]
    # It asked at 0.7; what was sampled can be learned from (test_captured_loop.py).
    captured = connection.execute("SELECT sampling -> 'temperature' FROM training.calls").fetchall()
    assert captured == [(1,), (1,)]


def exported(script: str) -> dict[str, str]:
    """The variables that a script sets."""
    done = subprocess.run(
        ["bash", "-ec", f"{script}\nenv"], env={}, capture_output=True, text=True, check=True
    )
    said = dict(line.split("=", 1) for line in done.stdout.splitlines())
    return {name: value for name, value in said.items() if name.startswith(("GROQ_", "BABYLON_"))}
