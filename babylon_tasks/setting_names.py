"""Names that are no setting: retired ones are refused, misspelt ones are named.

A misspelt name is not refused: an older release, beside a newer one or after it, is given settings
that it does not know; other programs have variables of this prefix, too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches

from pydantic_settings import BaseSettings

from babylon_tasks.errors import SettingsError
from babylon_tasks.plain_text import plain
from babylon_tasks.read_settings import (
    ENV_FILE,
    SECRETS_DIR,
    given_names,
    given_values,
    unread_env_file,
    variables,
)

RETIRED = {
    "BABYLON_ALLOW_WITHOUT_LOGPROBS": (
        "instead of `true` set BABYLON_LOGPROBS=exact,none; instead of `false` set nothing"
    ),
    "BABYLON_EVAL_GROUPS": "set BABYLON_MAX_EVAL_TOKENS",
    "BABYLON_PROMOTE_WITHOUT_EVALUATION": (
        "instead of `true` set BABYLON_PROMOTION_MODE=screened, which promotes what has not "
        "collapsed, or `manual`; instead of `false` set `evaluated`"
    ),
    "BABYLON_TRAINER_SILENCE_TIMEOUT": "set BABYLON_TRAINER_SILENCE_TIMEOUT_SECONDS",
    "BABYLON_TRAINER_START_TIMEOUT": "set BABYLON_TRAINER_START_TIMEOUT_SECONDS",
    "BABYLON_UPKEEP_SECONDS": "set BABYLON_UPKEEP_INTERVAL_SECONDS",
}
# What Compose reads, from the shell or its own `.env`, and no process of ours.
_OF_COMPOSE = {"BABYLON_TRAINER_CPUS"}
# Kubernetes sets these for a Service whose name begins with `babylon`.
_OF_KUBERNETES = re.compile(
    r"BABYLON_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)
# What Celery would take instead of our own settings (celery#4284), or in addition to them.
_OF_CELERY = {
    "CELERY_BROKER_URL": "set REDIS_URL",
    "CELERY_BROKER_READ_URL": "set REDIS_URL",
    "CELERY_BROKER_WRITE_URL": "set REDIS_URL",
    "CELERY_RESULT_BACKEND": "set REDIS_URL",
    "CELERY_CONFIG_MODULE": "babylon-tasks configures Celery by its own settings only",
    "CELERY_LOADER": "babylon-tasks configures Celery by its own settings only",
    "CELERY_CUSTOM_WORKER_POOL": "the pool is always prefork",
}
# Celery's command line takes every option that it was not given from one of these: to purge the
# queues, to end children after each task.
_OPTION_OF_CELERY = re.compile(r"CELERY_(WORKER|BEAT|FLOWER)_\w+")


def refuse_names(kind: type[BaseSettings]) -> None:
    """Refuse names that would be ignored silently, or would override settings silently.

    Raises SettingsError for a name of an earlier version, a variable of Celery's own, and a file
    ``.env`` that earlier versions would have read.
    """
    given = {name.upper() for name in given_names()}
    for name, instead in RETIRED.items():
        if name in given:
            raise SettingsError(f"{name} is no longer a setting: {instead}")
    for name, instead in _OF_CELERY.items():
        if os.environ.get(name):
            raise SettingsError(
                f"{name} is set, and Celery would obey it: unset it in these processes; {instead}"
            )
    for name in sorted(os.environ):
        if _OPTION_OF_CELERY.fullmatch(name) and os.environ[name]:
            raise SettingsError(
                f"{name} is set, and Celery would obey it: unset it in these processes; options "
                "for Celery follow `babylon-tasks run PROCESS --`"
            )
    unread = unread_env_file(variables(kind).values())
    if unread is not None:
        path, names = unread
        raise SettingsError(
            f"{path} sets {', '.join(names)}, and is no longer read by itself: set "
            f"{ENV_FILE}={path} to read it, or {ENV_FILE}=/dev/null to leave it unread"
        )


def misspelt(kind: type[BaseSettings]) -> Iterator[str]:
    """Name each ``BABYLON_*`` variable or file that nothing reads, and the nearest setting.

    Others too, such as REDIS_ULR, where they resemble a setting that is not given.
    """
    known = {*variables(kind).values(), SECRETS_DIR, ENV_FILE, *_OF_COMPOSE}
    right = given_values(kind)
    for given, where in sorted(given_names().items()):
        name = given.upper()
        if name in known or _OF_KUBERNETES.fullmatch(name):
            continue
        ours = name.startswith("BABYLON_")
        # Among other programs' names only one that is all but right is taken for ours.
        near = _nearest(name, known) if ours else get_close_matches(name, known, 1, cutoff=0.85)
        if ours or (near and near[0] not in right):
            hint = f"; did you mean {near[0]}?" if near else ""
            yield f"there is no setting {plain(given)}, given in the {where}{hint}"


def _nearest(name: str, known: Collection[str]) -> list[str]:
    """Compare without the prefix, which makes any two of ours alike."""
    bare = {one.removeprefix("BABYLON_"): one for one in known}
    return [bare[one] for one in get_close_matches(name.removeprefix("BABYLON_"), bare, 1)]
