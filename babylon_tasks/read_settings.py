"""Read settings from the environment, a file that it names, and a folder of secrets.

What is empty or only white space counts as not set, wherever it comes from: an unset
``${VARIABLE}`` in a deployment must not switch a password off. Errors contain no value.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from dotenv import dotenv_values
from pydantic import ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from babylon_tasks.errors import SettingsError

SECRETS_DIR = "BABYLON_SECRETS_DIR"
ENV_FILE = "BABYLON_ENV_FILE"
_PREFIX = "BABYLON_"
S = TypeVar("S", bound=BaseSettings)

_WHERE = "docs/configuration.md says what each one takes"
_TO_DO = {
    "DATABASE_URL": "write postgresql://<user>:<password>@<host>:5432/<database>, or beside "
    "`babylon-tasks up`: set -a; . .babylon/up.env; set +a",
}
# By pydantic's type of a violation.
_WANTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "greater_than": "greater than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "string_too_short": "at least {min_length} characters long",
    "string_too_long": "at most {max_length} characters long",
    "dict_type": "a JSON object",
}


class EnvironmentSettings(BaseSettings):
    """Settings that are read as this file's functions read them; all of ours are."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,  # the input contains secrets
        allow_inf_nan=False,  # JSON has no such number, and no timeout takes it
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the three are pydantic's own
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read what is passed, then what ``given_values`` finds, instead of pydantic's sources."""
        return init_settings, _Given(settings_cls)

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {k: v for k, v in values.items() if not (isinstance(v, str) and not v.strip())}


class _Given(EnvSettingsSource):
    def _load_env_vars(self) -> Mapping[str, str | None]:
        found = given_values(self.settings_cls)
        return {name.lower(): value for name, value in found.items()}


def variables(kind: type[BaseSettings]) -> dict[str, str]:
    """Map each field to the name of its environment variable."""
    return {
        field: about.validation_alias
        if isinstance(about.validation_alias, str)
        else f"{_PREFIX}{field.upper()}"
        for field, about in kind.model_fields.items()
    }


def read(kind: type[S], **values: Any) -> S:
    """Make settings from these values, and the rest from the environment.

    Raises SettingsError that names each violation and contains no value: some are secrets.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        names = variables(kind)
        violations = [
            _violation(names, violation)
            for violation in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError(_cannot_be_used(violations)) from None


def _cannot_be_used(violations: list[str]) -> str:
    if len(violations) == 1:
        return f"the settings cannot be used: {violations[0]}; {_WHERE}"
    return "\n- ".join([f"the settings cannot be used ({_WHERE}):", *violations])


def given_values(kind: type[BaseSettings]) -> dict[str, str]:
    """List what is set of these settings, usable or not, by variable; raises SettingsError."""
    wanted = {name.lower(): name for name in variables(kind).values()}
    secrets = {
        name: _text(path)
        for name, path in _secret_files().items()
        if name.lower() in wanted and _is_file(path)
    }
    found = {}
    for values in (secrets, _env_file(), os.environ):  # the last one wins
        for name, value in values.items():
            if name.lower() in wanted and value and value.strip():
                found[wanted[name.lower()]] = value.strip()
    return found


def given_names() -> dict[str, str]:
    """Map every name that is given, ours or not, with or without a value, to where."""
    folder, file = os.environ.get(SECRETS_DIR, ""), os.environ.get(ENV_FILE, "")
    return {
        **dict.fromkeys(_secret_files(), f"folder {folder}"),
        **dict.fromkeys(_env_file(), f"file {file}"),
        **dict.fromkeys(os.environ, "environment"),
    }


def unread_env_file(wanted: Collection[str]) -> tuple[Path, list[str]] | None:
    """Find a file ``.env`` of the current folder that nobody named, and its names among these."""
    if os.environ.get(ENV_FILE, "").strip():
        return None
    try:
        path = Path.cwd() / ".env"
        if not path.is_file():
            return None
        names = sorted({name.upper() for name in dotenv_values(path)} & set(wanted))
    except (OSError, ValueError):  # what cannot be read never set anything
        return None
    return (path, names) if names else None


def _secret_files() -> dict[str, Path]:
    folder = _named_path(SECRETS_DIR)
    if folder is None:
        return {}
    try:
        if folder.is_dir():
            return {path.name: path for path in sorted(folder.iterdir())}
    except OSError as error:
        raise _unreadable(error, SECRETS_DIR) from None
    # Else the process would run without its passwords.
    raise SettingsError(
        f"{SECRETS_DIR} is {folder}, which is not a folder; mount the secrets there"
    )


def _env_file() -> dict[str, str | None]:
    path = _named_path(ENV_FILE)
    if path is None:
        return {}
    try:
        if path.exists() and not path.is_dir():
            return dotenv_values(path)
    except OSError as error:
        raise _unreadable(error, ENV_FILE) from None
    except ValueError:  # not UTF-8; the message would quote it
        raise _no_text(path) from None
    raise SettingsError(f"{ENV_FILE} is {path}, which is not a file; correct it, or unset it")


def _named_path(variable: str) -> Path | None:
    given = os.environ.get(variable, "").strip()
    try:
        return Path(given).expanduser() if given else None
    except RuntimeError:
        raise SettingsError(
            f"{variable} is {given}, and there is no such user's folder; correct it, or unset it"
        ) from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise _unreadable(error) from None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise _unreadable(error) from None
    except ValueError:
        raise _no_text(path) from None


def _violation(names: Mapping[str, str], violation: Mapping[str, Any]) -> str:
    place = [str(part) for part in violation["loc"]]
    if not place:
        return str(violation["msg"]).removeprefix("Value error, ")
    name = ".".join([names.get(place[0], place[0]), *place[1:]])
    if violation["type"] == "missing":
        where = {given.lower(): where for given, where in given_names().items()}.get(name.lower())
        missing = f"{name} is not set" if where is None else f"{name} is empty in the {where}"
        return f"{missing}; {_TO_DO[name]}" if name in _TO_DO else missing
    return _named(name, violation)


def _named(name: str, violation: Mapping[str, Any]) -> str:
    """Say in our words what a value must be; pydantic's are about its input and its types."""
    context: Mapping[str, Any] = violation.get("ctx", {})
    wanted = _WANTED.get(violation["type"])
    if wanted is not None:
        return f"{name} must be {wanted.format(**context)}"
    message = str(violation["msg"]).removeprefix("Value error, ")
    if message.startswith("Input should "):
        return f"{name} must {message.removeprefix('Input should ')}"
    return message if message.startswith(name) else f"{name}: {message}"


def _unreadable(error: OSError, variable: str | None = None) -> SettingsError:
    where = error.filename if variable is None else f"{variable}: {error.filename}"
    return SettingsError(f"the settings cannot be read: {where}: {error.strerror}")


def _no_text(path: Path) -> SettingsError:
    return SettingsError(f"the settings cannot be read: {path} is not a text in UTF-8")
