"""Every process on its HTTP port: what it counted, and whether it moves."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psutil
from acceptance.harness import Babylon, hours, until
from by_hand import promote_head
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from babylon_tasks.sandbox.servers import EmbeddedValkey

Families = dict[str, Metric]


def ask(babylon: Babylon, name: str, path: str) -> tuple[int, str]:
    """Status and text of a process's answer; 0 while nobody listens."""
    try:
        with urlopen(  # our own address
            f"http://127.0.0.1:{babylon.stack.metrics_ports[name]}{path}", timeout=60
        ) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except URLError:
        return 0, ""


def scrape(babylon: Babylon, name: str) -> Families:
    """What Prometheus would read there, by family."""
    status, text = ask(babylon, name, "/metrics")
    assert status == 200, text
    return {family.name: family for family in text_string_to_metric_families(text)}


def figure(families: Families, sample: str, **labels: str) -> float:
    """One sample's value."""
    found = [
        one.value
        for family in families.values()
        for one in family.samples
        if one.name == sample and one.labels.items() >= labels.items()
    ]
    assert len(found) == 1, (sample, labels, found)
    return found[0]


def test_what_all_children_did_is_counted_once_and_beat_exports_the_system(
    make_babylon: Callable[..., Babylon],
) -> None:
    babylon = make_babylon(BABYLON_CPU_CONCURRENCY="2")
    good, flat = hours(2)
    babylon.record(good, groups=2, agents=3)
    babylon.record(flat, groups=1, agents=3, spread=0)
    babylon.start("gpu-worker", "cpu-worker", "beat")
    babylon.await_states([good], "trained")
    babylon.await_states([flat], "skipped")
    ready = ("gpu-worker", "cpu-worker", "beat")
    until("all are ready", lambda: all(ask(babylon, one, "/readyz")[0] == 200 for one in ready))

    until(
        "the gate_result has been counted",
        lambda: figure(scrape(babylon, "gpu-worker"), "babylon_evaluations_total", action="held"),
    )
    promote_head(babylon.connection, babylon.lineage)
    gpu, beat = scrape(babylon, "gpu-worker"), scrape(babylon, "beat")

    until(
        "the scoring tasks have been counted",
        lambda: (
            figure(
                scrape(babylon, "cpu-worker"),
                "babylon_task_duration_seconds_count",
                task="babylon.score_window.v1",
                outcome="done",
            )
            >= 2
        ),
    )
    cpu = scrape(babylon, "cpu-worker")
    assert figure(cpu, "babylon_trajectories_scored_total") == 9, "of two children together"
    assert figure(cpu, "babylon_trajectories_rejected_total", reason="late") == 0
    assert figure(cpu, "babylon_windows_scored_total", state="scored") == 1
    assert figure(cpu, "babylon_windows_scored_total", state="skipped") == 1
    assert "babylon_trainer_up" not in cpu, "it has none, and none of it is down"
    assert figure(cpu, "babylon_task_wait_seconds_count", task="babylon.discover.v1") >= 1
    assert figure(cpu, "babylon_reconcile_actions_total", action="window_failed") == 0
    assert figure(gpu, "babylon_trainer_up") == 1
    assert figure(gpu, "babylon_trainer_starts_total") == 1
    (step,) = babylon.steps("committed")
    assert figure(gpu, "babylon_gradient_steps_total") == step["gradient_steps"]
    assert figure(gpu, "babylon_trained_tokens_total") == step["trainable_tokens"]
    assert figure(gpu, "babylon_step_runs_total", outcome="committed") == 1
    assert figure(gpu, "babylon_step_duration_seconds_count") == 1
    assert figure(gpu, "babylon_evaluations_total", action="held") == 1
    assert figure(gpu, "babylon_disk_free_bytes", folder="data") > 0
    assert figure(beat, "babylon_windows", state="trained") == 1
    assert figure(beat, "babylon_serving_step") == 1
    assert figure(beat, "babylon_source_up", source="redis") == 1
    assert figure(beat, "babylon_queue_messages", queue="gpu.acceptance") >= 0
    for families in (cpu, gpu, beat):
        assert figure(families, "babylon_build_info") == 1
        assert figure(families, "babylon_ready") == 1
        assert figure(families, "process_resident_memory_bytes") > 0

    assert ask(babylon, "beat", "/")[0] == 404
    secret = babylon.stack.settings.inference_api_key.get_secret_value()
    for name in ready:
        assert secret not in ask(babylon, name, "/metrics")[1]


def test_no_process_is_dead_while_redis_is_away_and_all_are_ready_again_when_it_is_back(
    make_babylon: Callable[..., Babylon], broker: EmbeddedValkey
) -> None:
    babylon = make_babylon(broker=broker.url)
    names = ("cpu-worker", "beat")
    babylon.start(*names)
    until("both are ready", lambda: all(ask(babylon, one, "/readyz")[0] == 200 for one in names))

    broker.kill()
    until("both notice", lambda: all(ask(babylon, one, "/readyz")[0] == 503 for one in names))
    assert all("Redis" in ask(babylon, one, "/readyz")[1] for one in names)
    assert all(ask(babylon, one, "/livez")[0] == 200 for one in names)
    assert figure(scrape(babylon, "beat"), "babylon_source_up", source="redis") == 0
    assert all(figure(scrape(babylon, one), "babylon_ready") == 0 for one in names)

    broker.restart()
    until("both are ready", lambda: all(ask(babylon, one, "/readyz")[0] == 200 for one in names))


def test_a_trainer_that_was_killed_with_its_child_is_up_no_more_until_another_serves(
    babylon: Babylon,
) -> None:
    babylon.start("gpu-worker")
    until("it is ready", lambda: ask(babylon, "gpu-worker", "/readyz")[0] == 200)
    child, trainer = babylon.pool_child(), babylon.trainer()
    assert trainer is not None

    child.kill()

    until("the trainer is missed", lambda: ask(babylon, "gpu-worker", "/readyz")[0] == 503)
    until("it is ready again", lambda: ask(babylon, "gpu-worker", "/readyz")[0] == 200)
    assert figure(scrape(babylon, "gpu-worker"), "babylon_trainer_starts_total") == 2
    assert not psutil.pid_exists(trainer.pid) or trainer.status() == psutil.STATUS_ZOMBIE


def test_a_worker_ended_by_force_leaves_its_port(babylon: Babylon) -> None:
    babylon.start("cpu-worker")
    until("it is ready", lambda: ask(babylon, "cpu-worker", "/readyz")[0] == 200)
    child = babylon.pool_child("cpu-worker")
    os.kill(child.pid, signal.SIGSTOP)  # an orphan that does not notice its parent's end

    babylon.kill("cpu-worker", group=False)

    try:
        assert ask(babylon, "cpu-worker", "/livez")[0] == 0, "nobody holds the dead one's port"
    finally:
        child.kill()
