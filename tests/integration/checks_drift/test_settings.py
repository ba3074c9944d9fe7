"""`make check` refuses settings and secrets, in Compose or k8s/, that do not fit the code."""

from __future__ import annotations

from pathlib import Path

import pytest
from copies import Broken
from drifted import SERVERLESS, assert_refused

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
    "checkpoints on a read-only disk": Broken(
        "k8s/base/settings.env",
        "BABYLON_DATA_DIR=/data",
        "BABYLON_DATA_DIR=/models",
        "BABYLON_DATA_DIR is /models, where no volume is mounted",
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
    "a password in the settings": Broken(
        "k8s/base/settings.env",
        "BABYLON_LOG_LEVEL=INFO",
        "FLOWER_BASIC_AUTH=babylon:babylon",
        "container flower: FLOWER_BASIC_AUTH is a secret in the environment; mount it as a file",
    ),
    "a secret in the environment": Broken(
        "k8s/base/gpu-worker.yaml",
        "- {name: BABYLON_BACKEND, value: cpu}",
        "- name: WANDB_API_KEY\n              valueFrom: "
        "{secretKeyRef: {name: babylon-tasks, key: wandb_api_key}}",
        "container gpu-worker: WANDB_API_KEY is a secret in the environment; mount it as a file",
    ),
    "too little time to stop": Broken(
        "compose.yaml",
        "stop_grace_period: 40s",
        "stop_grace_period: 10s",
        "beat: is killed 10 s after SIGTERM, and BABYLON_SHUTDOWN_SECONDS is 20",
    ),
    "an anchor that a process does not know": Broken(
        "compose.upstreams.yaml",
        "  beat: *upstreams\n",
        "",
        "beat: would not start: the settings cannot be used: BABYLON_ANCHOR_MODEL is a model that",
    ),
    "a judge that babylon.env does not reach": Broken(
        "compose.judge.yaml",
        "BABYLON_SCORER: ruler",
        "BABYLON_RULER_MODEL: ''\n      BABYLON_SCORER: ruler",
        "cpu-worker: would not start: the settings cannot be used: the scorer ruler needs",
    ),
    "a secret in an override": Broken(
        "compose.serverless.yaml",
        "BABYLON_BACKEND: serverless",
        "WANDB_API_KEY: 0123456789",
        "gpu-worker: WANDB_API_KEY is a secret in the environment; mount it as a file",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused(folder: Path, case: str) -> None:
    assert_refused(folder, CASES[case])
