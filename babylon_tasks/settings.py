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

# Only longer passwords are masked in logs. Flower accepts no login in any other form.
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
    """Every setting of the system; the environment variable's name is ``BABYLON_<FIELD>``.

    ``DATABASE_URL``, ``REDIS_URL``, ``WANDB_API_KEY`` and ``FLOWER_BASIC_AUTH`` keep their usual
    names. Seconds unless a name says otherwise. Settings missing in the environment are read from a
    folder of files with these names, ``BABYLON_SECRETS_DIR``, where that is set. The string under a
    field is its line in docs/configuration.md.
    """

    model_config = SettingsConfigDict(env_file=".env")

    database_url: SecretStr = Field(validation_alias="DATABASE_URL")
    """Babylon's Postgres, as the role that the quickstart creates. Prisma's own parameters may stay
    in it; `?schema=` names the schema of Babylon's tables."""
    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"), validation_alias="REDIS_URL"
    )
    """Redis or Valkey, 6.2 or newer, `redis://` or `rediss://`. It may be Babylon's own: all our
    keys begin with `babylon-tasks:`."""
    wandb_api_key: SecretStr | None = Field(default=None, validation_alias="WANDB_API_KEY")
    """The W&B account that `serverless` trains with. If it is set, `auto` chooses that backend."""
    wandb_base_url: str | None = None
    """Another address of ART's serverless API. Needed only by tests and proxies."""

    # the lineage
    lineage: str = DEFAULT_LINEAGE
    """The name of the model that keeps learning; its checkpoints are NAME@STEP. Another name starts
    over from the base model."""
    base_model: str = "SmolLM2-135M-Instruct"
    """The model that the lineage starts from, by its name in the recorded calls: a local folder, a
    hub name (fetched only if `HF_HUB_OFFLINE=0`), or the small packaged model. It cannot change
    once the lineage exists."""
    project: str = "babylon"
    """ART's and W&B's project, in which the model is registered."""
    entity: str | None = None
    """The W&B team or user, if it is not the key's default."""
    backend: BackendName = "auto"
    """The training backend: `auto` chooses `serverless` if there is a W&B key, `local` if there are
    an NVIDIA GPU and unsloth, else `cpu`."""
    data_dir: Path = Path(".babylon")
    """Where the GPU-queue worker keeps checkpoints, the data of a running step and `trainer.log`.
    Back it up together with the schema `training`."""

    # windows
    grace_seconds: float = Field(default=300, ge=0)
    """How long no row of an hour may have arrived before the hour, once over, is sealed. Raise it
    if agents write late."""
    max_open_seconds: float = Field(default=3600, gt=0)
    """An hour that has been over but open for this long is sealed even if rows still arrive."""
    lookback_hours: int = Field(default=72, gt=0)
    """How far back to look for new hours, late rows of scored ones, and changes of Babylon's
    outcomes. `windows backfill` opens older hours, and looks at their outcomes again."""
    min_agents: int = Field(default=2, ge=1)
    """An hour with usable trajectories of fewer agents is skipped."""
    held_out_share: float = Field(default=0.1, ge=0, lt=1)
    """The share of hours, chosen by hash, that is never trained on but used to compare checkpoints.
    With 0 nothing can be promoted by evaluation."""

    # reading and scoring
    scorer: ScorerName = "default"
    """How comparable trajectories are rewarded: `default` (profit and decisions, ties broken by
    activity), `profit`, `outcome` (what bets earned, weighted by stake), `ruler` (an LLM grades),
    or a class of your own as `module:Class`. See docs/scorers.md."""
    reward_weights: Weights = DEFAULT_WEIGHTS
    """The weight of each component for the scorer `default`, as JSON. A missing one weighs 0, and
    only proportions matter; activity only breaks ties."""
    archetype_weights: WeightsByArchetype = Field(default={})
    """Weights for single archetypes, for example `{"degen": {"profit": 1}}`; case does not
    matter."""
    archetype_scorers: ScorersByArchetype = Field(default={})
    """Scorers for single archetypes, for example `{"trader": "profit"}`, with the names of
    `BABYLON_SCORER`."""
    ruler_model: str | None = None
    """Scorer `ruler`: the judge's model by its litellm name: `openai/o3`, or `openai/NAME` for any
    OpenAI-compatible server at `BABYLON_RULER_BASE_URL`."""
    ruler_base_url: str | None = None
    """The judge's server, if not its provider's own address."""
    ruler_api_key: SecretStr | None = None
    """The judge's API key. Without one, and without a base URL, litellm reads the provider's own
    variable, such as `OPENAI_API_KEY`."""
    ruler_rubric: str | None = None
    """The criteria by which the judge grades. Without it: ART's general rubric."""
    ruler_timeout_seconds: float = Field(default=120, gt=0)
    """The most time for one question to the judge, retries included. After that its trajectories
    are rewarded by `default`."""
    ruler_concurrency: int = Field(default=8, ge=1)
    """How many questions are sent to the judge at the same time."""
    ruler_call_size: int = Field(default=16, ge=4)
    """The most trajectories in one question. Lower it if they exceed the judge's context."""
    ruler_min_agreement: float = Field(default=0.5, ge=0, le=1)
    """Each question is asked twice, in different orders. If the rank correlation of the two answers
    (Kendall's tau-b) is below this, neither is used."""
    profit_scale: float = Field(default=1000.0, gt=0)
    """The profit of a good hour, in Babylon's money. Profits that differ by less than a thousandth
    of it count as equal, and no profit counts for more than ten times as much."""
    outcome_wait_hours: float = Field(default=24, ge=0)
    """How long after its end an hour waits, untrained, for the outcomes of its bets; 0: not at all.
    Later outcomes still make new rewards for trajectories that no step has used."""
    max_steps_bytes: int = Field(default=8_000_000, gt=0)
    """A trajectory with longer recorded steps (bytes) is rejected as `too_large`, unread."""
    read_batch: int = Field(default=500, gt=0)
    """Rows read and scored at once. Lower it to save memory."""

    # groups
    group_by: str = "scenario,archetype,decision,market"
    """What trajectories must have in common to be compared, coarse to fine: `scenario`,
    `archetype`, `decision` (the kind of question), `market` (that the question names), `balance`
    (before the first step, in powers of two). Fewer names make fewer and larger sets to compare."""
    min_group_size: int = Field(default=8, ge=2)
    """If fewer trajectories than this share all of `BABYLON_GROUP_BY`, its last names are dropped
    for them one by one, but never scenario and archetype."""
    max_group_size: int = Field(default=16, ge=2)
    """The most trajectories in one group. More comparable ones make several groups. Lower it if
    one group exceeds the token budget or the memory."""
    min_reward_spread: float = Field(default=1e-3, ge=0)
    """A group whose rewards differ by no more than this teaches nothing and is left out."""
    max_staleness_steps: int = Field(default=8, ge=0)
    """Calls of a checkpoint more training steps than this away from the parent of the next step are
    refused as `stale`, unless it serves. Held checkpoints do not count."""
    max_staleness_hours: int = Field(default=168, ge=1)
    """An hour further behind the newest sealed one is not trained on; its left-over trajectories
    are refused as `stale`. Raise it to train on a backfill of older hours."""
    logprobs: str = "exact"
    """Which calls may be trained on, in order of preference: `exact` (recorded token by token), and
    with `cpu` also `parent`, `rescored`, `none`. A step uses one kind only; docs/recording.md
    explains them."""
    step_token_budget: int = Field(default=60_000, gt=0)
    """The most tokens in one step, prompts included; the first group is taken whatever its size.
    The rest of an hour is left over for later steps. Raise it to work off a backlog faster."""
    max_windows_per_step: int = Field(default=4, ge=1)
    """The most waiting hours that share a step. Raise it to work off a backlog faster."""

    # training
    learning_rate: float = Field(default=4e-4, gt=0)
    """The first learning rate."""
    final_learning_rate: float = Field(default=4e-5, ge=0)
    """The learning rate after the decay."""
    learning_rate_warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the rate first rises. 0: none."""
    learning_rate_decay_steps: int = Field(default=60, ge=1)
    """Steps over which the rate falls linearly."""
    learning_rate_spread_power: float = Field(default=1.0, ge=0)
    """The rate is multiplied by the share of trajectories in groups with spread, to this power; 0
    disables this."""
    kl_coefficient: float = Field(default=0.05, ge=0)
    """The weight of the KL penalty towards the base model (`cpu` and `local`)."""
    packed_sequence_length: int = Field(default=2048, ge=64)
    """The longest call, prompt and answer together, in tokens (`cpu`); longer ones are refused as
    `too_long`. Packed rows are as long as a step's longest call needs; long rows need memory."""
    seed: int = 0
    """The seed of all randomness in training (`cpu`); it is part of a step's manifest."""

    # evaluation and promotion
    max_eval_groups: int = Field(default=16, ge=1)
    """The most held-out groups that checkpoints are compared on, the newest first."""
    min_eval_groups: int = Field(default=4, ge=1)
    """With fewer groups there is no evidence, and the checkpoint is held."""
    min_eval_coverage: float = Field(default=0.05, ge=0, le=1)
    """The smallest share of a policy's probability that recorded answers must cover to count as
    evidence. Lower it only deliberately."""
    promote_entropy_weight: float = Field(default=0.1, ge=0)
    """The bonus for diverse answers in a checkpoint's objective, per nat. Raise it if policies
    settle on one answer."""
    promote_tolerance: float = Field(default=0.01, ge=0)
    """How much worse than the serving and the best checkpoint a new one may be and still be
    promoted."""
    promote_without_evaluation: bool = False
    """Promote without evidence, instead of holding. Needed for `serverless` and `local`, which
    cannot evaluate."""

    # leases and attempts
    lease_seconds: float = Field(default=90, gt=1)
    """How long a claim lasts unless renewed, and so how long after a worker's death another may
    take over. Renewed every quarter of it; given up after 0.8 of it."""
    max_attempts: int = Field(default=3, ge=1)
    """How often an hour is scored, or a step run, before it fails for good and waits for
    `windows retry`."""
    retry_delay_seconds: float = Field(default=30, ge=0)
    """The wait before the next attempt; for scoring it doubles each time."""
    upkeep_interval_seconds: float = Field(default=60, gt=0)
    """How often beat looks for work and for work that has stopped."""
    trainer_start_timeout_seconds: float = Field(default=300, gt=0)
    """How long the trainer may take to load its model and serve. Raise it for large models on slow
    disks."""
    trainer_silence_timeout_seconds: float = Field(default=600, gt=0)
    """A trainer that makes no progress for this long, even if it is alive, is killed and its step
    recovered."""
    shutdown_seconds: float = Field(default=20, gt=0)
    """How long a stopping worker lets its task run before interrupting it. Grace periods must be
    15 s longer."""

    # inference hosted by the trainer (backends local and cpu)
    inference_host: str = "127.0.0.1"
    """The address on which the trainer answers agents. Any but loopback needs a key and
    `BABYLON_INFERENCE_URL`."""
    inference_port: int = Field(default=8100, ge=0, le=65535)
    """The port of the trainer's inference. 0: any free one."""
    inference_url: str | None = None
    """The address that agents use, if not the one listened on: a Service's name, a proxy. Ends with
    `/v1`."""
    inference_api_key: SecretStr = SecretStr(DEFAULT_KEY)
    """The key that agents must send. The default is acceptable for loopback only."""

    # processes and what watches them
    cpu_concurrency: int = Field(default=1, ge=1)
    """Processes of one cpu-worker, each scoring one hour at a time."""
    metrics_host: str = "127.0.0.1"
    """The address that `/metrics`, `/livez` and `/readyz` are served on."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """The port of these, for each process. 0: not served."""
    flower_host: str = "127.0.0.1"
    """The address that Flower listens on."""
    flower_port: int = Field(default=5555, ge=0, le=65535)
    """Flower's port."""
    flower_basic_auth: SecretStr | None = Field(default=None, validation_alias="FLOWER_BASIC_AUTH")
    """Flower's login, as user:password, the password of 8 characters or more; separate several by
    commas. Flower does not start without it."""
    flower_db: Path | None = None
    """A file for Flower's list of tasks, so that a restart does not lose it; in a folder that only
    Flower can write to. Without it the list is kept in memory only."""

    # operation
    log_format: Literal["auto", "json", "console"] = "auto"
    """`json` lines, `console` for people, or `auto`: console if standard error is a terminal."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR. Commands run manually show only warnings at INFO."""

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
            raise ValueError(
                f"BABYLON_GROUP_BY must list some of {', '.join(GROUPINGS)}, once each"
            )
        if not set(self.labels) <= set(LABELS) or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"BABYLON_LOGPROBS must list some of {', '.join(LABELS)}, once each")
        if not self.labels:
            raise ValueError("BABYLON_LOGPROBS is empty: nothing could be trained on")
        if self.min_eval_groups > self.max_eval_groups:
            raise ValueError("BABYLON_MIN_EVAL_GROUPS exceeds BABYLON_MAX_EVAL_GROUPS")
        if self.inference_host not in _LOOPBACK:
            # Other machines can reach it there, and agents must know the address.
            if self.inference_api_key.get_secret_value() == DEFAULT_KEY:
                raise ValueError(
                    "BABYLON_INFERENCE_HOST admits other machines: set BABYLON_INFERENCE_API_KEY"
                )
            if self.inference_url is None:
                raise ValueError(
                    "BABYLON_INFERENCE_HOST admits other machines: set BABYLON_INFERENCE_URL to "
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
    """Name the environment variable of a field."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"BABYLON_{field.upper()}"


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """Read the process's settings from its environment; raises SettingsError."""
    return checked()


def checked(**values: Any) -> Settings:
    """Make settings from these values, and the rest from the environment.

    Raises SettingsError that names each violation and contains no value: some are secrets.
    """
    _refuse_retired()
    return read(Settings, **values)


def given() -> dict[str, str]:
    """List what is set, usable or not, by variable: in the environment, ``.env`` or a secret."""
    try:
        values = {
            **SecretsSettingsSource(Settings, secrets_dir())(),
            **DotEnvSettingsSource(Settings)(),
            **EnvSettingsSource(Settings)(),
        }
    except OSError as error:
        raise unreadable(error) from None
    # The sources name fields, or the aliases of those that have one.
    return {
        f"BABYLON_{name.upper()}" if name in Settings.model_fields else name: value
        for name, value in values.items()
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
