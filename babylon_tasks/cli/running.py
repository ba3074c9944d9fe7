"""A stack that runs until Ctrl-C: where its parts are, and its settings for other commands."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from babylon_tasks.addresses import host_and_port
from babylon_tasks.cli.output import say, show
from babylon_tasks.db.session import address
from babylon_tasks.processes import ProcessName
from babylon_tasks.read_settings import ENV_FILE, SECRETS_DIR
from babylon_tasks.settings import given

if TYPE_CHECKING:
    from babylon_tasks.sandbox.followed_log import FollowedLog
    from babylon_tasks.sandbox.stack import Stack


def end_with_the_terminal() -> None:
    """Take the signal that is sent when the terminal is closed for Ctrl-C."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup ignores it
        signal.signal(signal.SIGHUP, signal.default_int_handler)


def watch(stack: Stack, log_of_worker: FollowedLog) -> None:
    """Check the processes until Ctrl-C; why the trainer does not start is said once, as it is."""
    known: set[str] = set()
    try:
        while True:
            stack.check()
            for why in log_of_worker.failed_starts():
                if why not in known:
                    known.add(why)
                    say(f"the trainer did not start, it tries again: {why}")
            time.sleep(1)
    except KeyboardInterrupt:
        say(f"stopping; a running task has {stack.settings.shutdown_seconds:.0f} s to finish")
        raise


def stay(stack: Stack, window: str) -> None:
    """Keep a demo running until Ctrl-C, with what may be tried on it."""
    from babylon_tasks.sandbox.followed_log import FollowedLog

    log_of_worker = FollowedLog(stack.data_dir / f"{ProcessName.GPU_WORKER}.log")
    own = {name: value for name, value in given().items() if name not in stack.variables}
    with announced(stack, own, "cpu", "demo.env"):
        show(f"then: babylon-tasks show {window}  # its best and its worst answer")
        show(f"      babylon-tasks why {window}  # what happened to it, and why")
        show("      babylon-tasks report --html report.html  # how it learned, as a page")
        say("running; Ctrl-C stops everything")
        try:
            watch(stack, log_of_worker)
        except KeyboardInterrupt:
            return


@contextmanager
def announced(stack: Stack, explicit: Mapping[str, str], backend: str, name: str) -> Iterator[None]:
    """Print where everything is, and how other commands come to it while this one runs.

    ``explicit``: what was set by hand; ``name``: that of the file with the settings.
    """
    with settings_file(stack, explicit, name) as file:
        show_addresses(stack, explicit, backend)
        show(f"for other commands: set -a; . {shlex.quote(str(file))}; set +a")
        yield


@contextmanager
def settings_file(stack: Stack, explicit: Mapping[str, str], name: str) -> Iterator[Path]:
    """Write a file that gives other commands this run's settings, and delete it at the end."""
    path = stack.data_dir / name
    path.unlink(missing_ok=True)  # left by a killed run
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(
            f"{name}={shlex.quote(value)}\n"
            for name, value in _for_others(stack.variables, explicit).items()
        )
        file.write(f'PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"\n')
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _for_others(variables: Mapping[str, str], explicit: Mapping[str, str]) -> dict[str, str]:
    """Collect what other commands need: what was generated, and what was given to this one.

    What lies in a file or folder of settings stays there: they are named instead.
    """
    written = {name: value for name, value in variables.items() if name not in explicit}
    for name, value in os.environ.items():
        if name.upper() in explicit:
            written[name.upper()] = value
        elif name in (ENV_FILE, SECRETS_DIR) and value.strip():
            written[name] = str(Path(value).expanduser().absolute())
    return written


def show_addresses(stack: Stack, explicit: Mapping[str, str], backend: str) -> None:
    """Print where everything is."""
    settings = stack.settings
    redis = urlsplit(settings.redis_url.get_secret_value())
    for name, url, setting in (
        ("Flower", stack.flower_url, "FLOWER_BASIC_AUTH"),
        ("dashboard", stack.dashboard_url, "BABYLON_DASHBOARD_LOGIN"),
    ):
        login = f"yours, {setting}" if setting in explicit else stack.variables[setting]
        show(f"{name}: {url}  login: {login}")
    show(f"Postgres: {address(settings)}")
    show(f"Redis: {host_and_port(redis.hostname or 'localhost', redis.port or 6379)}{redis.path}")
    if backend == "serverless":
        show("inference: at W&B; see `babylon-tasks status`")
    else:
        show(
            f"inference: http://{host_and_port(settings.inference_host, settings.inference_port)}"
            "/v1, as soon as the model is loaded"
        )
    show(f"gateway: http://{host_and_port(settings.gateway_host, settings.gateway_port)}/v1")
    for name, port in stack.metrics_ports.items():
        show(f"metrics of {name}: http://{host_and_port(settings.metrics_host, port)}/metrics")
    show(f"logs: {stack.data_dir}/*.log")
