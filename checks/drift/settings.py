"""Check that units get valid settings: names, secrets, values; each would start with them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from unittest.mock import patch

from pydantic import SecretStr

from babylon_tasks.processes import OWN_PROGRAMS, ProcessName, withheld
from babylon_tasks.read_settings import ENV_FILE, SECRETS_DIR
from babylon_tasks.settings import Settings, checked, variable
from checks.drift.containers import Unit
from checks.violations import Violation

SECRETS = frozenset(
    variable(name)
    for name, field in Settings.model_fields.items()
    if field.annotation in (SecretStr, SecretStr | None)
)
VARIABLES = frozenset({SECRETS_DIR, ENV_FILE, *map(variable, Settings.model_fields)})
# What others read: libraries below us, and the shell's own.
OTHERS = frozenset({"HF_HUB_OFFLINE", "XDG_CACHE_HOME", "HOME", "PATH", "POD_NAMESPACE"})
# Beside BABYLON_SHUTDOWN_SECONDS: to record the interruption and end the trainer.
MARGIN_SECONDS = 15
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_ANY = {  # a value of the right form for each secret
    "DATABASE_URL": "postgresql://user:password@postgres/babylon",
    "REDIS_URL": "redis://:password@redis:6379/0",
    "FLOWER_BASIC_AUTH": "user:made-up-password",
    "BABYLON_DASHBOARD_LOGIN": "user:made-up-password",
    "BABYLON_GATEWAY_KEYS": "agents:made-up-key-of-agents",
    "BABYLON_GATEWAY_UPSTREAM_KEYS": "groq:made-up-key-of-groq",
}


def unknown(names: Iterable[str], prefix: str = "") -> Iterator[str]:
    """Find variables that nothing reads."""
    for name in names:
        if name not in VARIABLES | OTHERS and name.startswith(prefix):
            yield f"there is no setting {name}{_near(name, VARIABLES)}"


# What each process reads of the secrets, required or not; None: a command that ends.
READ: Mapping[str | None, frozenset[str]] = {
    ProcessName.BEAT: frozenset({"database_url", "redis_url"}),
    ProcessName.CPU_WORKER: frozenset({"database_url", "redis_url", "babylon_ruler_api_key"}),
    ProcessName.GPU_WORKER: frozenset(
        {"database_url", "redis_url", "babylon_inference_api_key", "wandb_api_key"}
    ),
    ProcessName.FLOWER: frozenset({"redis_url", "flower_basic_auth"}),
    ProcessName.GATEWAY: frozenset(
        {
            "database_url",
            "babylon_gateway_keys",
            "babylon_gateway_upstream_keys",
            "babylon_inference_api_key",
            "wandb_api_key",
        }
    ),
    ProcessName.DASHBOARD: frozenset({"database_url", "babylon_dashboard_login"}),
}


def given(unit: Unit) -> Iterator[Violation]:
    """Check that a process is given no secret that it does not read."""
    if unit.process in READ:
        for name in sorted({name.lower() for name in unit.secret_files} - READ[unit.process]):
            yield unit.violation(f"is given the secret {name}, which {unit.process} does not need")


def named(unit: Unit) -> Iterator[Violation]:
    """Check that every variable and file has a known name, and that secrets are files."""
    for what in unknown(unit.environment):
        yield unit.violation(what)
    for name in SECRETS & set(unit.environment):
        yield unit.violation(f"{name} is a secret in the environment; mount it as a file")
    for name in unit.secret_files:
        if name.upper() not in SECRETS:
            near = _near(name, {known.lower() for known in SECRETS})
            yield unit.violation(f"nothing reads the secret's file {name}{near}")
    folder = unit.environment.get(SECRETS_DIR)
    if folder is None:
        yield unit.violation(f"needs {SECRETS_DIR}: where its secrets are mounted")
    elif not unit.secret_files:
        yield unit.violation(f"{SECRETS_DIR} is {folder}, where no secret is mounted")


def _near(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def fits(unit: Unit, settings: Settings) -> Iterator[Violation]:
    """Check that a process can work in a container with its settings, and end in order."""
    if unit.process is None:
        return
    flower, gateway, dashboard = (
        unit.process == name
        for name in (ProcessName.FLOWER, ProcessName.GATEWAY, ProcessName.DASHBOARD)
    )
    hosts = {"flower_host": flower, "gateway_host": gateway, "dashboard_host": dashboard}
    hosts["metrics_host"] = not (flower or dashboard)
    hosts["inference_host"] = serves(unit, settings)
    for field in (field for field, matters in hosts.items() if matters):
        if getattr(settings, field) in _LOOPBACK:
            yield unit.violation(
                f"{variable(field)} is {getattr(settings, field)}: nothing outside of the "
                "container would reach it; set 0.0.0.0"
            )
    if flower and settings.flower_basic_auth is None:
        what = "has no secret flower_basic_auth: Flower does not start without a login"
        yield unit.violation(what)
    if dashboard and settings.dashboard_login is None:
        yield unit.violation(
            "has no secret babylon_dashboard_login, without which it does not start"
        )
    if unit.process not in OWN_PROGRAMS and "redis_url" not in (
        name.lower() for name in unit.secret_files
    ):
        yield unit.violation("has no secret redis_url")
    # The root of its file system is read-only: what it keeps must be on a volume.
    kept: dict[str, str] = {
        ProcessName.GPU_WORKER: "data_dir",
        ProcessName.FLOWER: "flower_db",
        ProcessName.GATEWAY: "gateway_spool_dir",
    }
    field = kept.get(unit.process, "")
    path = getattr(settings, field, None)
    if path is not None and not any(path.is_relative_to(mount) for mount in unit.mounts):
        what = f"{variable(field)} is {path}, where no volume is mounted: it cannot be written"
        yield unit.violation(what)
    needed = settings.shutdown_seconds + MARGIN_SECONDS
    if unit.grace_seconds <= needed:
        yield unit.violation(
            f"is killed {unit.grace_seconds:g} s after SIGTERM, and {variable('shutdown_seconds')} "
            f"is {settings.shutdown_seconds:g}: it must get more than {needed:g} s, to release its "
            "claims"
        )


def serves(unit: Unit, settings: Settings) -> bool:
    """Check whether this unit answers agents."""
    return unit.process == ProcessName.GPU_WORKER and settings.backend in ("cpu", "local")


def settings_of(unit: Unit, image: Mapping[str, str]) -> Settings:
    """Read a unit's settings as its process would, with generated secrets; raises SettingsError.

    ``image`` is what its image sets.
    """
    with tempfile.TemporaryDirectory(prefix="babylon-tasks-secrets-") as folder:
        for name in unit.secret_files:
            (Path(folder) / name).write_text(
                _ANY.get(name.upper(), "made-up-secret-of-an-example"), "utf-8"
            )
        ours = {k: v for k, v in {**image, **unit.environment}.items() if k in VARIABLES}
        # As `babylon-tasks run` does before it reads them.
        ours |= withheld(ProcessName(unit.process)) if unit.process in tuple(ProcessName) else {}
        with patch.dict("os.environ", {**ours, SECRETS_DIR: folder}, clear=True):
            return checked()
