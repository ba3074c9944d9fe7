"""How settings are read: from the environment and a folder of secrets; errors repeat no value."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from babylon_tasks.errors import SettingsError

SECRETS_DIR = "BABYLON_SECRETS_DIR"
S = TypeVar("S", bound=BaseSettings)


def read(kind: type[S], **values: Any) -> S:
    """Settings from these values, the rest from where ``kind`` looks.

    Raises SettingsError that names each fault and repeats no value: some are secrets.
    """
    try:
        return kind(_secrets_dir=secrets_dir(), **values)
    except OSError as error:
        raise unreadable(error) from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'settings'}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False, include_context=False)
        )
        raise SettingsError(f"the settings cannot be used: {faults}") from None


def secrets_dir() -> Path | None:
    """The folder that holds secrets as files; raises SettingsError where there is none such."""
    given = os.environ.get(SECRETS_DIR)
    if given is not None and not Path(given).is_dir():
        # pydantic-settings would only warn, and the process go on without its passwords.
        raise SettingsError(
            f"{SECRETS_DIR} is {given}, which is no folder; mount the secrets there"
        )
    return None if given is None else Path(given)


def unreadable(error: OSError) -> SettingsError:
    """What to raise where a file of settings cannot be read."""
    return SettingsError(f"the settings cannot be read: {error.filename}: {error.strerror}")
