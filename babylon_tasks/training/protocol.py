"""The messages between the gpu-worker and its trainer process: one JSON object per line.

The worker writes requests to the trainer's stdin and reads replies from its stdout; stderr is
the trainer's log. A live trainer sends something (``Heartbeat`` at the least) every few seconds,
so silence means trouble. End of stdin means: stop at once.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from babylon_tasks.faults import Fault
from babylon_tasks.reasons import Reason
from babylon_tasks.step_records import CommittedCheckpoint, StepResult, SupervisedConfig
from babylon_tasks.training.trainer_start import StartTrainer, TrainerReady

GRADIENT_STEPS = "gradient steps"  # what the progress of a step counts once it trains


class TrainRequest(Struct, frozen=True, tag=True):
    """Do one training step; answered by ``RequestProgress``..., then ``Trained``.

    ``base_step`` is the backend's newest step, ``parent_step`` the one whose weights the step
    starts from (None: the same). They differ after a checkpoint was held: it is a dead branch.
    ``logprobs`` is the label of every call in the file (``dataset/eligibility.py``). ``job``: of
    W&B, begun by an earlier run of this step, to be followed instead of beginning one; ``overdue``:
    for longer than BABYLON_WANDB_JOB_SECONDS, so what cannot be measured of it is done without.
    ``max_mismatch_kl``: the bound beyond which importance ratios have exploded, None: no bound.
    With ``supervised`` the step makes the file's answers likelier, whoever gave them: rewards,
    labels, the KL coefficient and ratios do not count.
    """

    base_step: int
    manifest_hash: str
    groups_path: str
    learning_rate: float
    kl_coefficient: float
    seed: int
    packed_sequence_length: int
    logprobs: str = "exact"
    parent_step: int | None = None
    job: str | None = None
    overdue: bool = False
    scale_rewards: bool = True
    max_importance_ratio: float | None = None
    advantage_balance: float = 0.0
    max_mismatch_kl: float | None = None
    supervised: SupervisedConfig | None = None


class InspectRequest(Struct, frozen=True, tag=True):
    """Prove that what would be trained on is what was sampled; answered by ``Inspected``.

    ``RequestProgress`` counts groups. ``packed_sequence_length`` is the longest row that a step may
    take, ``logprobs`` the label of every call in the file.
    """

    groups_path: str
    packed_sequence_length: int
    logprobs: str = "exact"


class EvaluateRequest(Struct, frozen=True, tag=True):
    """Evaluate checkpoints on held-out groups; ``RequestProgress`` first, then ``Evaluated``."""

    steps: tuple[int, ...]
    groups_path: str


class NewestStepRequest(Struct, frozen=True, tag=True):
    """Ask for the newest step and the manifest that made it; answered by ``BackendStep``."""


class CheckRequest(Struct, frozen=True, tag=True):
    """Compare these ``steps`` with what was ``committed``; answered by ``Checked``.

    The trainer keeps what was committed, and loads nothing that differs.
    """

    committed: tuple[CommittedCheckpoint, ...]
    steps: tuple[int, ...]


class DiscardRequest(Struct, frozen=True, tag=True):
    """Remove the newest checkpoint, which failed verification; answered by ``BackendStep``."""

    step: int


class SetAsideRequest(Struct, frozen=True, tag=True):
    """Set the newest checkpoint aside, which could not be verified; answered by ``BackendStep``.

    ``folder``: the name that it gets. At W&B it cannot be moved, and stays the newest.
    """

    step: int
    folder: str


class DiscardBranchRequest(Struct, frozen=True, tag=True):
    """Discard the dead checkpoints ``steps``, newest first; answered by ``BackendStep``.

    The next step then starts from ``parent``. On disk the newest one is set aside as ``folder``,
    and the parent's weights take its place. What is done already is not done again.
    """

    parent: int
    steps: tuple[int, ...]
    folder: str


class DeleteRequest(Struct, frozen=True, tag=True):
    """Delete pruned checkpoints that are not on this machine; answered by ``Deleted``."""

    steps: tuple[int, ...]


class LoggedStep(Struct, frozen=True):
    """A committed step and what was measured in it."""

    step: int
    metrics: dict[str, float]


class LogRequest(Struct, frozen=True, tag=True):
    """Log committed ``steps``, those that have no line in ART's history; answered by ``Logged``."""

    steps: tuple[LoggedStep, ...]


