"""Check references in k8s/: policies, Services, monitors, accounts, settings, budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from babylon_tasks.processes import ProcessName
from checks.renderings import Object, Rendering
from checks.violations import Violation
from checks.workloads import Workload, workloads

_WORKING = (ProcessName.CPU_WORKER, ProcessName.GPU_WORKER, ProcessName.GATEWAY)
_DIRECTIONS = {"ingress": "from", "egress": "to"}
_OPERATORS: dict[str, Callable[[str | None, list[str]], bool]] = {
    "In": lambda label, values: label in values,
    "NotIn": lambda label, values: label not in values,
    "Exists": lambda label, _: label is not None,
    "DoesNotExist": lambda label, _: label is None,
}


def denied(rendering: Rendering) -> Iterator[Violation]:
    """Check that all traffic is denied by default, and each exception names peers and ports."""
    policies, pods = list(rendering.of("NetworkPolicy")), workloads(rendering)
    everything: dict[str, Any] = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if any(rendering.of("Deployment")) and not any(one.spec == everything for one in policies):
        what = "needs a NetworkPolicy that denies every pod both ways by default"
        yield Violation(f"k8s/{rendering.name}", what)
    for pod in pods:
        for direction in everything["policyTypes"]:
            bound = [one for one in policies if direction in one.spec.get("policyTypes", [])]
            if not any(chooses(one.spec.get("podSelector"), pod.labels) for one in bound):
                yield pod.object.violation(f"no NetworkPolicy bounds its {direction.lower()}")
    for policy in policies:
        own = chosen(policy.spec.get("podSelector"), pods)
        if not own:
            yield policy.violation("its podSelector chooses no pod of this rendering")
        for direction, peers in _DIRECTIONS.items():
            for rule in policy.spec.get(direction) or []:
                yield from _rule(policy, rule, peers, own, pods)


def _rule(
    policy: Object, rule: dict[str, Any], peers: str, own: list[Workload], pods: list[Workload]
) -> Iterator[Violation]:
    if not rule.get(peers) or {} in rule[peers]:
        yield policy.violation(f"a rule without `{peers}` admits all peers; name them")
    if not rule.get("ports"):
        yield policy.violation("a rule without ports opens all of them; name them")
    inside = [peer for peer in rule.get(peers) or [] if set(peer) == {"podSelector"}]
    others = [one for peer in inside for one in chosen(peer["podSelector"], pods)]
    if inside and not others:
        yield policy.violation(f"its `{peers}` chooses no pod of this rendering")
    listeners = own if peers == "from" else others
    for port in (port.get("port") for port in rule.get("ports") or []):
        if listeners and not any(port in one.ports for one in listeners):
            names = ", ".join(sorted({one.name for one in listeners}))
            yield policy.violation(f"opens port {port}, on which none of its pods listens: {names}")


def services(rendering: Rendering) -> Iterator[Violation]:
    """Check that Services lead to existing ports of pods, and ServiceMonitors to Services."""
    for service in rendering.of("Service"):
        pods = chosen({"matchLabels": service.spec.get("selector")}, workloads(rendering))
        if not pods:
            yield service.violation("its selector chooses no pod of this rendering")
        for port in service.spec.get("ports") or []:
            target = port.get("targetPort", port["port"])
            for one in pods:
                if target not in one.ports:
                    what = f"leads to port {target}, which {one.name} does not have"
                    yield service.violation(what)
                numbers = {c.ports[target] for c in one.containers if target in c.ports}
                if numbers and port["port"] not in numbers:
                    yield service.violation(
                        f"port {port['port']} leads to {sorted(numbers)[0]} of {one.name}: write "
                        "the same number, as the settings and NetworkPolicies do"
                    )
    for monitor in rendering.of("ServiceMonitor"):
        found = [s for s in rendering.of("Service") if chooses(monitor.spec["selector"], s.labels)]
        names = {port.get("name") for service in found for port in service.spec["ports"]}
        for endpoint in monitor.spec["endpoints"]:
            if endpoint["port"] not in names:
                yield monitor.violation(f"scrapes port {endpoint['port']} of no Service")


def references(rendering: Rendering) -> Iterator[Violation]:
    """Check that named accounts and settings exist, and that budgets match pods."""
    pods = workloads(rendering)
    budgets = list(rendering.of("PodDisruptionBudget"))
    for one in pods:
        account = one.pod.get("serviceAccountName", "default")
        if rendering.named("ServiceAccount", account) is None:
            what = f"its serviceAccountName {account} is no ServiceAccount here"
            yield one.object.violation(what)
        for container in one.containers:
            for source in container.content.get("envFrom") or []:
                name = (source.get("configMapRef") or {}).get("name", "")
                if rendering.named("ConfigMap", name) is None:
                    what = f"takes its environment from {name}, no ConfigMap here"
                    yield container.violation(what)
        works = any(container.process in _WORKING for container in one.containers)
        if works and not any(chooses(b.spec.get("selector"), one.labels) for b in budgets):
            yield one.object.violation("needs a PodDisruptionBudget")
    for budget in budgets:
        if not chosen(budget.spec.get("selector"), pods):
            yield budget.violation("its selector chooses no pod of this rendering")


def chosen(selector: dict[str, Any] | None, pods: Sequence[Workload]) -> list[Workload]:
    """List the workloads whose pods a label selector matches."""
    return [one for one in pods if chooses(selector, one.labels)]


def chooses(selector: dict[str, Any] | None, labels: dict[str, str]) -> bool:
    """Check whether a label selector matches these labels; an empty one matches all."""
    wanted = (selector or {}).get("matchLabels") or {}
    return wanted.items() <= labels.items() and all(
        _OPERATORS[one["operator"]](labels.get(one["key"]), one.get("values") or [])
        for one in (selector or {}).get("matchExpressions") or []
    )
