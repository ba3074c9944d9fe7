"""The settings of processes: where they listen, what they log, how long they may be silent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from babylon_tasks.addresses import bare_host
from babylon_tasks.agent_settings import DEFAULT_KEY, LEAST_SECRET, require_inference_key
from babylon_tasks.read_settings import EnvironmentSettings
from babylon_tasks.server_url import require_address

ListenHost = Annotated[str, AfterValidator(bare_host)]
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MOST_KEPT_CALLS_DAYS = 390
# Of Flower, which accepts no other form, and of the dashboard.
_LOGIN = re.compile(rf"[!-9;-~]+:[!-~]{{{LEAST_SECRET},}}")


class ProcessSettings(EnvironmentSettings):
    """Leases, the trainer's inference, processes and logs: a part of ``Settings``."""

    # leases and attempts
    lease_seconds: float = Field(default=90, gt=1)
    """How long a claim lasts unless renewed, and so how long after a worker's death another may
    take over. Renewed every quarter of it; given up after 0.8 of it."""
    max_attempts: int = Field(default=3, ge=1)
    """How often an hour is scored, or a step run, before it fails for good and waits for
    `windows retry`."""
    retry_delay_seconds: float = Field(default=30, ge=0)
    """The wait before the next attempt; for scoring it doubles each time."""
    circuit_faults: int = Field(default=3, ge=1)
    """After how many faults of one kind in a row, none of them a window's own, scoring or training
    pauses: a full disk, a lost Postgres, a damaged file. `status` says so."""
    circuit_max_seconds: float = Field(default=600, gt=0)
    """The longest pause before the next try. The first one takes `BABYLON_RETRY_DELAY_SECONDS`,
    each one after it twice as long."""
    upkeep_interval_seconds: float = Field(default=60, gt=0)
    """How often beat looks for work and for work that has stopped."""
    trainer_start_timeout_seconds: float = Field(default=300, gt=0)
    """How long the trainer may take to load its model and serve. Raise it for large models on slow
    disks."""
    trainer_silence_timeout_seconds: float = Field(default=600, gt=0)
    """A trainer that makes no progress for this long, even if it is alive, is killed and its step
    recovered."""
    wandb_job_seconds: float = Field(default=3600, gt=0)
    """How long a step waits for its job at W&B, through interruptions of ours, before it fails;
    where the answer to the request for a job was lost, before it asks again; and where the job has
    ended but its events, or the proof that the weights have moved, cannot be had, before the step
    goes on without them (`docs/art.md`)."""
    shutdown_seconds: float = Field(default=20, gt=0)
    """How long a stopping worker lets its task run before interrupting it. Grace periods must be
    15 s longer."""

    # inference hosted by the trainer (backends local and cpu)
    inference_host: ListenHost = "127.0.0.1"
    """The address on which the trainer answers agents; `::` is all addresses, IPv4 and IPv6. Any
    but loopback needs a key and `BABYLON_INFERENCE_URL`."""
    inference_port: int = Field(default=8100, ge=0, le=65535)
    """The port of the trainer's inference. 0: any free one."""
    inference_url: str | None = None
    """The address that agents use, if not the one listened on: a Service's name, a proxy. Ends with
    `/v1`."""
    inference_api_key: SecretStr = SecretStr(DEFAULT_KEY)
    """The key that agents must send, of 16 or more ASCII characters; `make secrets` makes one. The
    default is acceptable for loopback only."""
    inference_max_requests: int = Field(default=256, ge=1)
    """The most requests of agents at once (`cpu`, `local`), waiting and answered together. Further
    ones get 429, and OpenAI's clients try again. Raise it if more agents ask at the same time."""
    inference_timeout_seconds: float = Field(default=600, gt=0)
    """The most time for one request (`cpu`, `local`), the wait while the trainer trains included.
    After that it gets 503 and is not sampled any further."""

    # processes and what watches them
    cpu_concurrency: int = Field(default=1, ge=1)
    """Processes of one cpu-worker, each scoring one hour at a time."""
    metrics_host: ListenHost = "127.0.0.1"
    """The address that `/metrics`, `/livez` and `/readyz` are served on."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """The port of these, for each process. 0: not served."""
    flower_host: ListenHost = "127.0.0.1"
    """The address that Flower listens on."""
    flower_port: int = Field(default=5555, ge=0, le=65535)
    """Flower's port."""
    flower_basic_auth: SecretStr | None = Field(default=None, validation_alias="FLOWER_BASIC_AUTH")
    """Flower's login, as user:password, the password of 8 characters or more; separate several by
    commas. Flower does not start without it."""
    flower_db: Path | None = None
    """A file for Flower's list of tasks, so that a restart does not lose it; in a folder that only
    Flower can write to. Without it the list is kept in memory only."""
    dashboard_host: ListenHost = "127.0.0.1"
    """The address that the dashboard listens on."""
    dashboard_port: int = Field(default=8300, ge=0, le=65535)
    """The dashboard's port."""
    dashboard_login: SecretStr | None = None
    """The dashboard's login, as user:password, the password of 8 characters or more. The dashboard
    does not start without it."""
    traces_url: str | None = None
    """A collector for OpenTelemetry's traces by OTLP over HTTP, such as `http://collector:4318`
    (docs/operations.md); it needs the extra `otel`. Without it there are none. Headers, such as a
    key, are OpenTelemetry's own variable `OTEL_EXPORTER_OTLP_HEADERS`."""
    traced_calls: float = Field(default=0.01, ge=0, le=1)
    """The share of agents' calls at the gateway that have a span in the trace of their hour."""

    # retention
    keep_checkpoints: int = Field(default=200, ge=1)
    """How many of the newest checkpoints keep their files. Beside them stay the serving one, those
    that a rollback returns to, the best of the last evaluation, and what the next step needs."""
    keep_rows_days: float = Field(default=30, gt=0, le=36_500)
    """How long the scores, rejections and uses of an hour's trajectories are kept once nothing more
    is to be done for it; their counts stay. At least as long as `BABYLON_LOOKBACK_HOURS`,
    `BABYLON_OUTCOME_WAIT_HOURS` and `BABYLON_MAX_STALENESS_HOURS`, whatever this says."""
    keep_calls_days: float = Field(default=14, gt=0, le=MOST_KEPT_CALLS_DAYS)
    """How long the gateway's captured calls are kept; at least as long as an hour may wait for its
    outcomes and its step, whatever this says. A recorded call without token ids is trained on only
    while its capture is there."""

    keep_replay_days: float = Field(default=30, ge=0, le=36_500)
    """How long what a step was trained on is kept in Postgres, compressed, for
    `babylon-tasks replay`, whatever Babylon does to its own rows. 0: not at all."""

    # operation
    log_format: Literal["auto", "json", "console"] = "auto"
    """`json` lines, `console` for people, or `auto`: console if standard error is a terminal."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR. Commands run manually show only warnings at INFO."""

    @property
    def again_after_seconds(self) -> float:
        """When beat's next round may take up a window again.

        A little less than beat's interval, or every second round would come too early.
        """
        return self.upkeep_interval_seconds * 0.9

    @model_validator(mode="after")
    def _processes(self) -> Self:
        require_inference_key(self.inference_api_key)
        if self.inference_host not in LOOPBACK:
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
        require_address(
            "BABYLON_INFERENCE_URL",
            self.inference_url,
            "http://inference:8100/v1",
            r"(/[^\s?#@]*)?/v1",
        )
        if self.flower_basic_auth is not None and not all(
            _LOGIN.fullmatch(login)
            for login in self.flower_basic_auth.get_secret_value().split(",")
        ):
            raise ValueError(
                "FLOWER_BASIC_AUTH must be user:password, in ASCII without spaces, the password "
                f"of {LEAST_SECRET} characters or more"
            )
        if self.dashboard_login is not None and not _LOGIN.fullmatch(
            self.dashboard_login.get_secret_value()
        ):
            raise ValueError(
                "BABYLON_DASHBOARD_LOGIN must be user:password, in ASCII without spaces, the "
                f"password of {LEAST_SECRET} characters or more"
            )
        return self
