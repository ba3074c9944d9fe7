"""The settings of what a step learns from, how it is trained, and what is promoted."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from babylon_tasks.read_settings import EnvironmentSettings
from babylon_tasks.tripwires import Tripwire, TripwirePolicy, read_policies

PromotionModeName = Literal["auto", "screened", "proven", "evaluated", "manual"]
LABELS = ("exact", "parent", "rescored", "none")  # of dataset/eligibility.py
HIGHEST_DEFAULT_RATE = 4e-4  # of dataset/training_defaults.py
GROUPINGS = ("scenario", "archetype", "decision", "market", "balance")


class LearningSettings(EnvironmentSettings):
    """Groups and steps, training, evaluation and promotion: a part of ``Settings``."""

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
    min_reward_spread: float = Field(default=1e-3, ge=0, lt=1)
    """A group whose rewards differ by no more than this teaches nothing and is left out."""
    exploration_share: float = Field(default=1 / 16, ge=0, lt=0.25)
    """Where at most this share of an hour's answers to a kind of question lost, a group is settled,
    and left out, if no action in it failed and at most twice this share of its members earned less
    than the rest: so a policy goes on trying what it does not prefer, and learns again once the
    world has changed. 1/16 needs groups of 8: in smaller ones one member is more. 0: no group is
    settled."""
    max_staleness_steps: int = Field(default=8, ge=0)
    """Calls of a checkpoint that is more training steps than this away from the parent of the next
    step are refused as `stale`, unless it serves. Held checkpoints do not count."""
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

    tripwires: str = ""
    """What becomes of an hour that trips a wire before a step, by wire, such as
    `length=hold,duplicates=off`: `off` (not looked at), `warn` (on record, and trained on), `hold`
    (not trained on until `babylon-tasks tripwires accept`). Without it: `outcome_words` and
    `against_outcomes` are `hold`, all others `warn`. docs/tripwires.md describes them."""

    # training
    learning_rate: float | None = Field(default=None, gt=0)
    """The first learning rate. Without it: 4e-4 for a model of less than 500 million parameters
    that `cpu` trains, else 1e-5, from ART's own examples. `doctor` shows which applies."""
    final_learning_rate: float | None = Field(default=None, gt=0)
    """The learning rate after the decay; never more than the first. Without it: 4e-5 or 5e-6,
    likewise; a tenth of `BABYLON_LEARNING_RATE` if that is set."""
    learning_rate_warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the rate first rises. 0: none."""
    learning_rate_decay_steps: int = Field(default=60, ge=1)
    """Steps over which the rate falls linearly."""
    learning_rate_spread_power: float = Field(default=1.0, ge=0)
    """The rate is multiplied by the share of trajectories in groups that teach, to this power; 0
    disables this."""
    kl_coefficient: float | None = Field(default=None, ge=0)
    """The weight of the KL penalty towards the base model. Without it: 0.05. `serverless` with ART
    0.5.18 has none: `doctor` says so, and the manifest says 0."""
    scale_rewards: bool | None = None
    """Whether a group's advantages are divided by the standard deviation of its rewards. Without
    it: `true`, as ART does."""
    advantage_balance: float = Field(default=0.0, ge=0, lt=1)
    """How much less an answer counts if it earned less than its group's mean, as a share of what
    the others count. 0: no less. Raise it where policies drift to one answer for everything: of two
    answers it makes the rarer one likelier (docs/learning.md)."""
    max_importance_ratio: float | None = Field(default=None, ge=1)
    """The most that an answer counts because it has become likelier since it was sampled. Without
    it: 2. ART's own limit is 5."""
    max_mismatch_kl: float = Field(default=3.0, ge=0)
    """A step is refused where the policy in training is further than this from the one that
    answered: KL divergence in nats per token, estimated from the importance ratios. `cpu` checks it
    before each gradient step of 64 tokens or more, and over the whole step before its checkpoint is
    written; elsewhere a step is checked if ART or W&B report ratios. Lower it to
    0.5 where answers are long. 0: no bound."""
    packed_sequence_length: int | None = Field(default=None, ge=64)
    """The longest call, prompt and answer together, in tokens (`cpu`); longer ones are refused as
    `too_long`. Without it: what half of the free memory suffices for, at least 2048. Packed rows
    are as long as a step's longest call needs."""
    seed: int = 0
    """The seed of all randomness in training (`cpu`); it is part of a step's manifest."""

    # supervised steps
    supervised_calls: int = Field(default=480, ge=1)
    """The most calls of one supervised step (`babylon-tasks warm-start`), of the newest hours."""
    supervised_epochs: int = Field(default=1, ge=1)
    """How often a supervised step learns from each answer."""
    supervised_calls_per_gradient_step: int = Field(default=4, ge=1)
    """How many answers one gradient step of a supervised step learns from."""
    supervised_learning_rate: float | None = Field(default=None, gt=0)
    """The learning rate of supervised steps. By default 2e-3 with `cpu` and a model of fewer than
    500 million parameters, and else ART's 5e-5."""
    supervised_warmup_gradient_steps: int = Field(default=5, ge=0)
    """The first gradient steps of a supervised step, over which its rate rises. 0: none."""
    supervised_decision_weight: float = Field(default=4.0, ge=1)
    """How much a token counts that spells which way an answer bets, as in `buy_yes`, where any
    other counts 1 (`cpu` only): the others are many, and most of them follow from the prompt."""

    # evaluation and promotion
    max_eval_tokens: int = Field(default=120_000, gt=0)
    """The most tokens in the held-out groups that checkpoints are compared on, estimated, each
    prompt and each different answer once. Every second group that is read for it is of the newest
    two hours; those in which agents acted differently are taken first. At least
    `BABYLON_MIN_EVAL_GROUPS` groups are taken; a group that alone has more tokens is left out.
    Lower it if comparing takes too long; with fewer groups the gate stops less
    (docs/learning.md)."""
    min_eval_groups: int = Field(default=4, ge=1)
    """With fewer groups the checkpoint is held."""
    min_eval_coverage: float = Field(default=0.05, ge=0, le=1)
    """The smallest share of a policy's probability that recorded answers must cover for its
    value to count. Lower it only deliberately."""
    promote_entropy_weight: float = Field(default=0.1, ge=0)
    """The bonus for diverse answers in a checkpoint's objective, per nat. Raise it if policies
    settle on one answer."""
    promote_tolerance: float = Field(default=0.01, ge=0)
    """How much worse than the serving checkpoint a new one may be and still be promoted, even
    where that is beyond doubt."""
    promotion_mode: PromotionModeName = "auto"
    """What a new checkpoint must show before it serves: `screened`, that it has not collapsed
    (docs/screen.md); `proven`, that, and a trial against the anchor; `evaluated`, a value on
    held-out groups (`cpu` only); `manual`, nothing: `babylon-tasks models promote` lets it serve.
    `auto` is `evaluated` with `cpu`, else `screened`."""

    screen_questions: int = Field(default=200, ge=20, le=2000)
    """How many held-out questions a candidate and the serving checkpoint answer in a screen, the
    newest first. Two answers each are paid for where W&B serves."""
    min_screen_questions: int = Field(default=50, ge=20)
    """With fewer questions a screen decides nothing, and waits for the next held-out hour."""
    min_screen_valid: float = Field(default=0.5, ge=0, le=1)
    """The least share of valid answers of a candidate while agents still use another model: there
    it is not compared with what serves (docs/screen.md)."""
    screen_concurrency: int = Field(default=8, ge=1, le=256)
    """How many of a screen's questions are asked at the same time."""
    screen_seconds: float = Field(default=900, gt=0)
    """The most time for the questions of a screen; the next try asks for the rest."""

    @model_validator(mode="after")
    def _learning(self) -> Self:
        first, final = self.learning_rate, self.final_learning_rate
        if final is not None and final > (HIGHEST_DEFAULT_RATE if first is None else first):
            raise ValueError("BABYLON_FINAL_LEARNING_RATE exceeds BABYLON_LEARNING_RATE")
        if not set(self.grouping) <= set(GROUPINGS) or len(set(self.grouping)) < len(self.grouping):
            raise ValueError(
                f"BABYLON_GROUP_BY must list some of {', '.join(GROUPINGS)}, once each"
            )
        if not set(self.labels) <= set(LABELS) or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"BABYLON_LOGPROBS must list some of {', '.join(LABELS)}, once each")
        if not self.labels:
            raise ValueError("BABYLON_LOGPROBS is empty: nothing could be trained on")
        try:
            read_policies(self.tripwires)
        except ValueError as error:
            raise ValueError(f"BABYLON_TRIPWIRES: {error}") from None
        if self.min_screen_questions > self.screen_questions:
            raise ValueError("BABYLON_MIN_SCREEN_QUESTIONS exceeds BABYLON_SCREEN_QUESTIONS")
        return self

    @property
    def grouping(self) -> tuple[str, ...]:
        """``group_by`` as names, coarse to fine."""
        return tuple(name.strip() for name in self.group_by.split(",") if name.strip())

    @property
    def labels(self) -> tuple[str, ...]:
        """``logprobs`` as labels, the preferred one first."""
        return tuple(name.strip() for name in self.logprobs.split(",") if name.strip())

    @property
    def tripwire_policies(self) -> dict[Tripwire, TripwirePolicy]:
        """``tripwires`` by wire, with the default of those that it does not name."""
        return read_policies(self.tripwires)
