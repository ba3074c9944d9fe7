"""k8s/: rendered, against schemas, common policies and our laws: ``python -m checks.manifests``.

Schemas: checks/schemas.py. Policies: checks/policy.py. Laws: checks/{pod,network,scaling}_laws.py.
Whether it fits the code is asked by checks/drift.py.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from checks.faults import Fault, end
from checks.network_laws import denied, references, services
from checks.pod_laws import confined, pods, secrets
from checks.policy import policy_faults
from checks.renderings import RENDERINGS, Rendering, render_all
from checks.scaling_laws import scaled
from checks.schemas import schema_faults

Law = Callable[[Rendering, str], Iterator[Fault]]
LAWS: tuple[Law, ...] = (pods, secrets, confined, denied, services, references, scaled)


def check(root: Path, renderings: Sequence[Rendering], unrendered: Sequence[Fault]) -> list[Fault]:
    """Every fault but those of common policies, each once; laws are for what fits its schema."""
    faults = dict.fromkeys([*unrendered, *_unlisted(root)])
    invalid = [
        fault
        for rendering in renderings
        for one in rendering.objects
        for fault in schema_faults(one)
    ]
    faults |= dict.fromkeys(invalid)
    if invalid:
        return list(faults)
    version = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    for rendering in renderings:
        for law in LAWS:
            faults |= dict.fromkeys(law(rendering, version))
    return list(faults)


def _unlisted(root: Path) -> Iterator[Fault]:
    listed = {name for parts in RENDERINGS for name in (parts[0], *_components(parts))}
    for path in sorted((root / "k8s").rglob("kustomization.yaml")):
        name = path.parent.relative_to(root / "k8s").as_posix()
        if name not in listed and name != "components/monitoring":  # in production
            yield Fault(
                f"k8s/{name}", "nobody renders it: add it to RENDERINGS in checks/renderings.py"
            )


def _components(parts: tuple[str, ...]) -> list[str]:
    return [f"components/{name}" for name in parts[1:]]


def main() -> None:
    """Check the project in the folder named by the first argument, the current one by default."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    renderings, unrendered = render_all(root)
    faults = check(root, renderings, unrendered)
    if renderings:
        faults += policy_faults(root, renderings)
    objects = sum(len(rendering.objects) for rendering in renderings)
    done = f"{objects} objects in {len(renderings)} renderings fit schemas, policies and our laws"
    end("Kubernetes", faults, done)


if __name__ == "__main__":
    main()
