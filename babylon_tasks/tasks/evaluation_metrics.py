"""The metrics of what an evaluation on held-out groups found, for beat's export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from babylon_tasks.db.gauges import EvaluationFigures
from babylon_tasks.tasks.metric_sample import Sample

_OF_CHECKPOINT = ("lineage", "checkpoint")
# Name: help text and labels. A figure that does not exist yet is left out.
FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "babylon_evaluation_value": (
        "Expected reward on held-out groups, of the newest and of the serving checkpoint.",
        _OF_CHECKPOINT,
    ),
    "babylon_evaluation_coverage": (
        "Share of the checkpoint's probability that recorded answers cover.",
        _OF_CHECKPOINT,
    ),
    "babylon_evaluation_entropy": (
        "How undecided the checkpoint is between recorded answers, in nats.",
        _OF_CHECKPOINT,
    ),
    "babylon_evaluation_commonest_answer": (
        "The largest share of the checkpoint's answers to one kind of held-out question that come "
        "to the same, of kinds with 8 groups or more; as the gate has it, in those groups alone in "
        "which agents acted differently, where there are 8.",
        _OF_CHECKPOINT,
    ),
    "babylon_evaluation_groups": ("Held-out groups that the evaluation used.", _OF_CHECKPOINT),
}


def samples(
    evaluations: Mapping[str, EvaluationFigures], of_it: dict[str, str]
) -> Iterator[Sample]:
    """List the newest evaluation of each checkpoint."""
    for checkpoint, found in evaluations.items():
        about = of_it | {"checkpoint": checkpoint}
        yield Sample("babylon_evaluation_value", found.value, about)
        yield Sample("babylon_evaluation_coverage", found.coverage, about)
        yield Sample("babylon_evaluation_entropy", found.entropy, about)
        if found.commonest is not None:
            yield Sample("babylon_evaluation_commonest_answer", found.commonest, about)
        yield Sample("babylon_evaluation_groups", found.groups, about)
