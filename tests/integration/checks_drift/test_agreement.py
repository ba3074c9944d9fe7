"""`make check` accepts what is deployed, and refuses what in Compose or k8s/ contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from copies import ROOT, Broken, change
from drifted import MINIMAL, PRODUCTION, found

from babylon_tasks.processes import ProcessName
from checks.drift.check import check
from checks.renderings import RENDERINGS, render_all

CASES = {
    "another Valkey than Compose's": Broken(
        "k8s/overlays/minimal/redis.yaml",
        "valkey/valkey:9.1.2-trixie",
        "valkey/valkey:9.0.0-trixie",
        "container redis: image valkey/valkey:9.0.0-trixie: compose.yaml has valkey/valkey:9.1.2",
        MINIMAL,
    ),
    "Flower with a way to Postgres": Broken(
        "k8s/components/private-servers/network.yaml",
        "values: [migrate, beat, cpu-worker, gpu-worker, gateway, dashboard]",
        "values: [migrate, beat, cpu-worker, gpu-worker, gateway, dashboard, flower]",
        "NetworkPolicy/to-private-postgres: opens Postgres to flower, which does not need it",
        (*PRODUCTION, "private-servers"),
    ),
    "an authority that a container lacks": Broken(
        "k8s/components/ca/kustomization.yaml",
        "path: /spec/template/spec/initContainers/0/volumeMounts/-",
        "path: /spec/template/spec/containers/0/volumeMounts/-",
        "container schema: has no /etc/babylon-tasks/ca, which the others have",
        (*PRODUCTION, "ca"),
    ),
}


def test_all_fits_the_code() -> None:
    violations, units = check(ROOT, RENDERINGS)
    assert violations == []
    assert units > len(ProcessName) * len(RENDERINGS)


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused(folder: Path, case: str) -> None:
    broken = CASES[case]
    change(folder / broken.file, broken.old, broken.new)
    violations = found(folder, broken.rendering)
    assert any(broken.expected in violation for violation in violations), violations


def test_the_base_model_is_put_where_the_trainer_looks_for_it(folder: Path) -> None:
    seed = folder / "k8s/seed/seed.yaml"
    change(seed, "value: /data/cache/huggingface", "value: /data/huggingface")
    change(seed, "claimName: models", "claimName: base-models")
    change(seed, "babylon-tasks-trainer-gpu:0.1.0", "babylon-tasks-trainer-cpu:0.1.0")
    said = "\n".join(found(folder, (*PRODUCTION, "gpu"), ("seed",)))
    where = "k8s/seed/seed.yaml: Job/seed container seed"
    assert f"{where}: HF_HOME is /data/huggingface; gpu-worker reads /data/cache/hugg" in said
    assert f"{where}: mounts another claim, or elsewhere, than gpu-worker" in said
    assert f"{where}: image babylon-tasks-trainer-cpu:0.1.0: gpu-worker has" in said


def test_no_address_range_is_open_before_the_operator_opens_it(folder: Path) -> None:
    renderings, _ = render_all(folder, [MINIMAL, PRODUCTION, (*PRODUCTION, "serverless")])
    assert [one.place for each in renderings for one in each.objects if "ipBlock" in str(one)] == []


def test_a_secret_that_the_example_forgets_is_refused(folder: Path) -> None:
    example = folder / "k8s" / "examples" / "external-secrets" / "external-secret.yaml"
    change(example, "secretKey: redis_url", "secretKey: redis_address")
    said = "\n".join(found(folder, PRODUCTION, ("examples/external-secrets",)))
    assert "ExternalSecret/babylon-tasks: does not make redis_url, which" in said
    assert "makes redis_address, which nothing in k8s/ reads" in said
