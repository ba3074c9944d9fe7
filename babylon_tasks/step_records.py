"""What a training step is to do, what it did, and the checkpoint that it leaves; frozen, typed."""

from __future__ import annotations

from msgspec import Struct


class SupervisedConfig(Struct, frozen=True):
    """How a supervised step learns; its rate, seed and row length are those of any step.

    The rate rises over the first ``warmup_gradient_steps``, then stays. ``top_share`` of the
    comparable trajectories were chosen, the best ones. ``decision_weight``: what a token counts
    that spells which way an answer bets; 1 where the backend has no weights.
    """

    epochs: int
    calls_per_gradient_step: int
    warmup_gradient_steps: int
    top_share: float
    decision_weight: float = 1.0


class CommittedCheckpoint(Struct, frozen=True):
    """A checkpoint and what it consists of.

    ``content_hash``: of its weights, or its id where they are elsewhere; ``files``: name to
    SHA-256, empty for one that was committed before 0.2.
    """

    step: int
    content_hash: str | None = None
    files: dict[str, str] = {}


class StepResult(Struct, frozen=True, omit_defaults=True):
    """What a training step did, as the backend and the files on disk report it.

    ``step`` is the checkpoint that it wrote, ``files`` its files and their SHA-256.
    ``base_adapter_hash`` is that of the parent; None at step 0: the base model has no adapter.
    ``not_finite`` has, by name, the metrics that JSON cannot express, as Python writes them
    (``nan``, ``inf``): such a step is not committed. ``not_reported`` names the counts that ART did
    not report, which are 0 here. ``unmoved``: why nothing shows that the weights have moved, where
    the hashes are only ids. ``backend_step``: the checkpoint's number at the backend, where it is
    another.
    """

    step: int
    gradient_steps: int
    trainable_tokens: int
    adapter_hash: str | None
    base_adapter_hash: str | None
    uri: str
    inference_name: str
    manifest_hash: str
    metrics: dict[str, float]
    files: dict[str, str] = {}
    not_finite: dict[str, str] = {}
    not_reported: tuple[str, ...] = ()
    unmoved: str | None = None
    backend_step: int | None = None

    def as_committed(self) -> CommittedCheckpoint:
        """Return what is compared with the disk once this step is committed."""
        return CommittedCheckpoint(self.step, self.adapter_hash, self.files)
