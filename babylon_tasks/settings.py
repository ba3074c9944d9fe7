"""All settings, read once from the environment (or a ``.env`` file) and checked together."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import (
    DotEnvSettingsSource,
    EnvSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from babylon_tasks.agent_settings import (
    DEFAULT_KEY,
    DEFAULT_LINEAGE,
    DatabaseSettings,
    require_readable,
)
from babylon_tasks.errors import SettingsError
from babylon_tasks.read_settings import SECRETS_DIR as SECRETS_DIR
from babylon_tasks.read_settings import read, secrets_dir, unreadable
from babylon_tasks.reward_settings import (
    DEFAULT_WEIGHTS,
    ScorerName,
    ScorersByArchetype,
    Weights,
    WeightsByArchetype,
)

# Longer passwords only: what is shorter is not masked in logs. Others lock Flower for everybody.
_LOGIN = re.compile(r"[!-9;-~]+:[!-~]{8,}")
BackendName = Literal["auto", "serverless", "local", "cpu"]
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
RETIRED = {
    "BABYLON_ALLOW_WITHOUT_LOGPROBS": (
        "instead of `true` set BABYLON_LOGPROBS=exact,none; instead of `false` set nothing"
    ),
    "BABYLON_EVAL_GROUPS": "set BABYLON_MAX_EVAL_GROUPS",
    "BABYLON_TRAINER_SILENCE_TIMEOUT": "set BABYLON_TRAINER_SILENCE_TIMEOUT_SECONDS",
    "BABYLON_TRAINER_START_TIMEOUT": "set BABYLON_TRAINER_START_TIMEOUT_SECONDS",
    "BABYLON_UPKEEP_SECONDS": "set BABYLON_UPKEEP_INTERVAL_SECONDS",
}
LABELS = ("exact", "parent", "rescored", "none")  # of dataset/eligibility.py
GROUPINGS = ("scenario", "archetype", "decision", "market", "balance")


class Settings(DatabaseSettings):
    """Every knob of the system, with the environment variable's name being ``BABYLON_<FIELD>``.

    ``DATABASE_URL``, ``REDIS_URL``, ``WANDB_API_KEY`` and ``FLOWER_BASIC_AUTH`` keep the names
    their world gave them. Seconds unless a name says otherwise. What the environment lacks is
    read from a folder of files with these names, ``BABYLON_SECRETS_DIR``, where that is set.
    The string under a field is its line in docs/configuration.md.
    """

    model_config = SettingsConfigDict(env_file=".env")

    database_url: SecretStr = Field(validation_alias="DATABASE_URL")
    """Babylon's Postgres, as the role that the quickstart makes. Prisma's own parameters may stay
    in it; `?schema=` names the schema of Babylon's tables."""
    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"), validation_alias="REDIS_URL"
    )
    """Redis or Valkey, 6.2 or newer, `redis://` or `rediss://`. It may be Babylon's own: every key
    of ours begins with `babylon-tasks:`."""
    wandb_api_key: SecretStr | None = Field(default=None, validation_alias="WANDB_API_KEY")
    """The W&B account that `serverless` trains with. Where it is set, `auto` chooses that
    backend."""
    wandb_base_url: str | None = None
    """Another address of ART's serverless API. Only tests and proxies need it."""

    # the lineage
    lineage: str = DEFAULT_LINEAGE
    """The name of the model that keeps learning; its checkpoints are NAME@STEP. Another name begins
    again from the base model."""
    base_model: str = "SmolLM2-135M-Instruct"
    """What the lineage starts from, by the name in the recorded calls: a local folder, a hub name
    (fetched only where `HF_HUB_OFFLINE=0`), or the small packaged model. Fixed once the lineage has
    begun."""
    project: str = "babylon"
    """ART's and W&B's project, in which the model is registered."""
    entity: str | None = None
    """The W&B team or user, where it is not the key's default."""
    backend: BackendName = "auto"
    """Who trains: `auto` takes `serverless` where there is a W&B key, `local` where there are an
    NVIDIA GPU and unsloth, else `cpu`."""
    data_dir: Path = Path(".babylon")
    """Where the GPU-queue worker keeps checkpoints, the data of a running step and `trainer.log`.
    Back it up together with the schema `training`."""

    # windows
    grace_seconds: float = Field(default=300, ge=0)
    """How long no row of an hour may have arrived before the hour, once over, is sealed. Raise it
    where agents write late."""
    max_open_seconds: float = Field(default=3600, gt=0)
    """An hour that has been over, and open, for so long is sealed even if rows still arrive."""
    lookback_hours: int = Field(default=72, gt=0)
    """How far back new hours are looked for, late rows of scored ones, and changes of Babylon's
    outcomes. What is older is opened, and looked at again, by `windows backfill`."""
    min_agents: int = Field(default=2, ge=1)
    """An hour in which fewer agents have usable trajectories is skipped."""
    held_out_share: float = Field(default=0.1, ge=0, lt=1)
    """The share of hours, chosen by hash, that is never trained on and tells checkpoints apart. 0:
    nothing can be promoted by evaluation."""

    # reading and scoring
    scorer: ScorerName = "default"
    """How rewards are made of comparable trajectories: `default` (profit and decisions, ties broken
    by activity), `profit`, `outcome` (what bets earned, weighted by stake), `ruler` (an LLM
    judges), or a class of your own as `module:Class`. See docs/scorers.md."""
    reward_weights: Weights = DEFAULT_WEIGHTS
    """The weight of each component for the scorer `default`, as JSON. A missing one weighs 0, and
    only proportions matter; activity breaks ties and never decides."""
    archetype_weights: WeightsByArchetype = Field(default={})
    """Weights for single archetypes, as in `{"degen": {"profit": 1}}`; the case of names does not
    matter."""
    archetype_scorers: ScorersByArchetype = Field(default={})
    """Scorers for single archetypes, as in `{"trader": "profit"}`, with the names of
    `BABYLON_SCORER`."""
    ruler_model: str | None = None
    """Scorer `ruler`: the judge's model, as litellm names it: `openai/o3`, or `openai/NAME` for any
    OpenAI-compatible server at `BABYLON_RULER_BASE_URL`."""
    ruler_base_url: str | None = None
    """Where the judge is served, if not at its provider's own address."""
    ruler_api_key: SecretStr | None = None
    """The judge's API key. Without one, and without a base URL, litellm reads the provider's own
    variable, such as `OPENAI_API_KEY`."""
    ruler_rubric: str | None = None
    """The criteria by which the judge grades. Without it: ART's general rubric."""
    ruler_timeout_seconds: float = Field(default=120, gt=0)
    """How long the judge may take for one question, retries included. Then its trajectories are
    rewarded by `default`."""
    ruler_concurrency: int = Field(default=8, ge=1)
    """How many questions are sent to the judge at the same time."""
    ruler_call_size: int = Field(default=16, ge=4)
    """The most trajectories in one question. Lower it where they exceed the judge's context."""
    ruler_min_agreement: float = Field(default=0.5, ge=0, le=1)
    """Each question is asked twice, in different orders. If the rank correlation of the two answers
    (Kendall's tau-b) is below this, neither is used."""
    profit_scale: float = Field(default=1000.0, gt=0)
    """The profit of a good hour, in Babylon's money. Profits that differ by less than a thousandth
    of it count as equal, and none counts for more than ten times as much."""
    outcome_wait_hours: float = Field(default=24, ge=0)
    """How long after its end an hour waits, untrained, for the outcomes of its bets. With 0 it
    never waits. Outcomes that come later still make new rewards for what no step has used."""
    max_steps_bytes: int = Field(default=8_000_000, gt=0)
    """A trajectory whose recorded steps are longer (bytes) is rejected as `too_large`, unread."""
    read_batch: int = Field(default=500, gt=0)
    """Rows read and scored at once. Lower it for less memory."""

    # groups
    group_by: str = "scenario,archetype,decision,market"
    """What trajectories must have in common to be compared, coarse to fine: `scenario`,
    `archetype`, `decision` (the kind of question), `market` (the one asked about), `balance`
    (before the first step, in powers of two). Fewer names make fewer and larger sets to compare."""
    min_group_size: int = Field(default=8, ge=2)
    """Where fewer trajectories than this share all of `BABYLON_GROUP_BY`, its last names are
    ignored for them, one by one; scenario and archetype never are."""
    max_group_size: int = Field(default=16, ge=2)
    """The most trajectories in one group. More comparable ones make several groups. Lower it where
    one group exceeds the token budget or the memory."""
    min_reward_spread: float = Field(default=1e-3, ge=0)
    """A group whose rewards differ by no more than this teaches nothing and is left out."""
    max_staleness_steps: int = Field(default=8, ge=0)
    """Calls of a checkpoint more training steps away from the parent of the next step are refused
    as `stale`, unless it serves. Checkpoints that were held do not count."""
    max_staleness_hours: int = Field(default=168, ge=1)
    """An hour further behind the newest sealed one is not trained on; what is left over of it is
    refused as `stale`. Raise it to train on a backfill of older hours."""
    logprobs: str = "exact"
    """Which calls may be trained on, in order of preference: `exact` (recorded token by token), and
    with `cpu` also `parent`, `rescored`, `none`. A step uses one kind only; docs/recording.md
    explains them."""
    step_token_budget: int = Field(default=60_000, gt=0)
    """The most tokens in one step, prompts included; one group is taken whatever its size. The rest
    of an hour is left over for later steps. Raise it to work off a backlog faster."""
    max_windows_per_step: int = Field(default=4, ge=1)
    """How many waiting hours may share a step. Raise it to work off a backlog faster."""

    # training
    learning_rate: float = Field(default=4e-4, gt=0)
    """Where the learning rate starts."""
    final_learning_rate: float = Field(default=4e-5, ge=0)
    """Where it ends after the decay, and stays."""
    learning_rate_warmup_steps: int = Field(default=0, ge=0)
    """Steps over which it first rises. 0: none."""
    learning_rate_decay_steps: int = Field(default=60, ge=1)
    """Steps over which it falls in a straight line."""
    learning_rate_spread_power: float = Field(default=1.0, ge=0)
    """The rate is multiplied by the share of trajectories in groups with spread, to this power. 0:
    never."""
    kl_coefficient: float = Field(default=0.05, ge=0)
    """How strongly a step is held to the base model (`cpu` and `local`)."""
    packed_sequence_length: int = Field(default=2048, ge=64)
    """The longest call, prompt and answer together, in tokens (`cpu`): what is longer is refused as
    `too_long`. Packed rows are as long as a step's longest call needs; long rows need memory."""
    seed: int = 0
    """Of everything random in training (`cpu`); it is part of a step's manifest."""

    # evaluation and promotion
    max_eval_groups: int = Field(default=16, ge=1)
    """How many held-out groups checkpoints are compared on at most, the newest first."""
    min_eval_groups: int = Field(default=4, ge=1)
    """With fewer there is no evidence, and the checkpoint is held."""
    min_eval_coverage: float = Field(default=0.05, ge=0, le=1)
    """The least share of what a policy says that recorded answers must cover to be evidence. Lower
    it only knowingly."""
    promote_entropy_weight: float = Field(default=0.1, ge=0)
    """What variety of answers adds to a checkpoint's worth, per nat. Raise it where policies settle
    on one answer."""
    promote_tolerance: float = Field(default=0.01, ge=0)
    """How much worse than what serves, and than the best ever, a checkpoint may be and still serve.
    """
    promote_without_evaluation: bool = False
    """Promote where there is no evidence, instead of holding. Needed for `serverless` and `local`,
    which cannot evaluate."""

    # leases and attempts
    lease_seconds: float = Field(default=90, gt=1)
    """How long a claim lasts unless renewed, so: how long after a worker's death another may go on.
    Renewed every quarter; given up after 0.8 of it."""
    max_attempts: int = Field(default=3, ge=1)
    """How often an hour is scored, or a step run, before it fails for good and waits for
    `windows retry`."""
    retry_delay_seconds: float = Field(default=30, ge=0)
    """The wait before the next attempt; doubles each time for scoring."""
    upkeep_interval_seconds: float = Field(default=60, gt=0)
    """How often beat looks for work and for what stands still."""
    trainer_start_timeout_seconds: float = Field(default=300, gt=0)
    """How long the trainer may take to load its model and serve. Raise it for large models on slow
    disks."""
    trainer_silence_timeout_seconds: float = Field(default=600, gt=0)
    """A trainer that says nothing for so long, not even a heartbeat, is killed and its step
    recovered."""
    shutdown_seconds: float = Field(default=20, gt=0)
    """How long a stopping worker lets its task run before interrupting it. Grace periods must be 15
    s longer."""

    # inference hosted by the trainer (backends local and cpu)
    inference_host: str = "127.0.0.1"
    """Where the trainer listens for agents' questions. Any but loopback needs a key and
    `BABYLON_INFERENCE_URL`."""
    inference_port: int = Field(default=8100, ge=0, le=65535)
    """The port of that. 0: any free one."""
    inference_url: str | None = None
    """The address that agents are told where it is not the one listened on: a Service's name, a
    proxy. Ends with `/v1`."""
    inference_api_key: SecretStr = SecretStr(DEFAULT_KEY)
    """What agents must present. The default is good for loopback only."""

    # processes and what watches them
    cpu_concurrency: int = Field(default=1, ge=1)
    """Processes of one cpu-worker, each scoring one hour at a time."""
    metrics_host: str = "127.0.0.1"
    """Where `/metrics`, `/livez` and `/readyz` are served."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """The port of that, for each process. 0: not served."""
    flower_host: str = "127.0.0.1"
    """Where Flower listens."""
    flower_port: int = Field(default=5555, ge=0, le=65535)
    """The port of that."""
    flower_basic_auth: SecretStr | None = Field(default=None, validation_alias="FLOWER_BASIC_AUTH")
    """Flower's login, as user:password, the password of 8 characters or more; several are separated
    by commas. Flower does not start without it."""
    flower_db: Path | None = None
    """Where Flower keeps the tasks it has seen, so that a restart does not forget them; a file in a
    folder that only Flower can write to. Without it they are kept in memory alone."""

    # operation
    log_format: Literal["auto", "json", "console"] = "auto"
    """`json` lines, `console` for reading, or `auto`: console where standard error is a terminal.
    """
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR. By hand, INFO shows warnings only."""

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if not self.redis_url.get_secret_value().startswith(("redis://", "rediss://")):
            raise ValueError("REDIS_URL must begin with redis:// or rediss://")
        path = require_readable("REDIS_URL", self.redis_url).path
        if not re.fullmatch(r"(/\d*)?", path):
            raise ValueError("the database in REDIS_URL is not a number, as in redis://host:6379/0")
        if self.backend == "serverless" and self.wandb_api_key is None:
            raise ValueError("BABYLON_BACKEND=serverless needs WANDB_API_KEY")
        if self.final_learning_rate > self.learning_rate:
            raise ValueError("BABYLON_FINAL_LEARNING_RATE exceeds BABYLON_LEARNING_RATE")
        if not set(self.grouping) <= set(GROUPINGS) or len(set(self.grouping)) < len(self.grouping):
            raise ValueError(f"BABYLON_GROUP_BY lists some of {', '.join(GROUPINGS)}, once each")
        if not set(self.labels) <= set(LABELS) or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"BABYLON_LOGPROBS lists some of {', '.join(LABELS)}, once each")
        if not self.labels:
            raise ValueError("BABYLON_LOGPROBS is empty: nothing could be learned from")
        if self.min_eval_groups > self.max_eval_groups:
            raise ValueError("BABYLON_MIN_EVAL_GROUPS exceeds BABYLON_MAX_EVAL_GROUPS")
        if self.inference_host not in _LOOPBACK:
            # Other machines can ask for answers there, and agents must be told where.
            if self.inference_api_key.get_secret_value() == DEFAULT_KEY:
                raise ValueError(
                    "BABYLON_INFERENCE_HOST lets other machines in: set BABYLON_INFERENCE_API_KEY"
                )
            if self.inference_url is None:
                raise ValueError(
                    "BABYLON_INFERENCE_HOST lets other machines in: set BABYLON_INFERENCE_URL to "
                    "the address that agents reach it by, as in http://inference:8100/v1"
                )
        if self.inference_url is not None and not re.fullmatch(
            r"https?://[^\s@]+/v1", self.inference_url
        ):
            raise ValueError("BABYLON_INFERENCE_URL must look like http://inference:8100/v1")
        if (self.archetype_weights or self.archetype_scorers) and "archetype" not in self.grouping:
            raise ValueError(
                "BABYLON_ARCHETYPE_WEIGHTS and BABYLON_ARCHETYPE_SCORERS need groups of one "
                "archetype: add archetype to BABYLON_GROUP_BY"
            )
        if self.ruler_base_url is not None and not re.fullmatch(
            r"https?://[^\s@]+", self.ruler_base_url
        ):
            raise ValueError("BABYLON_RULER_BASE_URL must look like https://judge:8000/v1")
        if "ruler" in (self.scorer, *self.archetype_scorers.values()) and not self.ruler_model:
            raise ValueError("the scorer ruler needs BABYLON_RULER_MODEL")
        if self.flower_basic_auth is not None and not all(
            _LOGIN.fullmatch(login)
            for login in self.flower_basic_auth.get_secret_value().split(",")
        ):
            raise ValueError(
                "FLOWER_BASIC_AUTH must be user:password, in ASCII without spaces, the password "
                "of 8 characters or more"
            )
        if "@" in self.lineage or "/" in self.lineage:
            raise ValueError("BABYLON_LINEAGE must not contain '@' or '/': it names checkpoints")
        return self

    @property
    def grouping(self) -> tuple[str, ...]:
        """``group_by`` as names, coarse to fine."""
        return tuple(name.strip() for name in self.group_by.split(",") if name.strip())

    @property
    def labels(self) -> tuple[str, ...]:
        """``logprobs`` as labels, the preferred one first."""
        return tuple(name.strip() for name in self.logprobs.split(",") if name.strip())


