"""`make check` refuses what scales anything but a process, or by other rows than it works on."""

from __future__ import annotations

from pathlib import Path

import pytest
from copies import Broken
from drifted import PRODUCTION, TO_ZERO, assert_refused, found

CASES = {
    "an autoscaler and a number of replicas": Broken(
        "k8s/overlays/production/kustomization.yaml",
        "target: {kind: Deployment, name: gateway}",
        "target: {kind: Deployment, name: beat}",
        "Deployment/gateway: replicas and HorizontalPodAutoscaler gateway contradict each other",
    ),
    "a worker that is scaled by its load": Broken(
        "k8s/overlays/production/scaling.yaml",
        "    kind: Deployment\n    name: gateway",
        "    kind: Deployment\n    name: cpu-worker",
        "HorizontalPodAutoscaler/gateway: scales cpu-worker by its load",
    ),
    "KEDA that counts only what waits": Broken(
        "k8s/overlays/production/scaling.yaml",
        "state IN ('sealed', 'scoring')",
        "state = 'sealed'",
        "its query counts windows in sealed; what waits for and keeps busy a cpu-worker is "
        "scoring, sealed",
    ),
    "KEDA with a misspelt state": Broken(
        "k8s/components/scale-to-zero/scaling.yaml",
        "'scored'",
        "'score'",
        "its query counts windows in score, training",
        TO_ZERO,
    ),
    "KEDA and a number of replicas": Broken(
        "k8s/overlays/production/kustomization.yaml",
        "{op: remove, path: /spec/replicas}",
        "{op: replace, path: /spec/replicas, value: 3}",
        "Deployment/cpu-worker: replicas and ScaledObject cpu-worker contradict each other",
    ),
    "KEDA without a login": Broken(
        "k8s/overlays/production/scaling.yaml",
        "authenticationRef: {name: postgres}",
        "authenticationRef: {name: postgresql}",
        "its authenticationRef postgresql is no TriggerAuthentication",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused(folder: Path, case: str) -> None:
    assert_refused(folder, CASES[case])


@pytest.mark.parametrize("component", [(), ("gpu",)])
def test_no_trainer_that_answers_agents_is_scaled_to_zero(
    folder: Path, component: tuple[str, ...]
) -> None:
    (violation,) = found(folder, (*PRODUCTION, *component, "scale-to-zero"))
    backend = "local" if component else "cpu"
    assert f"ScaledObject/gpu-worker: minReplicaCount 0 with BABYLON_BACKEND={backend}" in violation
