"""`make check` refuses commands, queues, processes and images that do not fit the code."""

from __future__ import annotations

from pathlib import Path

import pytest
from copies import Broken
from drifted import PRODUCTION, SERVERLESS, assert_refused

from babylon_tasks import processes
from babylon_tasks.processes import ProcessName
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.app import queues
from checks.drift.commands import table

CASES = {
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
    "a gateway in a worker's image": Broken(
        "k8s/base/gateway.yaml",
        "image: babylon-tasks-gateway:0.1.0\n          args: [run, gateway]",
        "image: babylon-tasks-worker:0.1.0\n          args: [run, gateway]",
        "image babylon-tasks-worker:0.1.0: babylon-tasks-gateway is for the gateway",
    ),
    "a judge without what asks it": Broken(
        "k8s/components/judge/kustomization.yaml",
        '/containers/0/image, value: "babylon-tasks-trainer-train:0.1.0"',
        '/containers/0/image, value: "babylon-tasks-worker:0.1.0"',
        "image babylon-tasks-worker:0.1.0: the scorer ruler needs ART",
        (*PRODUCTION, "judge"),
    ),
    "the newest image": Broken(
        "k8s/base/beat.yaml",
        "image: babylon-tasks-worker:0.1.0",
        "image: babylon-tasks-worker:latest",
        "container schema: image babylon-tasks-worker:latest: pyproject.toml says version",
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
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused(folder: Path, case: str) -> None:
    assert_refused(folder, CASES[case])


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
