"""For each alert the fault that it is for: what then changes in the series of a real run."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from recorded_series import Change, fault, matching

GPU, CPU, BEAT, GATEWAY = (
    f'instance="{name}:9464"' for name in ("gpu-worker", "cpu-worker", "beat", "gateway")
)
_JOB = 'job="babylon-tasks"'
GIB = 2.0**30


class Fault(Struct, frozen=True):
    """After ``minutes`` of it just these alerts fire: the one it is for, and ``also``."""

    minutes: int
    changes: Mapping[str, Change]
    also: tuple[str, ...] = ()


def changed(changes: Mapping[str, Change]) -> dict[str, Change]:
    """Selectors replaced by the real run's series that they name."""
    return {series: change for said, change in changes.items() for series in matching(said)}


def rising(by: float, start: float = 0) -> Change:
    """So much more each minute."""
    return lambda minute: start + by * minute


def new(metric: str, labels: str, change: Change) -> dict[str, Change]:
    """A series that appears with the fault."""
    return {f"{metric}{{{_JOB},{labels}}}": change}


OF_LINEAGE = 'lineage="babylon"'
FAULTS: dict[str, Fault] = {
    # Recorded while the fault lasted.
    "BabylonScorerMissing": Fault(20, fault("cpu_worker_killed"), ("BabylonTargetDown",)),
    "BabylonRedisAway": Fault(20, fault("redis_away"), ("BabylonNotReady",)),
    "BabylonPostgresAway": Fault(20, fault("postgres_away"), ("BabylonNotReady",)),
    # Made, of the real run's series.
    "BabylonTargetDown": Fault(10, changed({f"{{{GATEWAY}}}": None, f"up{{{GATEWAY}}}": 0})),
    "BabylonBeatMissing": Fault(20, changed({f"{{{BEAT}}}": None})),
    "BabylonTrainerMissing": Fault(
        25,
        changed({f"{{{GPU}}}": None, "babylon_oldest_due_window_age_seconds": 4000}),
    ),
    "BabylonTrainerDown": Fault(
        15,
        changed({"babylon_trainer_up": 0, f"babylon_ready{{{GPU}}}": 0}),
        ("BabylonNotReady",),
    ),
    "BabylonTrainerRestarts": Fault(60, changed({"babylon_trainer_starts_total": rising(0.2, 1)})),
    "BabylonNotReady": Fault(15, changed({f"babylon_ready{{{BEAT}}}": 0})),
    "BabylonRedisInterrupted": Fault(
        60, changed({f'babylon_redis_interruptions_total{{{CPU},trouble="away"}}': rising(0.5)})
    ),
    "BabylonForeignMessages": Fault(
        20,
        changed(
            {'babylon_messages_refused_total{queue="cpu",reason="envelope"}': rising(0.1)},
        ),
    ),
    "BabylonDiskNearlyFull": Fault(
        10, changed({'babylon_disk_free_bytes{folder="data"}': 3 * GIB})
    ),
    "BabylonDiskFull": Fault(
        10,
        changed({'babylon_disk_free_bytes{folder="calls"}': GIB / 10}),
        ("BabylonDiskNearlyFull",),
    ),
    "BabylonTasksFail": Fault(
        60,
        changed(
            {
                "babylon_task_duration_seconds_count"
                '{outcome="failed",task="babylon.score_window.v1"}': rising(0.2)
            }
        ),
    ),
    "BabylonTwoReleases": Fault(70, new("babylon_build_info", f'{BEAT},version="9"', 1)),
    "BabylonBacklogOld": Fault(
        20, changed({"babylon_oldest_due_window_age_seconds": rising(60, 4 * 3600)})
    ),
    "BabylonBacklogVeryOld": Fault(
        20,
        changed({"babylon_oldest_due_window_age_seconds": rising(60, 13 * 3600)}),
        ("BabylonBacklogOld",),
    ),
    "BabylonNothingScored": Fault(
        20, changed({"babylon_last_scored_timestamp_seconds": -24 * 3600})
    ),
    "BabylonNothingTrained": Fault(
        290, changed({f'babylon_steps{{{OF_LINEAGE},state="running"}}': lambda at: at % 20 // 19})
    ),
    "BabylonStepsFail": Fault(
        90, changed({'babylon_step_runs_total{outcome="failed"}': rising(0.05)})
    ),
    "BabylonWindowsFailed": Fault(10, changed({'babylon_windows{state="failed"}': 1})),
    "BabylonCircuitOpen": Fault(20, changed({'babylon_circuit_open{circuit="scoring"}': 1})),
    "BabylonLeaseStale": Fault(20, changed({"babylon_lease_age_seconds": rising(60)})),
    "BabylonCheckpointDamaged": Fault(10, changed({"babylon_lineage_troubled": 1})),
    "BabylonRolledBack": Fault(
        10, changed({'babylon_promotion_decisions{decision="rollback"}': 1})
    ),
    "BabylonTrainingPaused": Fault(10, changed({"babylon_training_paused": 1})),
    "BabylonBudgetSpent": Fault(10, new("babylon_budget_spent", f"{BEAT},{OF_LINEAGE}", 1)),
    "BabylonHarmLikely": Fault(5, new("babylon_comparison_harm", f"{BEAT},{OF_LINEAGE}", 0.6)),
    "BabylonRampCostly": Fault(5, new("babylon_ramp_loss", f"{BEAT},{OF_LINEAGE}", 0.9)),
    "BabylonRefusalsInARow": Fault(5, changed({"babylon_refusals_in_a_row": 5})),
    "BabylonTripwireHolds": Fault(10, changed({"babylon_tripped_windows": 2})),
    "BabylonRejectionsHigh": Fault(
        90,
        changed({'babylon_trajectories_rejected_total{reason="no_evidence"}': rising(3)}),
    ),
    "BabylonNothingTaught": Fault(
        25 * 60,
        changed(
            {
                'babylon_windows{state="skipped"}': lambda at: at // 60,
                "babylon_last_scored_timestamp_seconds": lambda at: 3600 * (at // 60),
            }
        ),
    ),
    "BabylonNoSpread": Fault(
        240,
        changed(
            {
                "babylon_reward_spread": 0,
                "babylon_last_scored_timestamp_seconds": lambda at: 3600 * (at // 60),
            }
        ),
    ),
    "BabylonInferenceErrors": Fault(
        30,
        new(
            "babylon_inference_duration_seconds_count",
            f'{GPU},code="429",{OF_LINEAGE}',
            rising(1),
        ),
    ),
    "BabylonGatewayErrors": Fault(
        30,
        new(
            "babylon_gateway_duration_seconds_count",
            f'{GATEWAY},arm="none",code="503",served_by="none"',
            rising(1),
        ),
    ),
    "BabylonGatewayFallbacks": Fault(
        40,
        changed(
            {
                'babylon_gateway_fallbacks_total{reason="timeout"}': rising(1),
                'babylon_gateway_calls_total{source="none"}': rising(2, 10),
            }
        ),
    ),
    "BabylonGatewayRefused": Fault(
        10, changed({'babylon_gateway_refused_total{code="401"}': rising(1)})
    ),
    "BabylonGatewayPointerOld": Fault(
        20, changed({"babylon_gateway_pointer_age_seconds": rising(60)})
    ),
    "BabylonCapturesLost": Fault(
        10, changed({'babylon_gateway_captures_total{state="disk"}': rising(1)})
    ),
    "BabylonCapturesWaiting": Fault(
        20, changed({"babylon_gateway_captures_waiting_bytes": 0.6 * GIB})
    ),
    "BabylonSamplesIncomplete": Fault(
        60, changed({'babylon_gateway_samples_total{state="no_ids"}': rising(1)})
    ),
    "BabylonJudgeCost": Fault(150, changed({"babylon_ruler_cost_total": rising(0.1)})),
    "BabylonJudgeFails": Fault(
        60, changed({'babylon_ruler_fallbacks_total{reason="no_answer"}': rising(1)})
    ),
}

_TRAINING_STOPS = {f"{{{GPU}}}": None, "babylon_oldest_due_window_age_seconds": rising(60)}
# Fourteen hours in which hours wait scored because somebody, or a rule, wants it so.
WANTED: dict[str, Fault] = {
    "BabylonBudgetSpent": Fault(
        14 * 60,
        {
            **changed(_TRAINING_STOPS),
            **new("babylon_budget_spent", f"{BEAT},{OF_LINEAGE}", 1),
        },
    ),
    "BabylonTrainingPaused": Fault(
        14 * 60, changed({**_TRAINING_STOPS, "babylon_training_paused": 1})
    ),
}
_ANSWERED_BY_ANOTHER = 'babylon_trajectories_rejected_total{reason="other_policy"}'
_SCORED = changed({f"babylon_trajectories_scored_total{{{CPU}}}": rising(2, 80)})
# Rows that another model answered, because it was meant to answer them.
ANSWERED_BY_OTHERS: dict[str, dict[str, Change]] = {
    "two lineages, half of the agents each": {
        **_SCORED,
        **changed({_ANSWERED_BY_ANOTHER: rising(1)}),
        **new(
            "babylon_trajectories_rejected_total",
            'instance="gpu-worker-2:9464",reason="other_policy"',
            rising(1.1),
        ),
    },
    "before a ramp": {**_SCORED, **changed({_ANSWERED_BY_ANOTHER: rising(2.1)})},
}
SCORING_STOPS_TOO = changed({'babylon_windows{state="sealed"}': 9})
