"""Flower's settings, read by it at its start: ``babylon-tasks run flower``.

A view for people, never the truth. Flower 2.2 shows its pages, and the names of all tasks and
workers under /metrics, to anybody who asks: here all is behind the login. /healthcheck stays
open: it says "OK" and nothing else.

Every name below that is an option of Flower sets it.
"""

from __future__ import annotations

from tornado.options import options

from babylon_tasks import log
from babylon_tasks.errors import SettingsError
from babylon_tasks.settings import load_settings
from babylon_tasks.tasks.flower import patches
from babylon_tasks.tasks.flower.task_record import shown

_SAVE_SECONDS = 10.0  # of what was seen last, that much may be lost by SIGKILL

try:
    _settings = load_settings()
except SettingsError as error:
    raise SystemExit(f"Flower does not start: {error}") from None
log.configure(_settings)  # Flower has Tornado's own otherwise: a third form, and no mask

if _settings.flower_basic_auth is not None:
    basic_auth = _settings.flower_basic_auth.get_secret_value().split(",")
elif not options.auth:  # OAuth, as Flower's documentation has it
    raise SystemExit(
        "Flower does not start: it shows every task to whoever can reach it. Set "
        "FLOWER_BASIC_AUTH=user:password, in the environment or as a file in BABYLON_SECRETS_DIR"
    )
patches.apply()
# Nobody revokes tasks or stops workers from a web page: the command line keeps a record of it.
read_only = True

# What happened comes last, where a long path in it pushes nothing out of sight.
format_task = shown
tasks_columns = "window,name,state,step,received,runtime,uuid,summary"
# 7 KB each. A day of beat's own tasks is 3,000 with BABYLON_UPKEEP_INTERVAL_SECONDS=60.
max_tasks = 10_000
# Pods come and go, each under a name of its own.
purge_offline_workers = 3600
# Seconds: a look at the database, a window scored, a training step.
task_runtime_metric_buckets = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0]

if _settings.flower_db is not None:
    persistent = True
    db = str(_settings.flower_db)
    state_save_interval = int(1000 * _SAVE_SECONDS)
