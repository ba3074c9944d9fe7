"""Check that what scales scales one of our processes; KEDA's by the rows that it works on."""

from __future__ import annotations

import re
from collections.abc import Iterator

from babylon_tasks.agent_settings import DEFAULT_LINEAGE
from babylon_tasks.processes import ProcessName
from babylon_tasks.settings import variable
from babylon_tasks.states import WindowState
from checks.drift.containers import Deployment
from checks.renderings import Rendering
from checks.violations import Violation

# What waits for a worker, and what one is busy with.
COUNTED: dict[str | None, set[WindowState]] = {
    ProcessName.CPU_WORKER: {WindowState.SEALED, WindowState.SCORING},
    ProcessName.GPU_WORKER: {WindowState.SCORED, WindowState.TRAINING},
}

_LINEAGE = re.compile(r"lineage = '([^']*)'")
# A lineage's part in a window, its steps, tripwires and budget: no states that wait for a worker.
_OWN = re.compile(
    r"(?:lineage|e\.state|s\.state|t\.policy|b\.kind) (?:<>|=|IN) (?:'[^']*'|\([^)]*\))"
)


def scaled(rendering: Rendering, deployment: Deployment) -> Iterator[Violation]:
    """Every rule of scaling that one object by itself does not show."""
    owned = [(unit.owner, unit) for unit in deployment.units if unit.process and unit.owner]
    processes = {(owner.kind, owner.name): (owner, unit) for owner, unit in owned}
    for scaler in rendering.of("ScaledObject", "HorizontalPodAutoscaler"):
        target = scaler.spec["scaleTargetRef"]
        if (target.get("kind", "Deployment"), target["name"]) not in processes:
            yield scaler.violation(f"scales {target['name']}, which is no process here")
            continue
        owner, unit = processes[target.get("kind", "Deployment"), target["name"]]
        if "replicas" in owner.spec:
            yield owner.violation(
                f"replicas and {scaler.kind} {scaler.name} contradict each other: remove replicas"
            )
        if scaler.kind == "HorizontalPodAutoscaler":
            if unit.process != ProcessName.GATEWAY:
                yield scaler.violation(
                    f"scales {unit.process} by its load; KEDA scales workers by rows that wait"
                )
            continue
        backend = unit.environment.get(variable("backend"), "auto")
        to_zero = scaler.spec.get("minReplicaCount", 0) < 1
        if unit.process == ProcessName.GPU_WORKER and to_zero and backend != "serverless":
            yield scaler.violation(
                f"minReplicaCount 0 with {variable('backend')}={backend}: with this backend the "
                "gpu-worker also answers the agents; scale to zero only with serverless"
            )
        wanted = {str(state) for state in COUNTED.get(unit.process, set())}
        for trigger in scaler.spec["triggers"]:
            query = trigger["metadata"].get("query", "")
            lineage = unit.environment.get(variable("lineage"), DEFAULT_LINEAGE)
            for asked in _LINEAGE.findall(query):
                if asked != lineage:
                    yield scaler.violation(
                        f"its query asks about lineage {asked}; {variable('lineage')} is {lineage}"
                    )
            counted = set(re.findall(r"'(\w+)'", _OWN.sub("", query)))
            if counted != wanted:
                yield scaler.violation(
                    f"its query counts windows in {', '.join(sorted(counted)) or 'no state'}; what "
                    f"waits for and keeps busy a {unit.process} is {', '.join(sorted(wanted))} "
                    "(babylon_tasks/states.py)"
                )
            name = (trigger.get("authenticationRef") or {}).get("name", "(none)")
            if rendering.named("TriggerAuthentication", name) is None:
                what = f"its authenticationRef {name} is no TriggerAuthentication"
                yield scaler.violation(what)