def variable(field: str) -> str:
    """The environment variable of one of the fields."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"BABYLON_{field.upper()}"


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """The process's settings, from its environment; raises SettingsError."""
    return checked()


def checked(**values: Any) -> Settings:
    """Settings from these values, the rest from the environment.

    Raises SettingsError that names each fault and repeats no value: some are secrets.
    """
    _refuse_retired()
    return read(Settings, **values)


def given() -> dict[str, str]:
    """What is set, usable or not, by variable: in the environment, ``.env`` or a secret's file."""
    try:
        found = {
            **SecretsSettingsSource(Settings, secrets_dir())(),
            **DotEnvSettingsSource(Settings)(),
            **EnvSettingsSource(Settings)(),
        }
    except OSError as error:
        raise unreadable(error) from None
    # The sources name fields, or the aliases of those that have one.
    return {
        f"BABYLON_{name.upper()}" if name in Settings.model_fields else name: value
        for name, value in found.items()
        if value
    }


def _refuse_retired() -> None:
    """Refuse names of an earlier version, which would be ignored silently."""
    files = {path.name.lower() for path in (secrets_dir() or Path(os.devnull)).glob("*")}
    try:
        found = {*EnvSettingsSource(Settings).env_vars, *DotEnvSettingsSource(Settings).env_vars}
    except OSError as error:
        raise unreadable(error) from None
    for name, instead in RETIRED.items():
        if name.lower() in found | files:
            raise SettingsError(f"{name} is no longer a setting: {instead}")
