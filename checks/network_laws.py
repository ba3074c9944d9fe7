"""Our laws of what points at what: policies, Services, monitors, volumes, accounts, budgets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from checks.faults import Fault
from checks.renderings import Object, Rendering
from checks.workloads import Workload, chosen, workloads

_DIRECTIONS = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}


def denied(rendering: Rendering, _: str) -> Iterator[Fault]:
    """Nothing may speak to anybody by default, and each exception is for somebody, at a port."""
    policies = list(rendering.of("NetworkPolicy"))
    for space in rendering.of("Namespace"):
        if not any(_denies_all(policy.spec) for policy in policies):
            yield space.fault("needs a NetworkPolicy that denies every pod both ways by default")
    pods = list(workloads(rendering))
    for policy in policies:
        held = [one for one in pods if chosen(policy.spec.get("podSelector"), one.labels)]
        if not held:
            yield policy.fault("its podSelector chooses no pod of this rendering")
        for direction, (rules, peers) in _DIRECTIONS.items():
            given = policy.spec.get(rules) or []
            if given and direction not in (policy.spec.get("policyTypes") or []):
                yield policy.fault(f"has {rules} rules but not {direction} in its policyTypes")
            for rule in given:
                yield from _rule(policy, rule, peers, held, pods)


def _denies_all(spec: dict[str, Any]) -> bool:
    return (
        spec.get("podSelector") == {}
        and set(spec.get("policyTypes") or []) == set(_DIRECTIONS)
        and not spec.get("ingress")
        and not spec.get("egress")
    )


def _rule(
    policy: Object, rule: dict[str, Any], peers: str, held: list[Workload], pods: list[Workload]
) -> Iterator[Fault]:
    if not rule.get(peers) or {} in rule[peers]:
        yield policy.fault(f"a rule without `{peers}` lets everybody in or out; name them")
    if not rule.get("ports"):
        yield policy.fault("a rule without ports opens all of them; name them")
    inside = [peer for peer in rule.get(peers) or [] if set(peer) == {"podSelector"}]
    others = [one for peer in inside for one in pods if chosen(peer["podSelector"], one.labels)]
    if inside and not others:
        yield policy.fault(f"its `{peers}` chooses no pod of this rendering")
    listeners = held if peers == "from" else others
    for port in rule.get("ports") or []:
        known = [_ports(one) for one in listeners]
        if known and not any(port.get("port") in ports for ports in known):
            yield policy.fault(
                f"opens port {port.get('port')}, on which none of its pods listens: "
                f"{', '.join(sorted({one.name for one in listeners}))}"
            )


def _ports(one: Workload) -> set[str | int]:
    found = [container.ports for container in one.containers]
    return {*(n for ports in found for n in ports), *(n for p in found for n in p.values())}


def services(rendering: Rendering, _: str) -> Iterator[Fault]:
    """A Service leads to a port that its pods have; a ServiceMonitor to a Service's."""
    pods = list(workloads(rendering))
    for service in rendering.of("Service"):
        selector = {"matchLabels": service.spec.get("selector") or {}}
        held = [one for one in pods if chosen(selector, one.labels)]
        if not held:
            yield service.fault("its selector chooses no pod of this rendering")
        for port in service.spec.get("ports") or []:
            target = port.get("targetPort", port["port"])
            for one in held:
                if target not in _ports(one):
                    yield service.fault(f"leads to port {target}, which {one.name} does not have")
                numbers = {c.ports[target] for c in one.containers if target in c.ports}
                if numbers and port["port"] not in numbers:
                    yield service.fault(
                        f"port {port['port']} leads to {sorted(numbers)[0]} of {one.name}: write "
                        "the same number, as the settings and NetworkPolicies do"
                    )
        if service.spec.get("type") in ("LoadBalancer", "NodePort"):
            yield service.fault("is open to the outside; use an Ingress with TLS and a login")
    for monitor in rendering.of("ServiceMonitor"):
        held_services = [
            one for one in rendering.of("Service") if chosen(monitor.spec["selector"], one.labels)
        ]
        names = {port.get("name") for one in held_services for port in one.spec["ports"]}
        for endpoint in monitor.spec["endpoints"]:
            if endpoint["port"] not in names:
                yield monitor.fault(f"scrapes port {endpoint['port']} of no Service")


def references(rendering: Rendering, _: str) -> Iterator[Fault]:
    """Accounts, settings, volumes and budgets that are named are there."""
    pods = list(workloads(rendering))
    for one in pods:
        account = one.pod.get("serviceAccountName", "default")
        if rendering.named("ServiceAccount", account) is None:
            yield one.object.fault(f"its serviceAccountName {account} is no ServiceAccount here")
        for container in one.containers:
            for source in container.content.get("envFrom") or []:
                name = (source.get("configMapRef") or {}).get("name")
                if name is not None and rendering.named("ConfigMap", name) is None:
                    yield container.fault(f"takes its environment from {name}, no ConfigMap here")
            for path, name in container.mounts.items():
                if name not in one.volumes:
                    yield container.fault(
                        f"mounts {name} at {path}, but the pod has no such volume"
                    )
        selector = one.object.spec.get("selector")
        if selector and not chosen(selector, one.labels):
            yield one.object.fault("its selector does not choose its own pods")
    for budget in rendering.of("PodDisruptionBudget"):
        if not any(chosen(budget.spec.get("selector"), one.labels) for one in pods):
            yield budget.fault("its selector chooses no pod of this rendering")
    for one in pods:
        budgets = [
            budget
            for budget in rendering.of("PodDisruptionBudget")
            if chosen(budget.spec.get("selector"), one.labels)
        ]
        workers = [c for c in one.processes if str(c.process).endswith("-worker")]
        if workers and not budgets:
            yield one.object.fault("needs a PodDisruptionBudget")
