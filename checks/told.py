"""What units are told fits the settings: names, secrets, values; and each would start with it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from pydantic import SecretStr

from babylon_tasks.processes import ProcessName
from babylon_tasks.settings import SECRETS_DIR, Settings, checked, variable
from checks.faults import Fault
from checks.units import Unit

SECRETS = frozenset(
    variable(name)
    for name, field in Settings.model_fields.items()
    if field.annotation in (SecretStr, SecretStr | None)
)
VARIABLES = frozenset({SECRETS_DIR, *map(variable, Settings.model_fields)})
# What others read: libraries below us, and the shell's own.
OTHERS = frozenset({"HF_HUB_OFFLINE", "XDG_CACHE_HOME", "HOME", "PATH", "POD_NAMESPACE"})
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_ANY = {  # a value of the right form for each secret
    "DATABASE_URL": "postgresql://user:password@postgres/babylon",
    "REDIS_URL": "redis://:password@redis:6379/0",
    "FLOWER_BASIC_AUTH": "user:made-up-password",
}


def unknown(names: Iterator[str], prefix: str = "") -> Iterator[str]:
    """What is wrong with names that nobody reads."""
    for name in names:
        if name in VARIABLES | OTHERS or (prefix and not name.startswith(prefix)):
            continue
        near = get_close_matches(name, VARIABLES, 1)
        yield f"there is no setting {name}" + (f"; did you mean {near[0]}?" if near else "")


def named(unit: Unit) -> Iterator[Fault]:
    """Everything that a unit is told has a name that somebody reads."""
    for what in unknown(iter(unit.environment)):
        yield unit.fault(what)
    for name in unit.secret_files:
        if name.upper() not in SECRETS:
            near = get_close_matches(name.upper(), SECRETS, 1)
            yield unit.fault(
                f"nobody reads the secret's file {name}"
                + (f"; did you mean {near[0].lower()}?" if near else "")
            )
    folder = unit.environment.get(SECRETS_DIR)
    if folder is None:
        yield unit.fault(f"needs {SECRETS_DIR}: where its secrets are mounted")
    elif not unit.secret_files:
        yield unit.fault(f"{SECRETS_DIR} is {folder}, where no secret is mounted")


def fits(unit: Unit, settings: Settings) -> Iterator[Fault]:
    """With what it is told a process can do its work in a container."""
    yield from _reachable(unit, settings)
    yield from _writes(unit, settings)


def _reachable(unit: Unit, settings: Settings) -> Iterator[Fault]:
    hosts = {"metrics_host": unit.process is not None and unit.process != ProcessName.FLOWER}
    hosts["flower_host"] = unit.process == ProcessName.FLOWER
    hosts["inference_host"] = serves(unit, settings)
    for field, matters in hosts.items():
        if matters and getattr(settings, field) in _LOOPBACK:
            yield unit.fault(
                f"{variable(field)} is {getattr(settings, field)}: nothing outside of the "
                "container would reach it; set 0.0.0.0"
            )
    if unit.process == ProcessName.FLOWER and settings.flower_basic_auth is None:
        yield unit.fault("has no secret flower_basic_auth: Flower does not start without a login")
    if unit.process is not None and "redis_url" not in [f.lower() for f in unit.secret_files]:
        yield unit.fault("has no secret redis_url")


def _writes(unit: Unit, settings: Settings) -> Iterator[Fault]:
    """The root of its file system is read-only: what it keeps must be on a volume."""
    kept = {}
    if unit.process == ProcessName.GPU_WORKER:
        kept["data_dir"] = settings.data_dir
    if unit.process == ProcessName.FLOWER and settings.flower_db is not None:
        kept["flower_db"] = settings.flower_db
    for field, path in kept.items():
        if not any(path.is_relative_to(mount) for mount in unit.mounts):
            yield unit.fault(
                f"{variable(field)} is {path}, where no volume is mounted: it cannot be written"
            )


def serves(unit: Unit, settings: Settings) -> bool:
    """Whether agents are answered from here."""
    return unit.process == ProcessName.GPU_WORKER and settings.backend in ("cpu", "local")


def settings_of(unit: Unit, image: Mapping[str, str]) -> Settings:
    """What a unit's process would read, its secrets made up; raises SettingsError.

    ``image`` is what its image sets.
    """
    with tempfile.TemporaryDirectory(prefix="babylon-tasks-secrets-") as folder:
        for name in unit.secret_files:
            (Path(folder) / name).write_text(_ANY.get(name.upper(), "made-up-secret"), "utf-8")
        ours = {k: v for k, v in {**image, **unit.environment}.items() if k in VARIABLES}
        with _environment({**ours, SECRETS_DIR: folder}):
            return checked(_env_file=None)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """This process's environment, for as long as settings are read from it."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
