"""How many there are: one trainer, one beat, and KEDA by rows, never by lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from babylon_tasks.processes import ProcessName
from babylon_tasks.settings import variable
from babylon_tasks.states import WindowState
from checks.drift.containers import Deployment, Unit
from checks.renderings import Object, Rendering
from checks.violations import Violation

# What waits for a worker, and what one is busy with.
COUNTED: dict[str | None, set[WindowState]] = {
    ProcessName.CPU_WORKER: {WindowState.SEALED, WindowState.SCORING},
    ProcessName.GPU_WORKER: {WindowState.SCORED, WindowState.TRAINING},
}
_ALONE = (ProcessName.GPU_WORKER, ProcessName.BEAT)


def scaled(rendering: Rendering, deployment: Deployment) -> Iterator[Violation]:
    """Every rule of numbers."""
    owned = [(u, u.owner) for u in deployment.units if u.process is not None and u.owner]
    for unit, owner in owned:
        if unit.process in _ALONE:
            yield from _alone(unit, owner)
    processes = {(owner.kind, owner.name): unit for unit, owner in owned}
    for scaler in rendering.of("ScaledObject"):
        target = scaler.spec.get("scaleTargetRef") or {}
        scales = processes.get((target.get("kind", "Deployment"), target.get("name", "")))
        if scales is None:
            yield scaler.violation(f"scales {target.get('name')}, which is no process here")
        else:
            yield from _limits(scaler, scales)
            for trigger in scaler.spec.get("triggers") or []:
                yield from _trigger(scaler, trigger, scales, rendering)


def _alone(unit: Unit, owner: Object) -> Iterator[Violation]:
    replicas = owner.spec.get("replicas", 1)
    if replicas > 1:
        yield owner.violation(f"replicas is {replicas}: there must never be two {unit.process}")
    if owner.kind == "Deployment" and (owner.spec.get("strategy") or {}).get("type") != "Recreate":
        yield owner.violation("needs strategy Recreate: else two of them run during an update")


def _limits(scaler: Object, unit: Unit) -> Iterator[Violation]:
    least, most = scaler.spec.get("minReplicaCount", 0), scaler.spec.get("maxReplicaCount", 100)
    if unit.owner and "replicas" in unit.owner.spec:
        yield unit.owner.violation(
            f"replicas and ScaledObject {scaler.name} contradict each other: remove replicas"
        )
    if unit.process in _ALONE and most != 1:
        yield scaler.violation(
            f"maxReplicaCount must be 1: a lineage has one lease, and a second {unit.process} "
            "could only wait for it"
        )
    if unit.process == ProcessName.CPU_WORKER and least < 1:
        yield scaler.violation(
            "minReplicaCount must be 1 at the least: cpu-worker also opens and seals windows, and "
            "without one nothing would ever wait"
        )
    backend = unit.environment.get(variable("backend"), "auto")
    if unit.process == ProcessName.GPU_WORKER and least < 1 and backend != "serverless":
        yield scaler.violation(
            f"minReplicaCount 0 with {variable('backend')}={backend}: with this backend the "
            "gpu-worker also answers the agents; scale to zero only with serverless"
        )


def _trigger(
    scaler: Object, trigger: dict[str, Any], unit: Unit, rendering: Rendering
) -> Iterator[Violation]:
    if trigger.get("type") != "postgresql":
        yield scaler.violation(
            f"trigger {trigger.get('type')}: scale by a postgresql query of windows that wait and "
            "run; a running task is in no Redis list, and its worker would be scaled away"
        )
        return
    query = str((trigger.get("metadata") or {}).get("query", ""))
    counted = set(re.findall(r"'(\w+)'", query))
    wanted = {str(state) for state in COUNTED.get(unit.process, set())}
    if counted != wanted:
        yield scaler.violation(
            f"its query counts windows in {', '.join(sorted(counted)) or 'no state'}; what waits "
            f"for and keeps busy a {unit.process} is {', '.join(sorted(wanted))} "
            "(babylon_tasks/states.py)"
        )
    name = (trigger.get("authenticationRef") or {}).get("name", "")
    if rendering.named("TriggerAuthentication", name) is None:
        what = f"its authenticationRef {name or '(none)'} is no TriggerAuthentication"
        yield scaler.violation(what)
