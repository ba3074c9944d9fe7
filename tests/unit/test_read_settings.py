"""Where settings come from, what counts as set, and which names are refused or named."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from documents import ROOT

from babylon_tasks.errors import SettingsError
from babylon_tasks.mask_secrets import Mask
from babylon_tasks.setting_names import misspelt
from babylon_tasks.settings import Settings, checked, given, load_settings, variable

DATABASE = "postgresql://babylon:planted-secret@127.0.0.1:5432/babylon"
PLACES = ("environment", "file", "secret")
Put = Callable[[str, str, str], None]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", DATABASE)
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Put:
    """Give a setting: in the environment, in the file that it names, or in a file of secrets."""

    def give(place: str, name: str, value: str) -> None:
        if place == "environment":
            monkeypatch.setenv(name, value)
        elif place == "file":
            monkeypatch.setenv("BABYLON_ENV_FILE", "settings.env")
            with (tmp_path / "settings.env").open("a") as file:
                file.write(f"{name}='{value}'\n")
        else:
            secrets = tmp_path / "secrets"
            secrets.mkdir(exist_ok=True)
            (secrets / name).write_text(value)
            monkeypatch.setenv("BABYLON_SECRETS_DIR", str(secrets))

    return give


def test_the_environment_wins_over_the_file_and_both_over_a_secret(put: Put) -> None:
    for number, place in enumerate(reversed(PLACES), start=1):
        put(place, "BABYLON_MIN_AGENTS", str(number))
        assert checked().min_agents == number


def test_secrets_are_read_from_files_where_the_environment_lacks_them(put: Put) -> None:
    secrets = {
        "REDIS_URL": "redis://:planted-secret@h:6379/0\n",
        "wandb_api_key": "planted-key",
        "babylon_inference_api_key": "planted-inference",
        "FLOWER_BASIC_AUTH": "watch:planted-login\n",
        "DATABASE_URL": "postgresql://elsewhere/b",
    }
    for name, value in secrets.items():
        put("secret", name, value)

    settings = load_settings()

    assert settings.redis_url.get_secret_value() == "redis://:planted-secret@h:6379/0"
    assert settings.wandb_api_key is not None
    assert settings.wandb_api_key.get_secret_value() == "planted-key"
    assert settings.inference_api_key.get_secret_value() == "planted-inference"
    assert settings.flower_basic_auth is not None
    assert settings.flower_basic_auth.get_secret_value() == "watch:planted-login"
    assert settings.dsn == DATABASE
    assert "planted" not in f"{settings!r}"


def test_what_is_set_is_known_by_variable_wherever_it_is(put: Put) -> None:
    put("secret", "REDIS_URL", "redis://from-a-secret/0\n")
    put("secret", "database_url", "not even readable")
    put("file", "BABYLON_INFERENCE_PORT", "8200")
    put("file", "BABYLON_FLOWER_PORT", "")
    assert given() == {
        "DATABASE_URL": DATABASE,  # the environment's
        "REDIS_URL": "redis://from-a-secret/0",
        "BABYLON_INFERENCE_PORT": "8200",
    }


@pytest.mark.parametrize("empty", ["", " ", "\t \n"], ids=["empty", "space", "white-space"])
@pytest.mark.parametrize("place", PLACES)
def test_every_setting_that_is_empty_counts_as_not_set(put: Put, place: str, empty: str) -> None:
    for name in Settings.model_fields:
        if name != "database_url":
            put(place, variable(name), empty)
    assert checked() == Settings(DATABASE_URL=DATABASE)
    assert given() == {"DATABASE_URL": DATABASE}


@pytest.mark.parametrize("name", Settings.model_fields)
@pytest.mark.parametrize("lower", ["file", "secret"])
def test_an_empty_variable_does_not_hide_what_a_file_says(put: Put, lower: str, name: str) -> None:
    put("environment", variable(name), "")
    put(lower, variable(name), "a value")
    assert given()[variable(name)] == "a value"


@pytest.mark.parametrize("place", PLACES)
def test_a_required_setting_that_is_empty_is_named_with_its_place(
    put: Put, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    put(place, "DATABASE_URL", " ")
    where = {
        "environment": "environment",
        "file": "file settings.env",
        "secret": "folder .*secrets",
    }
    with pytest.raises(SettingsError, match=f"DATABASE_URL is empty in the {where[place]}"):
        checked()


@pytest.mark.parametrize("place", PLACES)
def test_an_empty_key_does_not_open_inference(put: Put, place: str) -> None:
    put("environment", "BABYLON_INFERENCE_HOST", "0.0.0.0")  # noqa: S104
    put("environment", "BABYLON_INFERENCE_URL", "http://inference:8100/v1")
    put(place, "BABYLON_INFERENCE_API_KEY", "")
    with pytest.raises(SettingsError, match="admits other machines: set BABYLON_INFERENCE_API_KEY"):
        checked()


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("BABYLON_MAX_ATTEMPTS", "planted", "must be a whole number"),
        ("BABYLON_MAX_ATTEMPTS", "0", "must be at least 1"),
        ("BABYLON_HELD_OUT_SHARE", "2", "must be less than 1"),
        ("BABYLON_LEARNING_RATE", "planted", "must be a number"),
        ("BABYLON_FLOWER_PORT", "99999", "must be at most 65535"),
        ("BABYLON_BACKEND", "planted", "must be 'auto', 'serverless', 'local' or 'cpu'"),
        ("BABYLON_COMPARE", "planted", "must be true or false"),
        ("BABYLON_TORCH_DEVICE", "planted", ": write auto, cpu, cuda"),
        ("DATABASE_URL", "mysql://planted", "must begin with postgresql://"),
    ],
)
def test_what_a_setting_must_be_is_said_in_our_words(
    put: Put, name: str, value: str, wanted: str
) -> None:
    put("environment", name, value)
    with pytest.raises(SettingsError) as refused:
        checked()
    said = str(refused.value)
    assert f"used: {name} {wanted}" in said.replace(f"{name}:", f"{name} :")
    assert said.endswith("docs/configuration.md says what each one takes")
    assert "Input" not in said
    assert "planted" not in said


def test_a_database_that_is_not_named_comes_with_what_to_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(
        SettingsError, match=r"DATABASE_URL is not set; write postgresql://.*up\.env"
    ) as refused:
        checked()
    assert Mask(None).text(str(refused.value)) == str(refused.value)  # as a command prints it


def test_of_several_that_are_wrong_each_has_its_line(put: Put) -> None:
    put("environment", "BABYLON_GRACE_SECONDS", "soon")
    put("environment", "BABYLON_BACKEND", "gpu")
    with pytest.raises(SettingsError) as refused:
        checked()
    _, *lines = str(refused.value).splitlines()
    assert lines == [
        "- BABYLON_BACKEND must be 'auto', 'serverless', 'local' or 'cpu'",
        "- BABYLON_GRACE_SECONDS must be a number",
    ]


def test_an_empty_value_in_code_is_no_value() -> None:
    settings = Settings(DATABASE_URL=DATABASE, WANDB_API_KEY="", inference_api_key=" ")
    assert settings == Settings(DATABASE_URL=DATABASE)


@pytest.mark.parametrize("name", ["BABYLON_SECRETS_DIR", "BABYLON_ENV_FILE"])
def test_an_empty_name_of_a_folder_or_file_is_not_the_current_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "REDIS_URL").write_text("redis://planted/0")
    monkeypatch.setenv(name, "")
    assert given() == {"DATABASE_URL": DATABASE}


@pytest.mark.parametrize("place", ["file", "secret"])
def test_what_is_no_text_is_refused_without_a_byte_of_it(
    put: Put, tmp_path: Path, place: str
) -> None:
    put(place, "WANDB_API_KEY", "planted")
    file = tmp_path / ("settings.env" if place == "file" else "secrets/WANDB_API_KEY")
    file.write_bytes(b"WANDB_API_KEY=planted\xff")
    with pytest.raises(SettingsError, match=f"{file.name} is not a text in UTF-8") as refused:
        checked()
    assert "planted" not in str(refused.value)
    assert "0xff" not in str(refused.value)


def test_a_file_that_is_named_and_does_not_exist_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BABYLON_ENV_FILE", "/nowhere/.env")
    with pytest.raises(SettingsError, match=r"BABYLON_ENV_FILE is /nowhere/.env, which is not"):
        checked()


TOO_LONG = "x" * 300  # for a name: as unreachable as what lies in a folder of somebody else


@pytest.mark.parametrize("name", ["BABYLON_SECRETS_DIR", "BABYLON_ENV_FILE"])
@pytest.mark.parametrize(
    ("path", "why"),
    [(f"/{TOO_LONG}/there", "File name too long"), ("~nobody-of-this-name/there", "~nobody")],
    ids=["unreachable", "nobodys"],
)
def test_a_path_that_cannot_be_reached_is_refused(put: Put, name: str, path: str, why: str) -> None:
    put("environment", name, path)
    with pytest.raises(SettingsError, match=f"{name}.*{why}"):
        checked()


def test_a_secret_that_cannot_be_reached_is_not_left_out(put: Put, tmp_path: Path) -> None:
    put("secret", "WANDB_API_KEY", "")
    (tmp_path / "secrets/FLOWER_BASIC_AUTH").symlink_to(f"/{TOO_LONG}")
    with pytest.raises(SettingsError, match="FLOWER_BASIC_AUTH: File name too long"):
        checked()


def test_a_current_folder_that_is_gone_has_no_file_env(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert checked().lineage == "babylon"


def test_the_file_env_of_the_current_folder_is_refused_until_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("BABYLON_LINEAGE=planted\nMINE=1\n")
    with pytest.raises(SettingsError, match=r"\.env sets BABYLON_LINEAGE, and is no longer read"):
        checked()
    monkeypatch.setenv("BABYLON_ENV_FILE", "/dev/null")
    assert checked().lineage == "babylon"
    monkeypatch.setenv("BABYLON_ENV_FILE", ".env")
    assert checked().lineage == "planted"


def test_a_file_env_without_a_setting_of_ours_is_ignored(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BABYLON_TRAINER_CPUS=4\nMINE=1\n")
    assert checked().lineage == "babylon"
    assert list(misspelt(Settings)) == []


@pytest.mark.parametrize("place", PLACES)
def test_a_name_of_an_earlier_version_is_refused_with_what_says_it_now(
    put: Put, place: str
) -> None:
    put(place, "babylon_allow_without_logprobs", "true")
    with pytest.raises(SettingsError, match="set BABYLON_LOGPROBS=exact,none"):
        load_settings()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("BABYLON_LEARNING_RAT", "BABYLON_LEARNING_RATE"),
        ("babylon_inference_api_kye", "BABYLON_INFERENCE_API_KEY"),
        ("BABYLON_SECRET_DIR", "BABYLON_SECRETS_DIR"),
        ("BABYLON_INFERENCE_API-KEY", "BABYLON_INFERENCE_API_KEY"),
    ],
)
def test_a_misspelt_name_is_named_with_the_nearest_right_one(
    put: Put, place: str, wrong: str, right: str
) -> None:
    put(place, wrong, "planted-secret")
    (found,) = misspelt(Settings)
    assert re.search(
        f"there is no setting {wrong}, given in the .*; did you mean {right}\\?", found
    )
    assert "planted" not in found
    checked()  # an older release beside a newer one must start


@pytest.mark.parametrize("name", ["BABYLON_XYZZY_QUUX_42", "BABYLON_FOO"])
def test_a_name_that_resembles_nothing_is_named_all_the_same(put: Put, name: str) -> None:
    put("environment", name, "1")
    (found,) = misspelt(Settings)
    assert found == f"there is no setting {name}, given in the environment"


def test_a_secrets_file_of_a_usual_name_is_named_when_it_is_misspelt(put: Put) -> None:
    put("secret", "redis_ulr", "redis://planted@h")
    put("secret", "postgres_password", "planted")
    put("secret", "pip.conf", "")
    (found,) = misspelt(Settings)
    assert "redis_ulr" in found
    assert "did you mean REDIS_URL?" in found


def test_another_programs_name_is_left_alone_beside_the_setting_that_it_resembles(put: Put) -> None:
    put("environment", "DATABASE_URL", "postgresql://u@h/d")
    put("environment", "DATABASE_URLS", "postgresql://planted@h/d")
    assert list(misspelt(Settings)) == []


def test_what_kubernetes_sets_for_a_service_is_not_taken_for_a_setting(put: Put) -> None:
    for name in (
        "BABYLON_SERVICE_HOST",
        "BABYLON_SERVICE_PORT_HTTP",
        "BABYLON_PORT",
        "BABYLON_PORT_5432_TCP",
        "BABYLON_PORT_5432_TCP_ADDR",
        "BABYLON_WEB_SERVICE_PORT",
        "BABYLON_WEB_PORT_80_TCP_PROTO",
    ):
        put("environment", name, "tcp://10.0.0.1:5432")
    assert list(misspelt(Settings)) == []


def test_every_name_that_our_own_deployment_gives_is_known(put: Put) -> None:
    files = [*ROOT.glob("compose*.yaml"), ROOT / "Dockerfile", ROOT / "Makefile"]
    files += [path for path in (ROOT / "k8s").rglob("*") if path.suffix in (".yaml", ".env")]
    found = {name for file in files for name in re.findall(r"BABYLON_\w+", file.read_text("utf-8"))}
    assert "BABYLON_METRICS_PORT" in found
    for name in found - {"BABYLON_SECRETS_DIR", "BABYLON_ENV_FILE"}:
        put("environment", name, "1")
    assert list(misspelt(Settings)) == []


@pytest.mark.parametrize(
    "name",
    [
        "CELERY_BROKER_URL",
        "CELERY_BROKER_READ_URL",
        "CELERY_BROKER_WRITE_URL",
        "CELERY_RESULT_BACKEND",
        "CELERY_CONFIG_MODULE",
        "CELERY_LOADER",
        "CELERY_CUSTOM_WORKER_POOL",
    ],
)
def test_a_variable_that_celery_would_obey_is_refused_by_name(put: Put, name: str) -> None:
    put("environment", name, "redis://:planted-secret@elsewhere/0")
    with pytest.raises(SettingsError, match=f"{name} is set, and Celery would obey it") as refused:
        checked()
    assert "planted" not in str(refused.value)


def test_a_service_of_kubernetes_named_celery_stops_nothing(put: Put) -> None:
    put("environment", "CELERY_SERVICE_HOST", "10.0.0.1")
    put("environment", "CELERY_BROKER_URL", "")
    assert checked().lineage == "babylon"
