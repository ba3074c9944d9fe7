"""`make check` refuses manifests that break a schema or a rule, and says where and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from copies import ROOT, Broken, change, copy_deployed
from documents import blocks

from checks.manifests import by_themselves, check
from checks.network import denied
from checks.policy import policy_violations
from checks.renderings import RENDERINGS, render_all
from checks.workloads import workloads

MINIMAL = ("overlays/minimal",)
TO_ZERO = ("overlays/production", "serverless", "scale-to-zero")

LIVENESS = """          livenessProbe:
            httpGet: {path: /livez, port: metrics}
            periodSeconds: 15
            timeoutSeconds: 5
            failureThreshold: 4
"""
SECRET = """name: WANDB_API_KEY
              valueFrom: {secretKeyRef: {name: babylon-tasks, key: wandb_api_key}}"""


CASES = {
    "an apiVersion that is gone": Broken(
        "base/migrate.yaml",
        "apiVersion: batch/v1",
        "apiVersion: batch/v1beta1",
        "k8s/base/migrate.yaml: Job/migrate: Kubernetes 1.37.0 has no Job of batch/v1beta1",
    ),
    "a misspelt field": Broken(
        "base/beat.yaml",
        "terminationGracePeriodSeconds: 60",
        "terminationGraceSeconds: 60",
        "k8s/base/beat.yaml: Deployment/beat: spec.template.spec: Additional properties",
    ),
    "a value of the wrong type": Broken(
        "base/services.yaml", "port: 5555", 'port: "5555"', "Service/flower: spec.ports.0.port"
    ),
    "a kustomization that names no file": Broken(
        "base/kustomization.yaml", "- beat.yaml", "- baet.yaml", "cannot be rendered"
    ),
    "a patch that meets nothing": Broken(
        "overlays/production/kustomization.yaml",
        "path: /spec/replicas",
        "path: /spec/replica",
        "k8s/overlays/production: cannot be rendered",
    ),
    "a field that KEDA has not": Broken(
        "overlays/production/scaling.yaml",
        "maxReplicaCount: 8",
        "maxReplicas: 8",
        "k8s/overlays/production/scaling.yaml: ScaledObject/cpu-worker: spec: Additional prop",
    ),
    "a version of External Secrets that is gone": Broken(
        "examples/external-secrets/external-secret.yaml",
        "external-secrets.io/v1",
        "external-secrets.io/v1beta1",
        "has no ExternalSecret of external-secrets.io/v1beta1",
        ("examples/external-secrets",),
    ),
    "a probe that broadcasts": Broken(
        "base/cpu-worker.yaml",
        "httpGet: {path: /readyz, port: metrics}",
        "exec: {command: [celery, -A, babylon_tasks.tasks.app, inspect, ping]}",
        "Deployment/cpu-worker container cpu-worker: readinessProbe: must be an httpGet of the "
        "process's own port",
    ),
    "a key twice": Broken(
        "base/beat.yaml", "livenessProbe:", "startupProbe:", "cannot be rendered"
    ),
    "no limit": Broken(
        "base/flower.yaml",
        "limits: {cpu: 500m, memory: 512Mi, ephemeral-storage: 128Mi}",
        "limits: {cpu: 500m}",
        "container flower: resources.limits: 'ephemeral-storage' is a required property",
    ),
    "scratch without a bound": Broken(
        "base/beat.yaml",
        "emptyDir: {sizeLimit: 64Mi}",
        "emptyDir: {}",
        "volumes.0.emptyDir: scratch needs a sizeLimit",
    ),
    "variables of other Services": Broken(
        "base/flower.yaml",
        "enableServiceLinks: false",
        "enableServiceLinks: true",
        "StatefulSet/flower: enableServiceLinks is True: must be false",
    ),
    "an address with a password": Broken(
        "base/settings.env",
        "BABYLON_LOG_LEVEL=INFO",
        "BABYLON_WANDB_BASE_URL=https://me:hunter2@tracker/v1",
        "data.BABYLON_WANDB_BASE_URL is 'https://me:hunter2@tracker/v1': a URL with a password",
    ),
    "a namespace that admits everything": Broken(
        "data/namespace.yaml",
        "pod-security.kubernetes.io/enforce: restricted",
        "pod-security.kubernetes.io/enforce: privileged",
        "Namespace/babylon-tasks: metadata.labels.pod-security.kubernetes.io/enforce: 'restricted'",
        ("data",),
    ),
    "an object of no namespace": Broken(
        "components/scale-to-zero/scaling.yaml",
        "  namespace: babylon-tasks\n",
        "",
        "ScaledObject/gpu-worker: is not in the namespace babylon-tasks",
        TO_ZERO,
    ),
    "no default-deny": Broken(
        "base/network.yaml",
        "policyTypes: [Ingress, Egress]",
        "policyTypes: [Ingress]",
        "k8s/overlays/production: needs a NetworkPolicy that denies every pod both ways",
    ),
    "everybody let in": Broken(
        "base/network.yaml",
        "    - from:\n        - namespaceSelector:\n            matchLabels:\n"
        '              babylon-tasks/agents: "true"\n      ports:',
        "    - ports:",
        "NetworkPolicy/agents-to-gateway: a rule without `from` admits all peers",
    ),
    "a policy for a port that nobody has": Broken(
        "base/network.yaml",
        "port: inference}",
        "port: inferense}",
        "NetworkPolicy/agents-to-inference: opens port inferense, on which none of its pods",
    ),
    "a policy for nobody": Broken(
        "base/network.yaml",
        "app.kubernetes.io/component: flower",
        "app.kubernetes.io/component: flowers",
        "NetworkPolicy/ingress-to-flower: its podSelector chooses no pod",
    ),
    "a Service that leads nowhere": Broken(
        "base/services.yaml",
        "app.kubernetes.io/component: gpu-worker",
        "app.kubernetes.io/component: gpu-workers",
        "Service/inference: its selector chooses no pod",
    ),
    "a Service at another port": Broken(
        "base/services.yaml",
        "port: 8100, targetPort: inference",
        "port: 8000, targetPort: inference",
        "Service/inference: port 8000 leads to 8100 of gpu-worker",
    ),
    "a Service open to the world": Broken(
        "base/services.yaml",
        "spec:\n  selector:",
        "spec:\n  type: LoadBalancer\n  selector:",
        "Service/flower: spec.type is 'LoadBalancer': open to the outside",
    ),
    "a monitor of no port": Broken(
        "components/monitoring/metrics.yaml",
        "- port: metrics",
        "- port: metric",
        "ServiceMonitor/babylon-tasks: scrapes port metric of no Service",
    ),
    "an account that is not there": Broken(
        "base/gpu-worker.yaml",
        "serviceAccountName: trainer",
        "serviceAccountName: train",
        "its serviceAccountName train is no ServiceAccount here",
    ),
    "settings that are not there": Broken(
        "base/kustomization.yaml",
        "- name: settings",
        "- name: setting",
        "takes its environment from settings, no ConfigMap here",
    ),
    "a budget for nobody": Broken(
        "base/disruption.yaml",
        "app.kubernetes.io/component: cpu-worker",
        "app.kubernetes.io/component: worker",
        "PodDisruptionBudget/cpu-worker: its selector chooses no pod",
    ),
    "a Valkey that evicts": Broken(
        "overlays/minimal/redis.yaml",
        "noeviction",
        "allkeys-lru",
        "container redis: needs --maxmemory-policy noeviction",
        MINIMAL,
    ),
    "two trainers": Broken(
        "base/gpu-worker.yaml",
        "replicas: 1",
        "replicas: 2",
        "StatefulSet/gpu-worker: spec.replicas is 2: there must never be two of them",
    ),
    "two beats during an update": Broken(
        "base/beat.yaml",
        "strategy: {type: Recreate}",
        "strategy: {type: RollingUpdate}",
        "Deployment/beat: spec.strategy.type is 'RollingUpdate': must be Recreate",
    ),
    "KEDA by the length of a list": Broken(
        "overlays/production/scaling.yaml",
        "    - type: postgresql\n",
        "    - type: redis\n",
        "ScaledObject/cpu-worker: spec.triggers.0.type is 'redis': scale by a query of windows",
    ),
    "no cpu-worker at times": Broken(
        "overlays/production/scaling.yaml",
        "minReplicaCount: 1",
        "minReplicaCount: 0",
        "ScaledObject/cpu-worker: spec.minReplicaCount is 0: cpu-worker also opens and seals",
    ),
    "several trainers": Broken(
        "components/scale-to-zero/scaling.yaml",
        "maxReplicaCount: 1",
        "maxReplicaCount: 4",
        "ScaledObject/gpu-worker: spec.maxReplicaCount is 4: a lineage has one lease",
        TO_ZERO,
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_deployed(tmp_path)


def found(folder: Path, *which: tuple[str, ...]) -> list[str]:
    return [str(violation) for violation in check(folder, *render_all(folder, which))]


def test_ours_break_no_rule(folder: Path) -> None:
    assert found(folder, *RENDERINGS) == []


@pytest.mark.parametrize("case", CASES)
def test_a_broken_manifest_is_refused(folder: Path, case: str) -> None:
    broken = CASES[case]
    change(folder / "k8s" / broken.file, broken.old, broken.new)
    violations = found(folder, broken.rendering)
    assert any(broken.expected in violation for violation in violations), violations


def test_an_overlay_that_no_rendering_uses_is_refused(folder: Path) -> None:
    new = folder / "k8s" / "overlays" / "new"
    new.mkdir()
    (new / "kustomization.yaml").write_text("resources: [../minimal]\n", "utf-8")
    assert found(folder, MINIMAL) == [
        "k8s/overlays/new: nothing renders it: add it to RENDERINGS in checks/renderings.py"
    ]


def test_the_overlay_that_the_readme_shows_can_be_rendered(folder: Path) -> None:
    (block,) = (b for b in blocks(ROOT / "k8s" / "README.md") if "YOUR-REGISTRY" in b.text)
    own = folder / "k8s" / "overlays" / "mine"
    own.mkdir()
    text = block.text.replace("sha256:…", f"sha256:{64 * '0'}")
    (own / "kustomization.yaml").write_text(text, "utf-8")
    rendered, unrendered = render_all(folder, [("overlays/mine",)])
    assert unrendered == []
    images = {one.image for load in workloads(rendered[0]) for one in load.containers}
    assert all(image.startswith("YOUR-REGISTRY/babylon-tasks-") for image in images), images
    made = {one.name: one for one in rendered[0].of("ConfigMap")}
    (settings,) = (one for name, one in made.items() if name.startswith("settings-"))
    assert made["dashboard"].labels["grafana_dashboard"] == "1"
    assert "BABYLON_BASE_MODEL" in settings.content["data"]
    assert list(by_themselves(rendered[0])) == []


def test_the_narrow_policies_that_the_readme_shows_fit_the_pods(folder: Path) -> None:
    (block,) = (b for b in blocks(ROOT / "k8s" / "README.md") if "to-my-postgres" in b.text)
    own = folder / "k8s" / "overlays" / "mine"
    own.mkdir()
    (own / "policy.yaml").write_text(block.text, "utf-8")
    (own / "kustomization.yaml").write_text(
        "namespace: babylon-tasks\nresources: [../production, policy.yaml]\n", "utf-8"
    )
    rendered, unrendered = render_all(folder, [("overlays/mine",)])
    assert unrendered == []
    names = {policy.name for policy in rendered[0].of("NetworkPolicy")}
    assert {"to-my-postgres", "to-my-redis"} <= names
    assert list(denied(rendered[0])) == []


def test_common_policies_are_asked_too(folder: Path) -> None:
    base = folder / "k8s" / "base"
    change(base / "beat.yaml", "runAsUser: 10001", "runAsUser: 0")
    change(base / "beat.yaml", "runAsNonRoot: true", "runAsNonRoot: false")
    change(base / "flower.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false")
    change(base / "cpu-worker.yaml", "drop: [ALL]", "add: [SYS_ADMIN]")
    limits = "limits: {cpu: 500m, memory: 256Mi, ephemeral-storage: 128Mi}"
    change(base / "beat.yaml", limits, "limits: {ephemeral-storage: 128Mi}")
    change(base / "cpu-worker.yaml", "image: babylon-tasks-worker:0.1.0", "image: x:latest")
    change(base / "beat.yaml", LIVENESS, "")
    change(base / "gpu-worker.yaml", "{name: BABYLON_BACKEND, value: cpu}", SECRET)
    change(base / "cpu-worker.yaml", "envFrom:", "envFrom:\n            - secretRef: {name: it}")
    change(folder / "Dockerfile", "USER 10001:10001\nCOPY", "USER root\nCOPY")
    change(folder / "Dockerfile", "COPY migrations migrations", "ADD https://x/m.tar migrations/")
    renderings, _ = render_all(folder, [MINIMAL])

    output = "\n".join(map(str, policy_violations(folder, renderings)))

    assert "k8s/base/beat.yaml: Deployment/beat: CKV_K8S_40" in output, "a high user id"
    assert "k8s/base/beat.yaml: Deployment/beat: CKV_K8S_13: Memory limits should be set" in output
    assert "k8s/base/flower.yaml: StatefulSet/flower: CKV_K8S_22" in output, "a read-only root"
    assert "k8s/base/cpu-worker.yaml: Deployment/cpu-worker: CKV_K8S_39" in output, "SYS_ADMIN"
    assert "CKV_DOCKER_8" in output, "the image's last user"
    assert "k8s/base/cpu-worker.yaml: Deployment/cpu-worker: CKV_K8S_14" in output, (
        "the newest image"
    )
    assert "k8s/base/beat.yaml: Deployment/beat: CKV_K8S_8: Liveness Probe Should be" in output
    assert (
        "k8s/base/gpu-worker.yaml: StatefulSet/gpu-worker: CKV_K8S_35: Prefer using sec" in output
    )
    assert "k8s/base/cpu-worker.yaml: Deployment/cpu-worker: CKV_K8S_35" in output, "a whole secret"
    assert "CKV_DOCKER_4" in output, "ADD fetches and unpacks unseen"
    assert "StatefulSet/redis" not in output
