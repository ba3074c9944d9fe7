"""`make check` refuses ports, probes and addresses that do not fit the code."""

from __future__ import annotations

from pathlib import Path

import pytest
from copies import Broken
from drifted import assert_refused

CASES = {
    "metrics that only the pod itself reaches": Broken(
        "k8s/base/settings.env",
        "BABYLON_METRICS_HOST=0.0.0.0",
        "BABYLON_METRICS_HOST=127.0.0.1",
        "BABYLON_METRICS_HOST is 127.0.0.1: nothing outside of the container would reach it",
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
    "a probe of the gateway's port of metrics": Broken(
        "k8s/base/gateway.yaml",
        "httpGet: {path: /readyz, port: gateway}",
        "httpGet: {path: /readyz, port: metrics}",
        "container gateway: a probe asks /readyz of port metrics",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused(folder: Path, case: str) -> None:
    assert_refused(folder, CASES[case])
