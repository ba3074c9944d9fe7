"""`babylon-tasks up`: everything with one command, and nothing left of it afterwards."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest
from acceptance.harness import until
from databases import servers_folder


class Up:
    """A running `up`, in the folder and session of its own that a terminal would give it."""

    def __init__(self, home: Path, environment: dict[str, str], *options: str) -> None:
        self.home = home
        self.environment = os.environ | environment
        # Files are named relative to the command's folder; the checkout is found from anywhere.
        self.environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "babylon_tasks",
                "up",
                "--data-dir",
                str(home / "data"),
                *options,
            ],
            cwd=home,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.output = ""
        self.read("running; Ctrl-C stops everything")
        log = self.data / "gpu-worker.log"
        until("the policy is served", lambda: "trainer.started" in log.read_text("utf-8"))
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def read(self, until_said: str) -> None:
        """Read on until that is said."""
        assert self.process.stdout is not None
        while until_said not in self.output:
            line = self.process.stdout.readline()
            assert line, f"up ended with {self.process.wait()}: {self.output}"
            self.output += line

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def generated(self) -> dict[str, str]:
        """The content of up.env."""
        lines = (self.data / "up.env").read_text("utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def ports(self) -> list[int]:
        """Every port that was printed."""
        return [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", self.output)]

    def address(self, name: str) -> str:
        found = re.search(rf"^{name}: (\S+)", self.output, re.M)
        assert found, self.output
        return found[1].rstrip(",")

    def other(self, *arguments: str) -> str:
        """What another command prints; only up.env has the addresses of this stack."""
        return self.python("babylon_tasks", *arguments)

    def python(self, module: str, *arguments: str) -> str:
        """The same for any module that can be run."""
        script = 'set -a; . data/up.env; set +a; exec "$0" -m "$@"'
        return subprocess.run(
            ["sh", "-c", script, sys.executable, module, *arguments],
            cwd=self.home,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout

    def end(self, *signals: signal.Signals) -> str:
        """Signal the whole foreground group, as a terminal does; returns what it printed then."""
        for number in signals:
            os.killpg(self.process.pid, number)
        rest, _ = self.process.communicate(timeout=90)
        return rest

    def assert_all_gone(self) -> None:
        until("nobody is left", lambda: not [p for p in self.family if lives(p)])
        assert [port for port in self.ports if listens(port)] == []

    def clean(self) -> None:
        if self.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self.end(signal.SIGTERM)
        for process in self.family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def asked(address: str, path: str, login: str | None = None) -> int:
    """The HTTP status of a request with a login, or with none."""
    headers = {}
    if login is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    with closing(HTTPConnection(address.removeprefix("http://"), timeout=60)) as connection:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status


@pytest.fixture
def home() -> Iterator[Path]:
    """Open to the servers' unprivileged user, unlike tmp_path."""
    made = servers_folder()
    yield made
    shutil.rmtree(made)


def test_up_alone_gives_other_commands_its_addresses_and_ctrl_c_leaves_nothing(
    home: Path, tiny_model: Path
) -> None:
    environment = {"BABYLON_BASE_MODEL": str(tiny_model), "BABYLON_BACKEND": "cpu"}
    first = Up(home, environment)
    try:
        assert (first.data / "up.env").stat().st_mode & 0o777 == 0o600
        for name in ("DATABASE_URL", "REDIS_URL"):
            password = first.generated[name].rpartition("@")[0].rpartition(":")[2]
            assert len(password) > 20
            assert password not in first.output
        assert first.generated["BABYLON_INFERENCE_API_KEY"] not in first.output
        for process in first.family:
            for name in (
                "FLOWER_BASIC_AUTH",
                "BABYLON_DASHBOARD_LOGIN",
                "BABYLON_INFERENCE_API_KEY",
            ):
                assert first.generated[name] not in " ".join(process.cmdline()), "it shows in `ps`"

        standing = json.loads(first.other("status", "--json"))
        assert standing["lineage"]["inference_base_url"] == first.address("inference")
        logins = re.findall(r"login: (\S+)", first.output)
        for name, path, login in zip(("Flower", "dashboard"), ("/tasks", "/"), logins, strict=True):
            address = first.address(name)
            until(f"{name} answers", lambda at=address: listens(int(at.rpartition(":")[2])))
            assert asked(address, path, login) == 200
            assert asked(address, path) == 401

        before = first.generated
        assert before["BABYLON_BACKEND"] == "cpu"
        # Twice, as whoever is impatient does.
        assert "stopped" in first.end(signal.SIGINT, signal.SIGINT)
        assert first.process.returncode == 0
        first.assert_all_gone()
        assert not (first.data / "up.env").exists()
    finally:
        first.clean()

    again = Up(home, environment, "--play")
    try:
        for name in ("Postgres", "Redis"):
            assert again.address(name) == first.address(name)
        for name in ("FLOWER_BASIC_AUTH", "BABYLON_INFERENCE_API_KEY"):
            assert again.generated[name] == before[name], "whoever had it has it still"
        again.read("\n2025-01-")  # agents have played an hour, and its window is finished
        assert "no answer" not in again.output, "they asked before the trainer was back"
        played = json.loads(again.other("windows", "list", "--json"))["windows"]
        assert played[-1]["trajectories"] == 16 * 8, "the oldest: a later one may be half written"
        again.end(signal.SIGHUP)  # the terminal is closed
        assert again.process.returncode == 0
    finally:
        again.clean()
    again.assert_all_gone()


