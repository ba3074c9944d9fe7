"""One trace for an hour: a call, its capture, the scoring, the step and the decision about it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from captured_calls import sampled
from command_line import one_contract
from evaluated_checkpoints import evaluated, held_out_windows
from factories import EVER, WINDOW, fill_window
from otlp_receiver import OtlpReceiver, about, otlp_receiver
from peer import PeerTrainer
from scored_windows import hour, scored_window

from babylon_tasks import tracing
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import BabylonTasksError
from babylon_tasks.gateway.capture import Capture
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings
from babylon_tasks.tracing import Span
from babylon_tasks.windows import window_start

pytestmark = one_contract
MakeSettings = Callable[..., Settings]
# As an agent's own instrumentation sends it.
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as found:
        yield found
        tracing.end()


@pytest.fixture
def settings(make_settings: MakeSettings, receiver: OtlpReceiver) -> Iterator[Settings]:
    made = make_settings(
        traces_url=receiver.url,
        traced_calls=1,
        lookback_hours=int(EVER),
        grace_seconds=0,
        keep_calls_days=390,
        min_eval_groups=3,
        held_out_share=0,
    )
    tracing.begin(made)
    yield made
    tracing.begin(make_settings())


def test_an_hour_is_one_trace_from_an_agents_call_to_the_promotion(
    connection: Connection, settings: Settings, receiver: OtlpReceiver
) -> None:
    held_out_windows(connection)
    asked_at = window_start(WINDOW) + timedelta(minutes=5)
    capture = Capture(settings)
    capture.start()
    capture.put(sampled(asked_at, caller=CALLER))
    capture.stop()
    fill_window(connection)
    connection.execute("""UPDATE trajectories SET "createdAt" = now() - interval '1 day'""")
    discover(settings, actor="test")
    score_window(settings, WINDOW, actor="test")
    trainer = PeerTrainer(settings.data_dir, values={0: 0.5, 1: 0.7})
    train_window(settings, trainer, window=WINDOW, actor="test")
    assert evaluated(settings, trainer).action == "promoted"
    tracing.end()

    (first,) = receiver.named(Span.WINDOW, WINDOW)
    found = {name: receiver.named(name, WINDOW) for name in Span}
    assert {name: len(spans) for name, spans in found.items()} == dict.fromkeys(Span, 1)
    assert {span.trace_id for (span,) in found.values()} == {first.trace_id}
    assert {span.parent_span_id for (span,) in found.values()} == {b"", first.span_id}
    call, step, decision = (found[name][0] for name in (Span.CALL, Span.STEP, Span.DECISION))
    assert call.start_time_unix_nano == int(asked_at.timestamp()) * 10**9
    assert call.end_time_unix_nano - call.start_time_unix_nano == 5 * 10**6
    assert [link.trace_id.hex() for link in call.links] == [CALLER.split("-")[1]]
    assert about(call)["babylon.agent"] == "agent-1"
    assert (about(step)["babylon.step"], about(step)["babylon.action"]) == (1, "committed")
    assert about(decision)["babylon.decision"] == "promote"
    assert {one["service.name"] for one in receiver.resources} == {"babylon-tasks"}


def test_a_step_of_several_hours_is_in_the_trace_of_each_and_links_them(
    connection: Connection, settings: Settings, receiver: OtlpReceiver
) -> None:
    for n in (1, 2):
        scored_window(connection, hour(n))

    trained = train_window(settings, PeerTrainer(settings.data_dir), window=None, actor="test")
    tracing.end()

    assert trained.windows == [hour(1), hour(2)]
    one, other = (receiver.named(Span.STEP, hour(n))[0] for n in (1, 2))
    assert one.trace_id != other.trace_id
    assert [link.trace_id for link in one.links] == [other.trace_id]
    assert [link.span_id for link in other.links] == [one.parent_span_id]


def test_what_failed_says_so(
    connection: Connection, settings: Settings, receiver: OtlpReceiver
) -> None:
    scored_window(connection, hour(1))
    trainer = PeerTrainer(settings.data_dir, falls="refuses")

    train_window(settings, trainer, window=None, actor="test")
    with pytest.raises(BabylonTasksError):
        score_window(settings, hour(9), actor="test")  # there is no such window
    tracing.end()

    (step,) = receiver.named(Span.STEP)
    (score,) = receiver.named(Span.SCORE)
    assert [span.status.code for span in (step, score)] == [2, 2]
    assert hour(9) in score.status.message


def test_secrets_are_masked_as_in_the_log(settings: Settings, receiver: OtlpReceiver) -> None:
    error = "cannot reach postgresql://babylon:planted@db/babylon"
    began = window_start(WINDOW)
    tracing.record(Span.SCORE, [WINDOW], began=began, error=error, reason="api_key=planted")
    tracing.end()

    (span,) = receiver.named(Span.SCORE)
    assert span.status.message == "cannot reach postgresql://***@db/babylon"
    assert about(span)["babylon.reason"] == "api_key=***"


def test_a_worker_that_cannot_trace_does_not_start(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "opentelemetry.py").touch()  # in place of the extra's package
    ended = subprocess.run(
        [sys.executable, "-m", "babylon_tasks", "run", "cpu-worker"],
        env={
            **os.environ,
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "REDIS_URL": redis_url,
            "BABYLON_TRACES_URL": "http://127.0.0.1:9",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(tmp_path)]),
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 2
    assert "pip install 'babylon-tasks[otel]'" in ended.stderr


def test_a_collector_that_is_away_stops_nothing(
    connection: Connection, settings: Settings, make_settings: MakeSettings
) -> None:
    tracing.begin(make_settings(traces_url="http://127.0.0.1:9", lookback_hours=int(EVER)))
    scored_window(connection, hour(1))

    trained = train_window(settings, PeerTrainer(settings.data_dir), window=None, actor="test")
    tracing.end()

    assert trained.action == "committed"


def test_what_opentelemetrys_own_variables_say_of_the_queue_ends_no_decision(
    settings: Settings, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100000")

    tracing.record(Span.DECISION, [WINDOW], began=window_start(WINDOW))
    tracing.end()

    assert len(receiver.named(Span.DECISION, WINDOW)) == 1
