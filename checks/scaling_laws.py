"""Our laws of how many there are: one trainer, one beat, and KEDA by rows, never by lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from babylon_tasks.processes import ProcessName
from babylon_tasks.settings import variable
from babylon_tasks.states import WindowState
from checks.faults import Fault
from checks.renderings import Object, Rendering
from checks.workloads import Workload, workloads

# What waits for a worker, and what one is busy with.
COUNTED = {
    ProcessName.CPU_WORKER: {WindowState.SEALED, WindowState.SCORING},
    ProcessName.GPU_WORKER: {WindowState.SCORED, WindowState.TRAINING},
}
_ALONE = (ProcessName.GPU_WORKER, ProcessName.BEAT)


def scaled(rendering: Rendering, _: str) -> Iterator[Fault]:
    """Every law of numbers."""
    found = {(one.object.kind, one.name): one for one in workloads(rendering) if one.processes}
    for one in found.values():
        yield from _alone(one)
    for scaler in rendering.of("ScaledObject"):
        target = scaler.spec.get("scaleTargetRef") or {}
        one = found.get((target.get("kind", "Deployment"), target.get("name", "")))
        if one is None:
            yield scaler.fault(f"scales {target.get('name')}, which is no process here")
        else:
            yield from _limits(scaler, one)
            for trigger in scaler.spec.get("triggers") or []:
                yield from _trigger(scaler, trigger, one, rendering)


def _process(one: Workload) -> ProcessName | None:
    name = one.processes[0].process
    return ProcessName(name) if name in set(ProcessName) else None


def _alone(one: Workload) -> Iterator[Fault]:
    process, spec = _process(one), one.object.spec
    if process not in _ALONE:
        return
    if spec.get("replicas", 1) > 1:
        yield one.object.fault(f"replicas is {spec['replicas']}: there must never be two {process}")
    kind, strategy = one.object.kind, (spec.get("strategy") or {}).get("type")
    if kind == "Deployment" and strategy != "Recreate":
        yield one.object.fault("needs strategy Recreate: else two of them run during an update")


def _limits(scaler: Object, one: Workload) -> Iterator[Fault]:
    process = _process(one)
    least, most = scaler.spec.get("minReplicaCount", 0), scaler.spec.get("maxReplicaCount", 100)
    if "replicas" in one.object.spec:
        yield one.object.fault(
            f"replicas and ScaledObject {scaler.name} contradict each other: remove replicas"
        )
    if process in _ALONE and most != 1:
        yield scaler.fault(
            f"maxReplicaCount must be 1: a lineage has one lease, and a second {process} could "
            "only wait for it"
        )
    if process is ProcessName.CPU_WORKER and least < 1:
        yield scaler.fault(
            "minReplicaCount must be 1 at the least: cpu-worker also opens and seals windows, and "
            "without one nothing would ever wait"
        )
    backend = one.processes[0].environment.get(variable("backend"), "auto")
    if process is ProcessName.GPU_WORKER and least < 1 and backend != "serverless":
        yield scaler.fault(
            f"minReplicaCount 0 with {variable('backend')}={backend}: with this backend the "
            "gpu-worker also answers the agents; scale to zero only with serverless"
        )


def _trigger(
    scaler: Object, trigger: dict[str, Any], one: Workload, rendering: Rendering
) -> Iterator[Fault]:
    if trigger.get("type") != "postgresql":
        yield scaler.fault(
            f"trigger {trigger.get('type')}: scale by a postgresql query of windows that wait and "
            "run; a running task is in no Redis list, and its worker would be scaled away"
        )
        return
    query = str((trigger.get("metadata") or {}).get("query", ""))
    process = _process(one)
    named = set(re.findall(r"'(\w+)'", query))
    wanted = {str(state) for state in COUNTED.get(process, set())} if process else set()
    if named != wanted:
        yield scaler.fault(
            f"its query counts windows in {', '.join(sorted(named)) or 'no state'}; what waits for "
            f"and keeps busy a {process} is {', '.join(sorted(wanted))} (babylon_tasks/states.py)"
        )
    name = (trigger.get("authenticationRef") or {}).get("name", "")
    if rendering.named("TriggerAuthentication", name) is None:
        yield scaler.fault(f"its authenticationRef {name or '(none)'} is no TriggerAuthentication")
