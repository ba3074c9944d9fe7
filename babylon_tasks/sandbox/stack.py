"""The whole system on one machine: embedded servers and every process, started and stopped.

Where DATABASE_URL or REDIS_URL is set, that service is the operator's and is not touched.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from babylon_tasks import processes
from babylon_tasks.errors import SandboxError
from babylon_tasks.processes import PROCESSES, ProcessName
from babylon_tasks.sandbox.kept_secret import kept_secret
from babylon_tasks.sandbox.movement import work_of_children
from babylon_tasks.sandbox.servers import EmbeddedPostgres, EmbeddedValkey, free_port
from babylon_tasks.settings import Settings, checked

_STOP_SECONDS = 15.0  # beyond the time that a running task gets
# Settings that the processes need, generated where they are not set. Secrets are kept.
GENERATED: Mapping[str, Callable[[Path], str]] = {
    "BABYLON_DATA_DIR": lambda home: str(home / "models"),
    "BABYLON_INFERENCE_API_KEY": lambda home: kept_secret(home / "inference.key"),
    "BABYLON_INFERENCE_PORT": lambda _: str(free_port()),
    "BABYLON_GATEWAY_SPOOL_DIR": lambda home: str(home / "calls"),
    "BABYLON_GATEWAY_PORT": lambda _: str(free_port()),
    "BABYLON_FLOWER_PORT": lambda _: str(free_port()),
    "FLOWER_BASIC_AUTH": lambda home: f"babylon:{kept_secret(home / 'flower.password')}",
    "BABYLON_DASHBOARD_PORT": lambda _: str(free_port()),
    "BABYLON_DASHBOARD_LOGIN": lambda home: f"babylon:{kept_secret(home / 'dashboard.password')}",
}
# They serve no metrics.
_UNMEASURED = (ProcessName.FLOWER, ProcessName.DASHBOARD)
_TETHER = (sys.executable, "-m", "babylon_tasks.sandbox.parent_death")


@dataclass
class Process:
    """One process of the system, leader of a group of its own, logging to a file."""

    name: str
    child: subprocess.Popen[bytes]
    log: Path


class Stack:
    """Beat, two workers, Flower, the gateway and the dashboard over Postgres and Redis.

    Use as a context manager. What ``options`` do not set is generated: passwords that a restart
    finds again, free ports, a folder for checkpoints in ``data_dir``. Metrics are served on
    BABYLON_METRICS_PORT and the ports after it, or on free ones where it is 0. No secret appears in
    arguments. The processes end with the one that started them, however it ends.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        options: Mapping[str, str] | None = None,
        database_url: str | None = None,
        redis_url: str | None = None,
        durable: bool = True,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.processes: list[Process] = []
        self.metrics_ports: dict[str, int] = {}
        self.variables: dict[str, str] = {}
        self._options = dict(options or {})
        self._database_url = database_url
        self._redis_url = redis_url
        self._durable = durable
        self._servers = ExitStack()
        self._environment: dict[str, str] = {}
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """The processes' settings; raises SandboxError before the stack is entered."""
        if self._settings is None:
            raise SandboxError("the stack has not been started")
        return self._settings

    @property
    def flower_port(self) -> int:
        """The port that Flower listens on, also after a restart."""
        return self.settings.flower_port

    @property
    def flower_login(self) -> str:
        """User and password, separated by a colon."""
        return self.variables["FLOWER_BASIC_AUTH"]

    @property
    def flower_url(self) -> str:
        """Flower's address; the login is ``flower_login``."""
        return f"http://127.0.0.1:{self.flower_port}"

    @property
    def dashboard_login(self) -> str:
        """User and password, separated by a colon."""
        return self.variables["BABYLON_DASHBOARD_LOGIN"]

    @property
    def dashboard_url(self) -> str:
        """The dashboard's address; the login is ``dashboard_login``."""
        return f"http://127.0.0.1:{self.settings.dashboard_port}"

    @property
    def gateway_url(self) -> str:
        """The address that agents are given."""
        return f"http://127.0.0.1:{self.settings.gateway_port}/v1"

    def __enter__(self) -> Stack:
        try:
            self._start_servers()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_servers(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if self._database_url is None:
            postgres = EmbeddedPostgres(self.data_dir / "postgres", durable=self._durable)
            self._database_url = self._servers.enter_context(postgres).url
        if self._redis_url is None:
            valkey = EmbeddedValkey(self.data_dir / "valkey", persist=True)
            self._redis_url = self._servers.enter_context(valkey).url
        self.variables = {
            **{n: make(self.data_dir) for n, make in GENERATED.items() if n not in self._options},
            "BABYLON_FLOWER_DB": str(self.data_dir / "flower-tasks"),
            **self._options,
            "DATABASE_URL": self._database_url,
            "REDIS_URL": self._redis_url,
        }
        self._settings = _settings(self.variables)
        self._environment = {**os.environ, **self.variables}
        del self._environment["FLOWER_BASIC_AUTH"]  # for Flower only: `prepare` sets it

    def start_processes(self, names: Sequence[str] = PROCESSES) -> None:
        """Start some of the processes; they find each other through Postgres and Redis."""
        for name in names:
            port = 0 if name in _UNMEASURED else self._metrics_port(name)
            if port:
                self.metrics_ports[name] = port
            watched = self.settings.model_copy(update={"metrics_port": port})
            extra = processes.prepare(ProcessName(name), watched)
            extra["BABYLON_METRICS_PORT"] = str(port)
            self.start(name, self.command(name), extra)

    def _metrics_port(self, name: str) -> int:
        first = self.settings.metrics_port
        return free_port(first + PROCESSES.index(ProcessName(name)) if first else 0)

    def command(self, name: str) -> list[str]:
        """Build the command line of a process; it contains no secret."""
        return processes.command(ProcessName(name), self.settings)

    def start(
        self, name: str, command: list[str], extra: Mapping[str, str] | None = None
    ) -> Process:
        """Start one more process of the system with the stack's environment."""
        log = self.data_dir / f"{name}.log"
        with log.open("ab") as stream:
            child = subprocess.Popen(
                [*_TETHER, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env={**self._environment, **(extra or {})},
                start_new_session=True,
            )
        process = Process(name, child, log)
        self.processes.append(process)
        return process

    def check(self) -> None:
        """Raise SandboxError, with the end of its log, if a process has ended."""
        for process in self.processes:
            if process.child.poll() is not None:
                tail = process.log.read_text("utf-8", "replace").strip().splitlines()[-8:]
                raise SandboxError(
                    f"{process.name} ended with code {process.child.returncode}; "
                    f"the end of {process.log}:\n" + "\n".join(tail)
                )

    def work_seconds(self) -> float:
        """Return the CPU seconds of what the gpu-worker has started: its trainer."""
        workers = [one for one in self.processes if one.name == ProcessName.GPU_WORKER]
        return sum(work_of_children(worker.child.pid) for worker in workers)

    def stop(self) -> None:
        """Stop every process, then the servers; one that does not stop is killed with its group.

        A second Ctrl-C does not interrupt this: it would leave servers behind.
        """
        with _undisturbed():
            try:
                self._stop_processes()
            finally:
                self._servers.close()

    def _stop_processes(self) -> None:
        for process in reversed(self.processes):
            if process.child.poll() is None:
                process.child.send_signal(signal.SIGTERM)
        if not self.processes:
            return
        deadline = time.monotonic() + self.settings.shutdown_seconds + _STOP_SECONDS
        for process in reversed(self.processes):
            with suppress(subprocess.TimeoutExpired):  # killed below with its group
                process.child.wait(timeout=max(0.1, deadline - time.monotonic()))
            _end_group(process.child.pid)
            process.child.wait(timeout=10)
        self.processes.clear()


@contextmanager
def _undisturbed() -> Iterator[None]:
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in signals]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _settings(values: Mapping[str, str]) -> Settings:
    # Built from the same strings that the processes get as their environment.
    prefix = "BABYLON_"
    named = {
        key.removeprefix(prefix).lower() if key.startswith(prefix) else key: value
        for key, value in values.items()
    }
    return checked(**named)


def _end_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return  # no process was left
