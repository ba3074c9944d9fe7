"""What holds data is deleted with no application: `make check` refuses manifests that would."""

from __future__ import annotations

from pathlib import Path

import pytest
from copies import ROOT, Broken, change, copy_deployed
from documents import blocks

from checks.manifests import check
from checks.renderings import RENDERINGS, render_all

DATA = ("data",)
MINIMAL = ("overlays/minimal",)
EXAMPLE = ("examples/external-secrets",)
HOLDING = {"Namespace", "PersistentVolumeClaim", "Secret"}
FIXED = ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")

CASES = {
    "a namespace in an overlay": Broken(
        "base/kustomization.yaml",
        "  - accounts.yaml",
        "  - accounts.yaml\n  - space.yaml",
        "k8s/base/space.yaml: Namespace/babylon-tasks: kind is 'Namespace': would be deleted with "
        "the application",
    ),
    "a claim in an overlay": Broken(
        "base/accounts.yaml",
        "apiVersion: v1",
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: more}\n"
        "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n---\n"
        "apiVersion: v1",
        "PersistentVolumeClaim/more: kind is 'PersistentVolumeClaim': would be deleted with",
    ),
    "volumes that go with their pod's controller": Broken(
        "base/flower.yaml",
        "whenDeleted: Retain",
        "whenDeleted: Delete",
        "StatefulSet/flower: spec.persistentVolumeClaimRetentionPolicy.whenDeleted is 'Delete'",
    ),
    "volumes of which nothing is said": Broken(
        "overlays/minimal/redis.yaml",
        "  persistentVolumeClaimRetentionPolicy: {whenDeleted: Retain, whenScaled: Retain}\n",
        "",
        "StatefulSet/redis: spec: needs persistentVolumeClaimRetentionPolicy",
        MINIMAL,
    ),
    "a Secret that is deleted with what made it": Broken(
        "examples/external-secrets/external-secret.yaml",
        "creationPolicy: Orphan",
        "creationPolicy: Owner",
        "ExternalSecret/babylon-tasks: spec.target.creationPolicy is 'Owner': must be Orphan",
        EXAMPLE,
    ),
    "data that Argo CD prunes": Broken(
        "data/kustomization.yaml",
        "Prune=false,Delete=false",
        "Delete=false",
        "PersistentVolumeClaim/models: metadata.annotations.argocd.argoproj.io/sync-options is",
        DATA,
    ),
    "data that Flux prunes": Broken(
        "data/kustomization.yaml",
        "prune: disabled",
        "prune: enabled",
        "Namespace/babylon-tasks: metadata.annotations.kustomize.toolkit.fluxcd.io/prune is",
        DATA,
    ),
    "data that Helm deletes": Broken(
        "data/kustomization.yaml",
        "  helm.sh/resource-policy: keep\n",
        "",
        "PersistentVolumeClaim/models: metadata.annotations: needs the annotations of",
        DATA,
    ),
    "data that kubectl prunes by the application's label": Broken(
        "data/models.yaml",
        "  name: models",
        "  name: models\n  labels: {app.kubernetes.io/name: babylon-tasks}",
        "PersistentVolumeClaim/models: metadata.labels: has the application's label",
        DATA,
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_deployed(tmp_path)


def found(folder: Path, *which: tuple[str, ...]) -> list[str]:
    return [str(violation) for violation in check(folder, *render_all(folder, which))]


@pytest.mark.parametrize("case", CASES)
def test_what_would_delete_data_is_refused(folder: Path, case: str) -> None:
    broken = CASES[case]
    (folder / "k8s/base/space.yaml").write_text(
        (folder / "k8s/data/namespace.yaml").read_text("utf-8"), "utf-8"
    )
    change(folder / "k8s" / broken.file, broken.old, broken.new)
    violations = found(folder, broken.rendering)
    assert any(broken.expected in violation for violation in violations), violations


def test_no_rendering_of_the_application_has_an_object_that_holds_data(folder: Path) -> None:
    renderings, unrendered = render_all(folder, RENDERINGS)
    assert unrendered == []
    kinds = {one.name: {each.kind for each in one.objects} for one in renderings}
    assert kinds.pop("data") == {"Namespace", "PersistentVolumeClaim"}
    assert {name: kinds & HOLDING for name, kinds in kinds.items() if kinds & HOLDING} == {}


def test_a_claim_that_is_not_in_data_is_refused(folder: Path) -> None:
    change(folder / "k8s/base/gpu-worker.yaml", "claimName: models", "claimName: model")
    (violation,) = found(folder, DATA, MINIMAL)
    assert violation.endswith("StatefulSet/gpu-worker: k8s/data has no PersistentVolumeClaim model")


def test_a_change_of_the_backend_changes_nothing_that_is_fixed(folder: Path) -> None:
    backends = [("overlays/production", *more) for more in ((), ("gpu",), ("serverless",))]
    renderings, _ = render_all(folder, backends)
    sets = [one.named("StatefulSet", "gpu-worker") for one in renderings]
    fixed = [{name: one.spec.get(name) for name in FIXED} for one in sets if one is not None]
    assert len(fixed) == 3
    assert fixed[0] == fixed[1] == fixed[2]


def test_a_component_that_changes_what_is_fixed_is_refused(folder: Path) -> None:
    change(
        folder / "k8s/components/serverless/gpu-worker.yaml",
        "spec:\n  template:",
        "spec:\n  serviceName: elsewhere\n  template:",
    )
    violations = found(folder, ("overlays/production",), ("overlays/production", "serverless"))
    assert any("serviceName differs between k8s/overlays/production and" in v for v in violations)


def test_the_patch_for_a_volume_of_0_1_0_fits(folder: Path) -> None:
    (patch,) = [
        block.text
        for block in blocks(ROOT / "k8s/README.md")
        if block.language == "yaml" and "models-gpu-worker-0" in block.text
    ]
    own = folder / "k8s/overlays/mine"
    own.mkdir()
    text = "resources: [../production]\npatches:\n" + patch
    (own / "kustomization.yaml").write_text(text, "utf-8")
    rendered, unrendered = render_all(folder, [("overlays/mine",)])
    assert unrendered == []
    gpu_worker = rendered[0].named("StatefulSet", "gpu-worker")
    assert gpu_worker is not None
    claims = [
        one.get("persistentVolumeClaim") for one in gpu_worker.spec["template"]["spec"]["volumes"]
    ]
    assert {"claimName": "models-gpu-worker-0"} in claims
