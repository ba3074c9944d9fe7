"""Check claims against k8s/data, and that no combination changes what a StatefulSet fixes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.renderings import Object, Rendering
from checks.violations import Violation
from checks.workloads import workloads

# What the API server refuses to change, of what we set.
_FIXED = ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")


def claimed(renderings: Sequence[Rendering]) -> Iterator[Violation]:
    """Check that the claims which pods mount are those of k8s/data, where that is rendered too."""
    data = [rendering for rendering in renderings if rendering.is_data]
    kept = {one.name for rendering in data for one in rendering.of("PersistentVolumeClaim")}
    for workload in (one for rendering in renderings for one in workloads(rendering)):
        for volume in workload.volumes.values():
            name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if data and name is not None and name not in kept:
                yield workload.object.violation(f"k8s/data has no PersistentVolumeClaim {name}")


def unchangeable(renderings: Sequence[Rendering]) -> Iterator[Violation]:
    """Check that changing the backend, or adding a component, changes no field that is fixed."""
    seen: dict[str, tuple[Object, str]] = {}
    for rendering in renderings:
        for one in rendering.of("StatefulSet"):
            first, where = seen.setdefault(one.name, (one, rendering.name))
            for field in _FIXED:
                if one.spec.get(field) != first.spec.get(field):
                    yield one.violation(
                        f"{field} differs between k8s/{where} and k8s/{rendering.name}: it cannot "
                        "be changed in place, so that step would need the StatefulSet deleted first"
                    )
