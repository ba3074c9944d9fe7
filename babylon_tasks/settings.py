"""All settings, read once from the environment and checked together."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from babylon_tasks.agent_settings import (
    DEFAULT_LINEAGE,
    DatabaseSettings,
    require_key,
    require_plain_name,
)
from babylon_tasks.comparison_settings import ComparisonSettings
from babylon_tasks.cost_settings import CostSettings
from babylon_tasks.errors import SettingsError
from babylon_tasks.gateway_settings import GatewaySettings, server_of
from babylon_tasks.learning_settings import LearningSettings
from babylon_tasks.process_settings import MOST_KEPT_CALLS_DAYS
from babylon_tasks.read_settings import given_values, read, variables
from babylon_tasks.reward_settings import (
    DEFAULT_WEIGHTS,
    ScorerName,
    ScorersByArchetype,
    Weights,
    WeightsByArchetype,
)
from babylon_tasks.server_url import PostgresUrl, RedisUrl, require_address
from babylon_tasks.setting_names import misspelt, refuse_names

BackendName = Literal["auto", "serverless", "local", "cpu"]
_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,2})?", re.ASCII)


def _a_device(text: str) -> str:
    if not _DEVICE.fullmatch(text):
        raise ValueError("write auto, cpu, cuda, or cuda:0 for the first of several")
    return text


TorchDevice = Annotated[str, AfterValidator(_a_device)]


class Settings(
    LearningSettings, ComparisonSettings, CostSettings, GatewaySettings, DatabaseSettings
):
    """Every setting of the system; the environment variable's name is ``BABYLON_<FIELD>``.

    ``DATABASE_URL``, ``REDIS_URL``, ``WANDB_API_KEY`` and ``FLOWER_BASIC_AUTH`` keep their usual
    names. Seconds unless a name says otherwise. Settings missing in the environment are read from a
    folder of files with these names, ``BABYLON_SECRETS_DIR``, where that is set. The string under a
    field is its line in docs/configuration.md.
    """

    database_url: PostgresUrl = Field(validation_alias="DATABASE_URL")
    """Babylon's Postgres, as the role that the quickstart creates. Prisma's own parameters may stay
    in it; `?schema=` names the schema of Babylon's tables, `?pgbouncer=true` says that a
    transaction pooler is in between. TLS and poolers: docs/operations.md."""
    database_timeout_seconds: float = Field(default=60, gt=0)
    """The most time to wait for an answer of Postgres, locks included; then the connection counts
    as lost and another one is opened."""
    redis_url: RedisUrl = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"), validation_alias="REDIS_URL"
    )
    """Redis or Valkey, 6.2 or newer, `redis://`, or `rediss://`, which verifies the server
    (docs/operations.md). It may be Babylon's own: all our keys begin with `babylon-tasks:`."""
    wandb_api_key: SecretStr | None = Field(default=None, validation_alias="WANDB_API_KEY")
    """The W&B account that `serverless` trains with, and that gets the curves of all steps
    (docs/art.md). If it is set, `auto` chooses that backend."""
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
    base_model_aliases: str = ""
    """Other names under which providers record that very model, separated by commas, as
    `qwen/qwen3-32b, huggingface`. Calls of these names are taken for its own."""
    project: str = "babylon"
    """ART's and W&B's project, in which the model is registered."""
    entity: str | None = None
    """The W&B team or user, if it is not the key's default."""
    backend: BackendName = "auto"
    """The training backend: `auto` chooses `serverless` if there is a W&B key, `local` if there are
    an NVIDIA GPU and unsloth, else `cpu`."""
    torch_device: TorchDevice = "auto"
    """What backend `cpu` computes on: `auto` takes the first NVIDIA card that torch can use and
    that has 6 GiB to spare, else the processor; `cpu`, `cuda` and `cuda:N` insist."""
    torch_threads: int | None = Field(default=None, ge=1, le=1024)
    """How many threads backend `cpu` computes with on the processor. Without it: as many as
    `OMP_NUM_THREADS` says, else one less than the cores that it may use (affinity, cgroup), so that
    agents and other processes have one."""
    data_dir: Path = Path(".babylon")
    """Where the gpu-worker keeps checkpoints, the data of a running step and `trainer.log`
    (10 MiB; `trainer.log.1` has what was before). Back it up together with the schema
    `training`."""

    # windows
    grace_seconds: float = Field(default=300, ge=0)
    """How long the rows of an hour that is over must have stayed the same, by Postgres's clock,
    before it is sealed. Raise it if agents write late or imports pause."""
    max_open_seconds: float = Field(default=3600, gt=0)
    """An hour that has been over but open for this long is sealed even if rows still arrive."""
    lookback_hours: int = Field(default=72, gt=0)
    """How far back to look for new hours, late rows of scored ones, and changes of Babylon's
    outcomes. `windows backfill` opens older hours, and looks at their outcomes again."""
    min_agents: int = Field(default=2, ge=1)
    """An hour with usable trajectories of fewer agents is skipped."""
    held_out_share: float = Field(default=0.1, ge=0, lt=1)
    """The share of hours, chosen by hash, that is never trained on but used to compare checkpoints;
    after refusals in a row so are the next hours. With 0 none is, and nothing can be promoted by
    evaluation."""

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
    """The most trajectories in one question."""
    ruler_call_tokens: int = Field(default=60_000, ge=1000)
    """The most tokens in one question, estimated at four characters each. Longer ones are divided;
    a trajectory of more than half of it is rewarded by `default`. Lower it if questions exceed the
    judge's context, which must contain rubric and grades, too."""
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

    @property
    def base_model_names(self) -> tuple[str, ...]:
        """All names of the base model, ``base_model`` first."""
        others = (name.strip() for name in self.base_model_aliases.split(","))
        return (self.base_model, *(name for name in others if name))

    @property
    def rows_kept_hours(self) -> float:
        """How long the rows of a window are kept after its end: as long as they may be needed."""
        needed = (self.lookback_hours, self.outcome_wait_hours, self.max_staleness_hours)
        return max(self.keep_rows_days * 24, *needed)

    @property
    def calls_kept_hours(self) -> float:
        """How long captured calls are kept: as long as an hour may wait to be trained."""
        needed = max(self.keep_calls_days * 24, self.outcome_wait_hours, self.max_staleness_hours)
        return min(needed, MOST_KEPT_CALLS_DAYS * 24)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        require_key("WANDB_API_KEY", self.wandb_api_key)
        require_key("BABYLON_RULER_API_KEY", self.ruler_api_key)
        if {self.lineage, self.anchor_model} & {*self.base_model_names[1:]}:
            raise ValueError(
                "BABYLON_BASE_MODEL_ALIASES lists BABYLON_LINEAGE or BABYLON_ANCHOR_MODEL: their "
                "answers are not the base model's"
            )
        if self.backend == "serverless" and self.wandb_api_key is None:
            raise ValueError("BABYLON_BACKEND=serverless needs WANDB_API_KEY")
        if (self.archetype_weights or self.archetype_scorers) and "archetype" not in self.grouping:
            raise ValueError(
                "BABYLON_ARCHETYPE_WEIGHTS and BABYLON_ARCHETYPE_SCORERS need groups of one "
                "archetype: add archetype to BABYLON_GROUP_BY"
            )
        require_address("BABYLON_RULER_BASE_URL", self.ruler_base_url, "https://judge:8000/v1")
        require_address("BABYLON_WANDB_BASE_URL", self.wandb_base_url, "https://proxy:8000")
        require_address("BABYLON_TRACES_URL", self.traces_url, "http://collector:4318")
        if "ruler" in (self.scorer, *self.archetype_scorers.values()) and not self.ruler_model:
            raise ValueError("the scorer ruler needs BABYLON_RULER_MODEL")
        if self.promotion_mode == "proven" and self.comparison_proof != "examinee":
            raise ValueError(
                "BABYLON_PROMOTION_MODE=proven needs BABYLON_COMPARISON_PROOF=examinee: an average "
                "says nothing of a checkpoint that does not serve"
            )
        if self.anchor_model is not None and (
            server_of(self.gateway_upstreams, self.anchor_model) is None
        ):
            raise ValueError(
                "BABYLON_ANCHOR_MODEL is a model that no server of BABYLON_GATEWAY_UPSTREAMS "
                "lists: add it to the `models` of its server, or correct the name"
            )
        for field in ("lineage", "project", "entity"):
            require_plain_name(variable(field), getattr(self, field))
        return self


def variable(field: str) -> str:
    """Name the environment variable of a field."""
    return variables(Settings)[field]


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """Read the process's settings from its environment; raises SettingsError."""
    return checked()


def checked(**values: Any) -> Settings:
    """Make settings from these values, and the rest from the environment.

    Raises SettingsError that names each violation and contains no value: some are secrets.
    """
    refuse_names(Settings)
    try:
        return read(Settings, **values)
    except SettingsError as error:
        # What is missing may be there under another name.
        raise SettingsError("\n- ".join([str(error), *misspelt(Settings)])) from None


def given() -> dict[str, str]:
    """List what is set, usable or not, by variable; raises SettingsError."""
    return given_values(Settings)
