"""`make check` refuses what does not fit the code: in Compose, in k8s/, in the code itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from copies import ROOT, Broken, change, copy_deployed

from babylon_tasks import processes
from babylon_tasks.processes import ProcessName
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.app import queues
from checks.drift.check import check
from checks.drift.commands import table
from checks.renderings import RENDERINGS, render_all

PRODUCTION = ("overlays/production",)
MINIMAL = ("overlays/minimal",)
SERVERLESS = ("overlays/production", "serverless")
TO_ZERO = (*SERVERLESS, "scale-to-zero")


CASES = {
    "a misspelt variable in k8s": Broken(
        "k8s/base/settings.env",
        "BABYLON_LINEAGE",
        "BABYLON_LINAGE",
        "Deployment/beat container beat: there is no setting BABYLON_LINAGE; "
        "did you mean BABYLON_LINEAGE?",
    ),
    "a misspelt variable in Compose": Broken(
        "compose.yaml",
        "BABYLON_FLOWER_PORT",
        "BABYLON_FLOWER_PROT",
        "flower: there is no setting BABYLON_FLOWER_PROT; did you mean BABYLON_FLOWER_PORT?",
    ),
    "a misspelt variable in the image": Broken(
        "Dockerfile",
        "BABYLON_METRICS_HOST",
        "BABYLON_METRIC_HOST",
        "Dockerfile: target worker: there is no setting BABYLON_METRIC_HOST",
    ),
    "a value that cannot be used": Broken(
        "k8s/base/settings.env",
        "BABYLON_SHUTDOWN_SECONDS=20",
        "BABYLON_SHUTDOWN_SECONDS=20s",
        "would not start: the settings cannot be used: BABYLON_SHUTDOWN_SECONDS",
    ),
    "a backend that there is not": Broken(
        "compose.yaml",
        "BABYLON_BACKEND: cpu",
        "BABYLON_BACKEND: gpu",
        "gpu-worker: would not start: the settings cannot be used: BABYLON_BACKEND",
    ),
    "a misspelt secret in k8s": Broken(
        "k8s/base/cpu-worker.yaml",
        "path: redis_url",
        "path: redis_ulr",
        "container cpu-worker: nothing reads the secret's file redis_ulr; did you mean redis_url?",
    ),
    "a secret that is not mounted": Broken(
        "compose.yaml",
        "secrets: [database_url, redis_url, babylon_inference_api_key]",
        "secrets: [database_url, redis_url]",
        "gpu-worker: would not start: the settings cannot be used: "
        "BABYLON_INFERENCE_HOST admits other machines: set BABYLON_INFERENCE_API_KEY",
    ),
    "secrets at another place": Broken(
        "k8s/base/settings.env",
        "BABYLON_SECRETS_DIR=/run/secrets/babylon-tasks",
        "BABYLON_SECRETS_DIR=/run/secrets",
        "BABYLON_SECRETS_DIR is /run/secrets, where no secret is mounted",
    ),
    "a backend without its key": Broken(
        "k8s/components/serverless/gpu-worker.yaml",
        "{key: wandb_api_key, path: wandb_api_key}",
        "{key: keda_connection, path: babylon_inference_api_key}",
        "BABYLON_BACKEND=serverless needs WANDB_API_KEY",
        SERVERLESS,
    ),
    "Flower without a login": Broken(
        "k8s/base/flower.yaml",
        "              - {key: flower_basic_auth, path: flower_basic_auth}\n",
        "",
        "container flower: has no secret flower_basic_auth: Flower does not start without a login",
    ),
    "metrics that only the pod itself reaches": Broken(
        "k8s/base/settings.env",
        "BABYLON_METRICS_HOST=0.0.0.0",
        "BABYLON_METRICS_HOST=127.0.0.1",
        "BABYLON_METRICS_HOST is 127.0.0.1: nothing outside of the container would reach it",
    ),
    "checkpoints on a read-only disk": Broken(
        "k8s/base/settings.env",
        "BABYLON_DATA_DIR=/data",
        "BABYLON_DATA_DIR=/models",
        "BABYLON_DATA_DIR is /models, where no volume is mounted",
    ),
    "a process that there is not, in k8s": Broken(
        "k8s/base/cpu-worker.yaml",
        "args: [run, cpu-worker]",
        "args: [run, cpu-workers]",
        "container cpu-worker: `babylon-tasks run cpu-workers` cannot run",
    ),
    "a process that there is not, in Compose": Broken(
        "compose.yaml",
        "command: [run, beat]",
        "command: [run, clock]",
        "beat: `babylon-tasks run clock` cannot run",
    ),
    "a command that there is not": Broken(
        "k8s/base/migrate.yaml",
        "args: [migrate]",
        "args: [migrate, --all]",
        "container migrate: `babylon-tasks migrate --all` cannot run: No such option: --all",
    ),
    "a misspelt queue in k8s": Broken(
        "k8s/base/cpu-worker.yaml",
        "args: [run, cpu-worker]",
        'args: [run, cpu-worker, --, -Q, "cpu,upkep"]',
        "container cpu-worker: consumes queue upkep; there are cpu, gpu, gpu.babylon, upkeep",
    ),
    "a misspelt queue in Compose": Broken(
        "compose.yaml",
        "command: [run, gpu-worker]",
        "command: [run, gpu-worker, --, -Q, gpus]",
        "compose.yaml: no unit consumes queue gpu",
    ),
    "a process that nobody runs": Broken(
        "k8s/base/kustomization.yaml",
        "  - beat.yaml\n",
        "",
        "k8s/overlays/production: no unit runs beat",
    ),
    "another metrics port": Broken(
        "k8s/base/settings.env",
        "BABYLON_METRICS_PORT=9464",
        "BABYLON_METRICS_PORT=9465",
        "container beat: BABYLON_METRICS_PORT is 9465, but its port metrics is 9464",
    ),
    "another port of Flower, in Compose": Broken(
        "compose.yaml",
        'BABYLON_FLOWER_PORT: "5555"',
        'BABYLON_FLOWER_PORT: "5556"',
        "flower: publishes port 5555, on which flower does not listen: BABYLON_FLOWER_PORT is 5556",
    ),
    "a port of the container on which nobody listens": Broken(
        "k8s/base/beat.yaml",
        "{name: metrics, containerPort: 9464}",
        "{name: metrics, containerPort: 9464}\n            - {name: http, containerPort: 80}",
        "container beat: port http: beat does not listen there",
    ),
    "no metrics in Compose": Broken(
        "compose.yaml",
        'BABYLON_METRICS_PORT: "9464"',
        'BABYLON_METRICS_PORT: "0"',
        "beat: a probe asks port metrics, which is not open",
    ),
    "a probe of another path": Broken(
        "k8s/base/beat.yaml",
        "httpGet: {path: /livez, port: metrics}",
        "httpGet: {path: /health, port: metrics}",
        "container beat: a probe asks /health of port metrics; its paths are /livez, /readyz",
    ),
    "a probe that does not wait for the answer, in k8s": Broken(
        "k8s/base/beat.yaml",
        "timeoutSeconds: 5",
        "timeoutSeconds: 3",
        "container beat: a probe of /livez waits 3 s: an answer may take 3 s",
    ),
    "a probe that does not wait for the answer, in Compose": Broken(
        "compose.yaml",
        "  interval: 30s\n  timeout: 5s",
        "  interval: 30s\n  timeout: 4s",
        "a probe of /livez waits 4 s: an answer may take 4 s",
    ),
    "a probe of Flower, of a worker": Broken(
        "compose.yaml",
        "test: [CMD, python, -m, babylon_tasks.probe]",
        "test: [CMD, python, -m, babylon_tasks.probe, flower]",
        "beat: a probe asks port http, on which nothing listens",
    ),
    "an address that agents cannot find, in k8s": Broken(
        "k8s/base/services.yaml",
        "name: inference\nspec",
        "name: model\nspec",
        "BABYLON_INFERENCE_URL names inference.babylon-tasks.svc, but it is reached as "
        "model.babylon-tasks.svc",
    ),
    "an address that agents cannot find, in Compose": Broken(
        "compose.yaml",
        ":-http://gpu-worker:8100/v1",
        ":-http://trainer:8100/v1",
        "gpu-worker: BABYLON_INFERENCE_URL names trainer, but it is reached as gpu-worker",
    ),
    "another inference port": Broken(
        "compose.yaml",
        'BABYLON_INFERENCE_PORT: "8100"',
        'BABYLON_INFERENCE_PORT: "8101"',
        "BABYLON_INFERENCE_URL names port 8100, but BABYLON_INFERENCE_PORT is 8101",
    ),
    "an image that nobody builds": Broken(
        "k8s/base/beat.yaml",
        "image: babylon-tasks-worker:0.1.0",
        "image: babylon-tasks-beat:0.1.0",
        "container schema: image babylon-tasks-beat:0.1.0: the Dockerfile builds no such image",
    ),
    "an image without what its backend needs": Broken(
        "k8s/components/serverless/kustomization.yaml",
        '/containers/0/image, value: "babylon-tasks-trainer-train:0.1.0"',
        '/containers/0/image, value: "babylon-tasks-trainer-cpu:0.1.0"',
        "backend serverless needs babylon-tasks-trainer-train",
        SERVERLESS,
    ),
    "a target that the Dockerfile has not": Broken(
        "compose.yaml", "target: trainer", "target: train", "the Dockerfile has no target train"
    ),
    "a target that Compose builds and is gone": Broken(
        "Dockerfile", " AS trainer\n", " AS learner\n", "the Dockerfile has no target trainer"
    ),
    "a target of several services that is gone": Broken(
        "Dockerfile", " AS worker\n", " AS helper\n", "the Dockerfile has no target worker"
    ),
    "an argument that the Dockerfile has not": Broken(
        "compose.yaml",
        "EXTRAS: cpu",
        "EXTRA: cpu",
        "gpu-worker: the Dockerfile takes no argument EXTRA",
    ),
    "an extra in an image of another name": Broken(
        "compose.serverless.yaml",
        "{EXTRAS: train}",
        "{EXTRAS: cpu}",
        "EXTRAS cpu makes an image named babylon-tasks-trainer-train",
    ),
    "another Valkey than Compose's": Broken(
        "k8s/overlays/minimal/redis.yaml",
        "valkey/valkey:9.1.2-trixie",
        "valkey/valkey:9.0.0-trixie",
        "container redis: image valkey/valkey:9.0.0-trixie: compose.yaml has valkey/valkey:9.1.2",
        MINIMAL,
    ),
    "a grace period that is too short": Broken(
        "k8s/base/cpu-worker.yaml",
        "terminationGracePeriodSeconds: 60",
        "terminationGracePeriodSeconds: 35",
        "container cpu-worker: is killed 35 s after SIGTERM, and BABYLON_SHUTDOWN_SECONDS is 20: "
        "it must get more than 35 s",
    ),
    "a longer shutdown than the grace period": Broken(
        "k8s/base/settings.env",
        "BABYLON_SHUTDOWN_SECONDS=20",
        "BABYLON_SHUTDOWN_SECONDS=90",
        "container gpu-worker: is killed 60 s after SIGTERM, and BABYLON_SHUTDOWN_SECONDS is 90",
    ),
    "no wait for the schema": Broken(
        "k8s/base/beat.yaml",
        "args: [migrate, --status]",
        "args: [--help]",
        "container beat: would work on a schema that is not its own: it must wait for migrate",
    ),
    "an image of another version": Broken(
        "k8s/base/migrate.yaml",
        "image: babylon-tasks-worker:0.1.0",
        "image: babylon-tasks-worker:0.0.9",
        "image babylon-tasks-worker:0.0.9: pyproject.toml says version",
    ),
    "Flower with the address of Postgres": Broken(
        "k8s/base/flower.yaml",
        "{key: redis_url, path: redis_url}",
        "{key: redis_url, path: redis_url}\n"
        "              - {key: database_url, path: database_url}",
        "container flower: is given the secret database_url, which flower does not need",
    ),
    "Flower with the address of Postgres in Compose": Broken(
        "compose.yaml",
        "secrets: [redis_url, flower_basic_auth]",
        "secrets: [redis_url, flower_basic_auth, database_url]",
        "flower: is given the secret database_url, which flower does not need",
    ),
    "Flower with a way to Postgres": Broken(
        "k8s/components/private-servers/network.yaml",
        "values: [migrate, beat, cpu-worker, gpu-worker, gateway]",
        "values: [migrate, beat, cpu-worker, gpu-worker, gateway, flower]",
        "NetworkPolicy/to-private-postgres: opens Postgres to flower, which does not need it",
        (*PRODUCTION, "private-servers"),
    ),
    "a gateway that has the address of Redis": Broken(
        "compose.yaml",
        "secrets: [database_url, babylon_gateway_keys, babylon_inference_api_key]",
        "secrets: [database_url, babylon_gateway_keys, redis_url]",
        "gateway: is given the secret redis_url, which gateway does not need",
    ),
    "a gateway whose clients have no keys": Broken(
        "k8s/base/gateway.yaml",
        "              - {key: babylon_gateway_keys, path: babylon_gateway_keys}\n"
        "              - {key: babylon_inference_api_key, path: babylon_inference_api_key}\n",
        "",
        "container gateway: would not start: the settings cannot be used: BABYLON_GATEWAY_HOST "
        "admits other machines",
    ),
    "captured calls on a read-only disk": Broken(
        "k8s/base/gateway.yaml",
        "{name: BABYLON_GATEWAY_SPOOL_DIR, value: /data/calls}",
        "{name: BABYLON_GATEWAY_SPOOL_DIR, value: /calls}",
        "BABYLON_GATEWAY_SPOOL_DIR is /calls, where no volume is mounted",
    ),
    "a gateway that only the pod itself reaches": Broken(
        "k8s/base/gateway.yaml",
        "{name: BABYLON_GATEWAY_HOST, value: 0.0.0.0}",
        "{name: BABYLON_GATEWAY_HOST, value: 127.0.0.1}",
        "container gateway: BABYLON_GATEWAY_HOST is 127.0.0.1: nothing outside of the container",
    ),
    "another port of the gateway": Broken(
        "k8s/base/gateway.yaml",
        '{name: BABYLON_GATEWAY_PORT, value: "8200"}',
        '{name: BABYLON_GATEWAY_PORT, value: "8201"}',
        "container gateway: BABYLON_GATEWAY_PORT is 8201, but its port gateway is 8200",
    ),
    "a gateway in a worker's image": Broken(
        "k8s/base/gateway.yaml",
        "image: babylon-tasks-gateway:0.1.0\n          args: [run, gateway]",
        "image: babylon-tasks-worker:0.1.0\n          args: [run, gateway]",
        "image babylon-tasks-worker:0.1.0: babylon-tasks-gateway is for the gateway",
    ),
    "a probe of the gateway's port of metrics": Broken(
        "k8s/base/gateway.yaml",
        "httpGet: {path: /readyz, port: gateway}",
        "httpGet: {path: /readyz, port: metrics}",
        "container gateway: a probe asks /readyz of port metrics",
    ),
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
    "an authority that a container lacks": Broken(
        "k8s/components/ca/kustomization.yaml",
        "path: /spec/template/spec/initContainers/0/volumeMounts/-",
        "path: /spec/template/spec/containers/0/volumeMounts/-",
        "container schema: has no /etc/babylon-tasks/ca, which the others have",
        (*PRODUCTION, "ca"),
    ),
    "a judge without what asks it": Broken(
        "k8s/components/judge/kustomization.yaml",
        '/containers/0/image, value: "babylon-tasks-trainer-train:0.1.0"',
        '/containers/0/image, value: "babylon-tasks-worker:0.1.0"',
        "image babylon-tasks-worker:0.1.0: the scorer ruler needs ART",
        (*PRODUCTION, "judge"),
    ),
    "a password in the settings": Broken(
        "k8s/base/settings.env",
        "BABYLON_LOG_LEVEL=INFO",
        "FLOWER_BASIC_AUTH=babylon:babylon",
        "container flower: FLOWER_BASIC_AUTH is a secret in the environment; mount it as a file",
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
    "a secret in the environment": Broken(
        "k8s/base/gpu-worker.yaml",
        "- {name: BABYLON_BACKEND, value: cpu}",
        "- name: WANDB_API_KEY\n              valueFrom: "
        "{secretKeyRef: {name: babylon-tasks, key: wandb_api_key}}",
        "container gpu-worker: WANDB_API_KEY is a secret in the environment; mount it as a file",
    ),
    "the newest image": Broken(
        "k8s/base/beat.yaml",
        "image: babylon-tasks-worker:0.1.0",
        "image: babylon-tasks-worker:latest",
        "container schema: image babylon-tasks-worker:latest: pyproject.toml says version",
    ),
    "too little time to stop": Broken(
        "compose.yaml",
        "stop_grace_period: 40s",
        "stop_grace_period: 10s",
        "beat: is killed 10 s after SIGTERM, and BABYLON_SHUTDOWN_SECONDS is 20",
    ),
    "no wait for the migration": Broken(
        "compose.yaml",
        "condition: service_completed_successfully",
        "condition: service_started",
        "cpu-worker: would work on a schema that is not its own: it must wait for migrate",
    ),
    "an image of another version in Compose": Broken(
        "compose.yaml",
        "image: babylon-tasks-trainer-cpu:0.1.0",
        "image: babylon-tasks-trainer-cpu:0.0.9",
        "gpu-worker: image babylon-tasks-trainer-cpu:0.0.9: pyproject.toml says version",
    ),
    "a secret in an override": Broken(
        "compose.serverless.yaml",
        "BABYLON_BACKEND: serverless",
        "WANDB_API_KEY: 0123456789",
        "gpu-worker: WANDB_API_KEY is a secret in the environment; mount it as a file",
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_deployed(tmp_path)


def found(folder: Path, *which: tuple[str, ...]) -> list[str]:
    violations, _ = check(folder, which)
    return [str(violation) for violation in violations]


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


@pytest.mark.parametrize("component", [(), ("gpu",)])
def test_no_trainer_that_answers_agents_is_scaled_to_zero(
    folder: Path, component: tuple[str, ...]
) -> None:
    (violation,) = found(folder, (*PRODUCTION, *component, "scale-to-zero"))
    backend = "local" if component else "cpu"
    assert f"ScaledObject/gpu-worker: minReplicaCount 0 with BABYLON_BACKEND={backend}" in violation


def test_a_secret_that_the_example_forgets_is_refused(folder: Path) -> None:
    example = folder / "k8s" / "examples" / "external-secrets" / "external-secret.yaml"
    change(example, "secretKey: redis_url", "secretKey: redis_address")
    said = "\n".join(found(folder, PRODUCTION, ("examples/external-secrets",)))
    assert "ExternalSecret/babylon-tasks: does not make redis_url, which" in said
    assert "makes redis_address, which nothing in k8s/ reads" in said


def test_a_queue_that_the_table_of_processes_misspells_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = Settings(DATABASE_URL="postgresql://user@postgres/babylon")
    assert list(table(settings)) == []
    before = processes._CELERY[ProcessName.CPU_WORKER]

    def misspelt(chosen: Settings) -> list[str]:
        return ["upkep,cpu" if word == "cpu,upkeep" else word for word in before(chosen)]

    monkeypatch.setitem(processes._CELERY, ProcessName.CPU_WORKER, misspelt)
    output = [str(violation) for violation in table(settings)]
    where = "babylon_tasks/processes.py"
    assert output == [
        f"{where}: consumes queue upkep, which babylon_tasks/tasks/app.py does not have",
        f"{where}: no process consumes queue upkeep of babylon_tasks/tasks/app.py",
    ]
    assert "upkeep" in queues(settings)
