"""Flower's settings, read by it at its start: ``babylon-tasks run flower``.

A view for people, never the truth. Flower 2.2 shows its pages, and the names of all tasks and
workers under /metrics, to anybody who asks: here both are behind the login. /healthcheck stays
open: it says "OK" and nothing else.
"""

from __future__ import annotations

from flower.views.monitor import Metrics
from tornado.options import options
from tornado.web import authenticated

from babylon_tasks import log
from babylon_tasks.settings import load_settings

if not (options.basic_auth or options.auth):
    raise SystemExit(
        "Flower shows every task to whoever can reach it and has no login: "
        "set FLOWER_BASIC_AUTH=user:password (in the environment, not as an argument)"
    )

log.configure(load_settings())  # Flower has Tornado's own otherwise: a third form, and no mask

# Nobody revokes tasks or stops workers from a web page: the command line keeps a record of it.
read_only = True

Metrics.get = authenticated(Metrics.get)
