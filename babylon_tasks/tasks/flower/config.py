"""Flower's settings, read by it at its start: ``babylon-tasks run flower``.

Flower is a view for people and decides nothing. Flower 2.2 shows its pages, and the names of all
tasks and workers under /metrics, without a login: here everything needs one. Only /healthcheck
stays open: it says "OK" and nothing else.

Every name below that is an option of Flower sets it.
"""

from __future__ import annotations

from tornado.options import options

from babylon_tasks import log
from babylon_tasks.errors import SettingsError
from babylon_tasks.http_server.logins import Logins
from babylon_tasks.settings import load_settings
from babylon_tasks.tasks.flower import logins, patches
from babylon_tasks.tasks.flower.task_record import for_display

_SAVE_SECONDS = 10.0  # SIGKILL may lose the events of this time

try:
    _settings = load_settings()
except SettingsError as error:
    raise SystemExit(f"Flower does not start: {error}") from None
log.configure(_settings)  # instead of Tornado's: that has another format and does not mask secrets
log.name_misspelt()

if _settings.flower_basic_auth is not None:
    basic_auth = _settings.flower_basic_auth.get_secret_value().split(",")
elif options.auth:  # OAuth, as in Flower's documentation
    basic_auth = []  # Flower itself would take an empty variable for a login without a word
else:
    raise SystemExit(
        "Flower does not start: without a login it would show every task to everyone. Set "
        "FLOWER_BASIC_AUTH=user:password, in the environment or as a file in BABYLON_SECRETS_DIR"
    )
patches.apply()
logins.guard(Logins())
# Tasks are not revoked and workers not stopped from a web page: the command line records it.
read_only = True

# What happened comes first, as wide as the page leaves it; a telephone shows these four alone.
format_task = for_display
tasks_columns = "window,step,summary,uuid,state,name,received,runtime"
# 7 KB each. A day of beat's own tasks is 3,000 with BABYLON_UPKEEP_INTERVAL_SECONDS=60.
max_tasks = 10_000
# Pods come and go, each under its own name.
purge_offline_workers = 3600
# Seconds: a query, scoring a window, a training step.
task_runtime_metric_buckets = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0]

if _settings.flower_db is not None:
    persistent = True
    db = str(_settings.flower_db)
    state_save_interval = int(1000 * _SAVE_SECONDS)