def test_up_uses_what_is_the_operators_own_and_says_none_of_it(
    babylon_database_url: str, redis_url: str, tiny_model: Path, home: Path
) -> None:
    own = {
        "REDIS_URL": redis_url,
        "BABYLON_INFERENCE_API_KEY": "planted-inference-key",
        "FLOWER_BASIC_AUTH": "operator:planted-password",
        "BABYLON_DATA_DIR": str(home / "checkpoints"),
    }
    (home / "settings.env").write_text("".join(f"{name}={value}\n" for name, value in own.items()))
    running = Up(
        home,
        {
            "DATABASE_URL": babylon_database_url,
            "BABYLON_BASE_MODEL": str(tiny_model),
            "BABYLON_BACKEND": "cpu",
            "BABYLON_ENV_FILE": "settings.env",
        },
    )
    try:
        # What is in the file of settings stays there alone.
        assert not set(own) & running.generated.keys()
        assert running.generated["DATABASE_URL"] == shlex.quote(babylon_database_url)
        assert running.generated["BABYLON_ENV_FILE"] == str(home / "settings.env")
        for secret in ("planted", *(re.findall(r":([^:@]+)@", babylon_database_url + redis_url))):
            assert secret not in running.output
        assert (home / "checkpoints" / "trainer.log").exists()
        assert not (running.data / "postgres").exists()
        flower = running.address("Flower")
        until("Flower answers", lambda: listens(int(flower.rpartition(":")[2])))
        assert asked(flower, "/tasks", "operator:planted-password") == 200

        found = json.loads(running.other("doctor", "--json"))["findings"]
        outcomes = {finding["check"]: finding["outcome"] for finding in found}
        parts = ("schema", "lineage", "beat", "queue cpu", "queue gpu.babylon", "queue upkeep")
        assert {part: outcomes[part] for part in parts} == dict.fromkeys(parts, "ok")
        pongs = running.python("celery", "-A", "babylon_tasks", "inspect", "ping")
        for worker in ("celerybeat@", "cpu@", "gpu.babylon@"):
            assert re.search(rf"{worker}\S+: OK", pongs), pongs

        refused = subprocess.run(
            running.process.args,  # type: ignore[arg-type]
            cwd=home,
            env=running.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert refused.returncode == 3
        assert f"is in use by the running process {running.process.pid}" in refused.stderr

        os.kill(running.process.pid, signal.SIGTERM)
        rest, _ = running.process.communicate(timeout=90)
        assert (running.process.returncode, "stopped" in rest) == (0, True)
        until("nobody is left", lambda: not [p for p in running.family if lives(p)])
        for log in running.data.glob("*.log"):
            assert "planted" not in log.read_text("utf-8"), log.name
    finally:
        running.clean()


@pytest.mark.long
@pytest.mark.contract("7a46248b")
def test_workers_of_a_killed_up_end_by_themselves(
    babylon_database_url: str, redis_url: str, tiny_model: Path, home: Path
) -> None:
    running = Up(
        home,
        {
            "DATABASE_URL": babylon_database_url,
            "REDIS_URL": redis_url,
            "BABYLON_BASE_MODEL": str(tiny_model),
            "BABYLON_BACKEND": "cpu",
        },
    )
    try:
        assert len(running.family) >= len(("beat", "cpu", "gpu", "flower", "trainer"))
        running.process.kill()
        running.process.wait(60)
        until("nobody is left", lambda: not [p for p in running.family if lives(p)])
    finally:
        running.clean()


def test_invented_agents_do_not_play_in_somebodys_database(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "babylon_tasks", "up", "--play", "--data-dir", str(tmp_path / "up")],
        env={**os.environ, "DATABASE_URL": "postgresql://root:planted-secret@h/babylon"},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert "--play: DATABASE_URL is set" in ended.stderr
    assert "planted" not in ended.stderr
    assert not (tmp_path / "up").exists()


def test_up_refuses_a_database_url_it_cannot_read_in_one_line_without_a_secret(
    redis_url: str, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "babylon_tasks", "up", "--data-dir", str(tmp_path / "up")],
        env={
            **os.environ,
            "DATABASE_URL": "mysql://root:planted-secret@h/b",
            "REDIS_URL": redis_url,
            "BABYLON_INFERENCE_API_KEY": "planted-key",
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    output = ended.stdout + ended.stderr
    assert ended.returncode == 2, output
    assert "DATABASE_URL must begin with postgresql://" in output
    assert "Traceback" not in output
    assert "input_value" not in output
    assert "planted" not in output
