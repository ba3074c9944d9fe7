"""Flower's settings, read by it at its start: ``babylon-tasks run flower``.

A view for people, never the truth. Flower 2.2 shows its pages, and the names of all tasks and
workers under /metrics, to anybody who asks: here both are behind the login. /healthcheck stays
open: it says "OK" and nothing else.

Every name below that is an option of Flower sets it.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from flower import events
from flower.views.monitor import Metrics
from tornado.options import options
from tornado.web import authenticated

from babylon_tasks import log
from babylon_tasks.settings import load_settings
from babylon_tasks.tasks import display

_settings = load_settings()
log.configure(_settings)  # Flower has Tornado's own otherwise: a third form, and no mask
_mask = log.Mask(_settings)

if not options.auth:  # OAuth, as Flower's documentation has it
    basic_auth = display.logins(_settings)

# Nobody revokes tasks or stops workers from a web page: the command line keeps a record of it.
read_only = True

# The argument of a task is its window; its result says in words how far it is and what came of it.
tasks_columns = "name,args,state,result,received,runtime,worker,uuid"


def format_task(task: Any) -> Any:
    """A copy of a task as people read it; called by Flower for its pages."""
    return display.readable(task, _mask.text)


# Two upkeep tasks a minute: a week of them. Flower's default is 100,000, and 300 MB.
max_tasks = 20_000
# Pods come and go, each under a name of its own.
purge_offline_workers = 3600

if _settings.flower_db is not None:
    persistent = True
    db = str(_settings.flower_db)
    state_save_interval = 10_000  # milliseconds: what SIGKILL may cost

Metrics.get = authenticated(Metrics.get)

# Without Redis Flower doubles its pause between tries, without a bound: after an hour it would be
# blind for another one.
events.time = SimpleNamespace(sleep=display.bounded(time.sleep), monotonic=time.monotonic)
