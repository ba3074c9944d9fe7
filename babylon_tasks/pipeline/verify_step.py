"""Check that a training step trained on something. PURE.

ART reports success, and copies the checkpoint, even when it has trained on nothing.
"""

from __future__ import annotations

from babylon_tasks import step_metrics
from babylon_tasks.step_records import StepResult


def verify(
    base_step: int,
    result: StepResult,
    manifest_hash: str,
    *,
    max_mismatch_kl: float | None = None,
) -> str | None:
    """Return why a result does not count as a training step; None where it does.

    ``max_mismatch_kl``: of BABYLON_MAX_MISMATCH_KL, in nats per token; None: no bound.
    """
    if result.manifest_hash != manifest_hash:
        return f"it was trained from manifest {result.manifest_hash[:12]}, not {manifest_hash[:12]}"
    if result.step != base_step + 1:
        return f"the backend is at step {result.step}, expected {base_step + 1}"
    if result.not_reported:
        counts = " and ".join(result.not_reported)
        return f"ART reported no number of {counts} under any known name (docs/art.md)"
    if result.gradient_steps <= 0:
        return "no gradient step was taken"
    if result.trainable_tokens <= 0:
        return "no token was trained on"
    if result.adapter_hash is None:
        return "the checkpoint has no adapter"
    if result.adapter_hash == result.base_adapter_hash:
        return "the adapter is the same as before the step"
    if result.unmoved is not None:
        return f"the weights did not move: {result.unmoved}"
    if result.not_finite:
        return f"metrics are not finite: {', '.join(sorted(result.not_finite)[:5])}"
    distance = step_metrics.least_mismatch_kl(result.metrics)
    if max_mismatch_kl is not None and distance is not None and distance > max_mismatch_kl:
        return (
            f"the importance ratios exploded: the policy moved at least {distance:.3g} nats per "
            f"token from the one that answered (BABYLON_MAX_MISMATCH_KL={max_mismatch_kl:g}; "
            f"{step_metrics.in_short(result.metrics)})"
        )
    return None


def is_worthless(result: StepResult) -> bool:
    """Whether nothing is lost with a checkpoint that was not verified.

    Its weights are its parent's, or training diverged. Any other may be good, whatever ART reports
    or no longer reports: it is set aside.
    """
    unchanged = result.adapter_hash in (None, result.base_adapter_hash)
    return unchanged or bool(result.not_finite)
