"""What `pip install babylon-tasks` without an extra gives an agent: enough to ask and to record.

Everything that its dependencies do not bring is hidden from a Python of the test's own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from documents import ROOT
from factories import WINDOW

import babylon_tasks
from babylon_tasks.db import lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings

_HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

HIDDEN = set(%r)
sys.meta_path.insert(0, Hidden())
"""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _brought(*requirements: str) -> set[str]:
    """The distributions that these requirements bring, without optional ones."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name = _normal(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])
        extras = re.search(r"\[(.+?)\]", requirement)
        if name in found:
            continue
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another Python or system
        found.add(name)
        wanted = extras[1].split(",") if extras else []
        for need in needs:
            extra = re.search(r"""extra == ['"](.+?)['"]""", need)
            if extra is None or extra[1] in wanted:
                waiting.append(need)
    return found


@pytest.fixture(scope="module")
def agents_python(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Python that sees only what the base install brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    brought = _brought(*project["dependencies"])
    hidden = {
        module
        for module, owners in metadata.packages_distributions().items()
        if not {_normal(owner) for owner in owners} & {*brought, "babylon-tasks"}
    }
    assert {"celery", "redis", "typer", "rich", "flower", "torch", "art", "openai"} <= hidden
    folder = tmp_path_factory.mktemp("agents")
    (folder / "sitecustomize.py").write_text(_HIDE % sorted(hidden))
    return os.environ | {"PYTHONPATH": f"{folder}:{ROOT}"}


def python(
    environment: dict[str, str], *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment | variables,
        cwd=Path(environment["PYTHONPATH"].partition(":")[0]),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.contract("today")
def test_an_agent_asks_what_serves_and_records(
    agents_python: dict[str, str], settings: Settings, connection: Connection
) -> None:
    lineages.ensure(connection, settings)
    lineages.announce(connection, "babylon", backend="cpu", base_url="http://127.0.0.1:1/v1")
    done = python(
        agents_python,
        "-c",
        "from babylon_tasks import Recorder, serving\n"
        "policy = serving()\n"
        "with Recorder() as recorder:\n"
        f"    with recorder.record('agent-1', window='{WINDOW}') as trajectory:\n"
        "        trajectory.step(pnl=0)\n"
        "print(policy.inference_name, policy.base_url, recorder.recorded)\n",
        DATABASE_URL=settings.database_url.get_secret_value(),
        BABYLON_FLOWER_PORT="abc",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["babylon@0", "http://127.0.0.1:1/v1", "1"]
    row = connection.execute('SELECT "agentId" FROM trajectories').fetchone()
    assert row == ("agent-1",)


def test_importing_the_package_imports_nothing_else(agents_python: dict[str, str]) -> None:
    done = python(
        agents_python,
        "-c",
        "import sys, babylon_tasks\n"
        "print(*(set(babylon_tasks.__all__) - set(dir(babylon_tasks))))\n"
        "print(*(name for name in sys.modules if name.startswith(('babylon_tasks.', 'pydantic',"
        " 'psycopg', 'msgspec', 'structlog', 'tenacity'))))",
    )
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_a_client_that_is_not_installed_is_named_with_the_command(
    agents_python: dict[str, str],
) -> None:
    done = python(
        agents_python,
        "-c",
        "from babylon_tasks import Serving\n"
        "Serving(0, 'babylon@0', 'http://127.0.0.1:1/v1', 'cpu').openai_client()",
        DATABASE_URL="postgresql://h/b",
    )
    assert "NotInstalled: openai is not installed here" in done.stderr
    assert "pip install 'babylon-tasks[openai]'" in done.stderr


def test_the_command_line_that_is_not_installed_says_so_in_one_line(
    agents_python: dict[str, str],
) -> None:
    done = python(agents_python, "-m", "babylon_tasks", "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "run `pip install 'babylon-tasks[server]'`" in done.stderr


def test_the_public_names_are_these() -> None:
    names = ["Recorder", "Serving", "__version__", "openai_client", "serving"]
    assert babylon_tasks.__all__ == names
    assert {name: getattr(babylon_tasks, name).__module__ for name in names if name[0] != "_"} == {
        "Recorder": "babylon_tasks.recorder.recorder",
        "Serving": "babylon_tasks.registry.serving",
        "openai_client": "babylon_tasks.registry.agent_api",
        "serving": "babylon_tasks.registry.agent_api",
    }
    with pytest.raises(AttributeError, match="no attribute 'Recording'"):
        babylon_tasks.Recording  # noqa: B018