class CloseRequest(Struct, frozen=True, tag=True):
    """Finish and exit with code 0."""


TrainerRequest = (
    StartTrainer
    | InspectRequest
    | TrainRequest
    | EvaluateRequest
    | NewestStepRequest
    | CheckRequest
    | DiscardRequest
    | SetAsideRequest
    | DiscardBranchRequest
    | DeleteRequest
    | LogRequest
    | CloseRequest
)


class Heartbeat(Struct, frozen=True, tag=True):
    """Still alive, nothing new."""


class RequestProgress(Struct, frozen=True, tag=True):
    """How far a request has come; ``done`` of ``total`` of what is ``counted``.

    Sent again, unchanged, while its work goes on without a count (``work.py``). ``job``: the
    reference of the job at W&B, where it has changed (``job_references.py``).
    """

    done: int
    total: int
    tokens: int = 0
    loss: float | None = None
    job: str | None = None
    counted: str = GRADIENT_STEPS


class Trained(Struct, frozen=True, tag=True):
    """A training step ran to its end; the result is still to be verified."""

    result: StepResult


class Refusal(Struct, frozen=True):
    """A call that must not be trained on: the ``call``-th of its trajectory, counted from 0."""

    trajectory_id: str
    call: int
    reason: Reason
    detail: str


class Weight(Struct, frozen=True):
    """What one group costs without its refused calls: tokens in all, and of its longest row."""

    tokens: int
    longest: int


class Inspected(Struct, frozen=True, tag=True):
    """What an inspection found; ``weights`` are of the groups in the order of the file.

    A backend without a tokenizer refuses only what can be seen without one, and weighs nothing:
    ``weights`` is empty.
    """

    refusals: tuple[Refusal, ...]
    weights: tuple[Weight, ...]


class StepValue(Struct, frozen=True):
    """Per held-out group: the policy's value in [0, 1], the probability mass that the recorded
    answers cover, and the entropy of the policy over them, in nats. ``says``: what the policy's
    answers come to, by probability (``dataset/diversity.py``)."""

    step: int
    values: tuple[float, ...]
    coverage: tuple[float, ...]
    entropy: tuple[float, ...]
    says: tuple[dict[str, float], ...]


class Evaluated(Struct, frozen=True, tag=True):
    """The values of each requested step, groups in the order of the file."""

    steps: tuple[StepValue, ...]


class BackendStep(Struct, frozen=True, tag=True):
    """The backend's newest checkpoint; ``result`` is the record of its step where one was left."""

    step: int
    result: StepResult | None = None


class Checked(Struct, frozen=True, tag=True):
    """``damaged``: which of the steps cannot be loaded, and why."""

    damaged: dict[int, str]


class Deleted(Struct, frozen=True, tag=True):
    """The checkpoints are gone; those that were gone before count, too."""


class Logged(Struct, frozen=True, tag=True):
    """The newest step that has a line in ART's history; 0 for none."""

    newest: int


class RequestFailed(Struct, frozen=True, tag=True):
    """A request failed, but the trainer keeps running."""

    error: str
    message: str
    fault: Fault = Fault.WINDOW


TrainerReply = (
    TrainerReady
    | Heartbeat
    | RequestProgress
    | Inspected
    | Trained
    | Evaluated
    | BackendStep
    | Checked
    | Deleted
    | Logged
    | RequestFailed
)

OnProgress = Callable[[RequestProgress], None]
