"""k8s/, rendered: ``python -m checks.manifests [FOLDER]``.

Schemas of Kubernetes and others: schemas.py. Security policies: policy.py (checkov).
Ours: rules/kubernetes.yaml for what is wrong by itself, network.py for what points at what. Whether
it fits the code is asked by checks/drift/.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from checks import redis
from checks.data import claimed, unchangeable
from checks.network import denied, references, services
from checks.policy import policy_violations
from checks.renderings import RENDERINGS, Object, Rendering, render_all
from checks.schemas import KUBERNETES, broken, of_kind, rules
from checks.violations import Violation, end, folder
from checks.workloads import workloads

NAMESPACE = "babylon-tasks"


def check(
    root: Path, renderings: Sequence[Rendering], unrendered: Sequence[Violation]
) -> list[Violation]:
    """List every violation but those of policies, once; our rules need a valid schema."""
    found = dict.fromkeys([*unrendered, *_unlisted(root)])
    objects = (one for rendering in renderings for one in rendering.objects)
    wrong = [violation for one in objects for violation in invalid(one)]
    found |= dict.fromkeys(wrong)
    if not wrong:
        for rendering in renderings:
            for rule in (by_themselves, in_one_namespace, denied, services, references):
                found |= dict.fromkeys(rule(rendering))
        found |= dict.fromkeys([*claimed(renderings), *unchangeable(renderings)])
    return list(found)


def invalid(one: Object) -> Iterator[Violation]:
    """Find what the schema of the object's kind does not allow."""
    version = str(one.content.get("apiVersion", "(no apiVersion)"))
    try:
        for _, what in broken(of_kind(version, one.kind), one.content):
            yield one.violation(f"{what} ({version} {one.kind})")
    except FileNotFoundError:
        yield one.violation(
            f"Kubernetes {KUBERNETES} has no {one.kind} of {version}: correct apiVersion and "
            "kind, or add a schema to checks/rules/kinds/"
        )


def by_themselves(rendering: Rendering) -> Iterator[Violation]:
    """Find what is wrong with single objects, pods and containers."""
    for one in rendering.objects:
        for part in ("object", "data" if rendering.is_data else "application"):
            for _, what in broken(rules("kubernetes.yaml", part), one.content):
                yield one.violation(what)
    for workload in workloads(rendering):
        for _, what in broken(rules("kubernetes.yaml", "pod"), workload.pod):
            yield workload.object.violation(what)
        for container in workload.containers:
            stays = not container.is_init and workload.object.kind not in ("Job", "CronJob")
            parts = {"container": True, "staying": stays, "process": container.process is not None}
            for part in (part for part, applies in parts.items() if applies):
                for _, what in broken(rules("kubernetes.yaml", part), container.content):
                    yield container.violation(what)
            if container.name == "redis":
                yield from map(container.violation, redis.missing(" ".join(container.command)))


def in_one_namespace(rendering: Rendering) -> Iterator[Violation]:
    """Check that everything is in the namespace, whose label admits only restricted pods."""
    inside = [one for one in rendering.objects if one.kind not in ("Namespace", "PriorityClass")]
    for one in inside:
        if one.metadata.get("namespace") != NAMESPACE:
            yield one.violation(f"is not in the namespace {NAMESPACE}")
    for space in rendering.of("Namespace"):
        if space.name != NAMESPACE:
            yield space.violation(f"is not the namespace {NAMESPACE}, in which everything else is")


def _unlisted(root: Path) -> Iterator[Violation]:
    listed = {"components/monitoring"}  # in production
    for base, *components in RENDERINGS:
        listed |= {base, *(f"components/{name}" for name in components)}
    for path in sorted((root / "k8s").rglob("kustomization.yaml")):
        name = path.parent.relative_to(root / "k8s").as_posix()
        if name not in listed:
            what = "nothing renders it: add it to RENDERINGS in checks/renderings.py"
            yield Violation(f"k8s/{name}", what)


def main() -> None:
    """Check the project in the folder that the first argument names."""
    root = folder()
    renderings, unrendered = render_all(root)
    found = check(root, renderings, unrendered)
    if renderings:
        found += policy_violations(root, renderings)
    objects = sum(len(rendering.objects) for rendering in renderings)
    done = f"{objects} objects in {len(renderings)} renderings fit schemas, policies and our rules"
    end("Kubernetes", found, done)


if __name__ == "__main__":
    main()
