"""How Flower shows our tasks, and whom it lets in."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

from babylon_tasks.settings import Settings

MIN_PASSWORD = 8
RETRY_SECONDS = 5.0
_WINDOW = re.compile(r"\d{4}-\d\d-\d\dT\d\d:00")
_ERROR = re.compile(r"\w+\((?P<message>['\"].*)\)", re.S)


def logins(settings: Settings) -> list[str]:
    """Who may log in, ``user:password`` each; ends the process where that is nobody.

    Flower shows every task to whoever reaches it, and its own default is no login at all.
    """
    given = settings.flower_basic_auth
    found = [] if given is None else given.get_secret_value().split(",")
    for login in found:
        user, colon, password = login.partition(":")
        if not (user and colon) or len(password) < MIN_PASSWORD:
            raise SystemExit(
                "FLOWER_BASIC_AUTH cannot be used: it is user:password, the password of at least "
                f"{MIN_PASSWORD} characters and without a comma, which separates several logins"
            )
    if not found:
        raise SystemExit(
            "Flower shows every task to whoever can reach it and has no login: set "
            "FLOWER_BASIC_AUTH=user:password (in the environment or a file in "
            "BABYLON_SECRETS_DIR, not as an argument)"
        )
    return found


def readable(task: Any, mask: Callable[[str], str]) -> Any:
    """The task itself, changed: its window for arguments, its outcome in words for a result."""
    windows = _WINDOW.findall(f"{task.args} {task.kwargs}")
    task.args = ", ".join(dict.fromkeys(windows)) or "-"
    task.kwargs = "-"
    if task.exception:
        task.exception = mask(_message(task.exception))
        task.traceback = mask(task.traceback or "")
        task.result = f"failed: {task.exception}"
    else:
        task.result = mask(_text(task.result))
    return task


def bounded(sleep: Callable[[float], None]) -> Callable[[float], None]:
    """A sleep that is over after a few seconds, however long it was to be."""
    return lambda seconds: sleep(min(seconds, RETRY_SECONDS))


def _text(shown: str | None) -> str:
    # Celery's events hold the repr of what a task returned.
    if not shown or shown == "None":
        return ""
    try:
        value = ast.literal_eval(shown)
    except (ValueError, SyntaxError):  # progress is plain text; a long result is cut short
        return shown
    return value if isinstance(value, str) else shown


def _message(shown: str) -> str:
    found = _ERROR.fullmatch(shown)
    return _text(found["message"]) if found else shown
