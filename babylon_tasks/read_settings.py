"""Read settings from the environment and a folder of secrets; errors contain no value."""

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
    """Make settings from these values, and the rest from the sources of ``kind``.

    Raises SettingsError that names each violation and contains no value: some are secrets.
    """
    try:
        return kind(_secrets_dir=secrets_dir(), **values)
    except OSError as error:
        raise unreadable(error) from None
    except ValidationError as error:
        violations = "; ".join(
            f"{'.'.join(str(part) for part in violation['loc']) or 'settings'}: {violation['msg']}"
            for violation in error.errors(
                include_input=False, include_url=False, include_context=False
            )
        )
        raise SettingsError(f"the settings cannot be used: {violations}") from None


def secrets_dir() -> Path | None:
    """Find the folder that holds secrets as files; raises SettingsError where it does not exist."""
    given = os.environ.get(SECRETS_DIR)
    if given is not None and not Path(given).is_dir():
        # pydantic-settings would only warn, and the process would run without its passwords.
        raise SettingsError(
            f"{SECRETS_DIR} is {given}, which is not a folder; mount the secrets there"
        )
    return None if given is None else Path(given)


def unreadable(error: OSError) -> SettingsError:
    """Make the error for a file of settings that cannot be read."""
    return SettingsError(f"the settings cannot be read: {error.filename}: {error.strerror}")
