"""Planning joins calls without token ids to what the gateway captured, each once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from captured_calls import captured_call, passed_on_call
from factories import EVER, SYSTEM, USER, WINDOW, llm_call
from msgspec import structs
from planned_steps import MANY, Make, manifest, refused, train, uses
from prometheus_client import REGISTRY
from scored_windows import scored_window

from babylon_tasks.dataset import manifest as manifests
from babylon_tasks.db import calls
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import statement
from babylon_tasks.pipeline import load_groups
from babylon_tasks.pipeline.data_report import verify_data
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_start

START = window_start(WINDOW)
RECORDED = llm_call("YES", model="huggingface")  # as Babylon records: a provider, no tokens
IDS = [73, 2097, 2]


@pytest.fixture
def settings(make_settings: Make) -> Settings:
    return make_settings(retry_delay_seconds=0, max_group_size=4)


def capture(connection: Connection, agent: str | None, **fields: Any) -> None:
    values = {"asked_at": START + timedelta(minutes=5), "ids": IDS, "answer": "YES", **fields}
    one = captured_call(system=SYSTEM, user=USER, agent=agent, **values)
    assert calls.insert(connection, [one], float(EVER)).refused == 0


def claims(connection: Connection) -> dict[str, int]:
    rows = connection.execute(
        "SELECT trajectory_id, count(*) FROM training.calls"
        " WHERE trajectory_id IS NOT NULL GROUP BY 1"
    )
    return dict(rows.fetchall())


def counted(result: str) -> float:
    return REGISTRY.get_sample_value("babylon_calls_joined_total", {"result": result}) or 0.0


def captured(connection: Connection, agents: Sequence[str | None], **fields: Any) -> None:
    for agent in agents:
        capture(connection, agent, **fields)


def passed_on(connection: Connection, agent: str) -> None:
    """Another server's model gave the recorded answer."""
    asked_at = START + timedelta(minutes=5)
    one = passed_on_call(asked_at=asked_at, system=SYSTEM, user=USER, answer="YES", agent=agent)
    assert calls.insert(connection, [one], float(EVER)).refused == 0


AGENTS = [f"agent-{number}" for number in range(4)]


@pytest.mark.parametrize("named", [True, False])
def test_a_step_learns_from_calls_that_the_gateway_captured(
    connection: Connection, settings: Settings, named: bool
) -> None:
    ids = scored_window(connection, rewards=MANY[:4], calls=[RECORDED])
    captured(connection, AGENTS if named else [None] * 4)
    before = counted("exact")

    assert train(settings).action == "committed"

    assert uses(connection) == dict.fromkeys(ids, "trained")
    assert claims(connection) == dict.fromkeys(ids, 1)
    assert manifest(connection)["logprobs"] == "exact"
    assert counted("exact") == before + 4
    # A step that is interrupted before its commit reads the same groups again.
    connection.execute('UPDATE trajectories SET "usedInTraining" = false')
    listed = manifests.from_row(manifest(connection))
    groups = load_groups.of_manifest(connection, settings, listed)
    assert groups is not None
    made = [call for group in groups for one in group.members for call in one.calls]
    assert {(call.model, call.token_ids) for call in made} == {("babylon@0", tuple(IDS))}


def test_without_captures_they_are_refused_as_before(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=MANY[:4], calls=[RECORDED])
    train(settings)
    assert refused(connection) == dict.fromkeys(ids, "other_policy")


def test_a_call_that_could_be_several_captures_is_refused_by_name(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=MANY[:4], calls=[RECORDED])
    captured(connection, AGENTS[1:])
    captured(connection, AGENTS[:1])
    captured(connection, AGENTS[:1], step=1)  # the same words of the next checkpoint
    before = counted("ambiguous")

    assert train(settings).action == "committed"

    assert refused(connection) == {ids[0]: "ambiguous_capture"}
    assert ids[0] not in claims(connection)
    assert counted("ambiguous") == before + 1


@pytest.mark.parametrize("name", ["temperature", "top_p"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_parameter_beyond_any_number_costs_its_own_call_alone(
    connection: Connection, settings: Settings, name: str, sign: str
) -> None:
    ids = scored_window(connection, rewards=MANY[:4], calls=[RECORDED])
    captured(connection, AGENTS[1:])
    sampling = {"temperature": 1, "top_p": 1, name: int(f"{sign}1{'0' * 400}")}
    captured(connection, AGENTS[:1], sampling=json.dumps(sampling))

    assert train(settings).action == "committed"

    assert refused(connection) == {ids[0]: "tempered"}


def test_an_answer_of_another_server_is_known_and_not_learned_from(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=MANY[:4], calls=[RECORDED])
    for agent in AGENTS:
        passed_on(connection, agent)
    before = counted("other_model")

    train(settings)

    assert refused(connection) == dict.fromkeys(ids, "other_policy")
    detail = "SELECT DISTINCT detail FROM training.rejections WHERE reason = 'other_policy'"
    assert "qwen/q" in str(connection.execute(detail).fetchall())
    assert claims(connection) == dict.fromkeys(ids, 1)
    assert counted("other_model") == before + 4
    assert verify_data(settings).captures == {"other_model": 4}


def test_the_same_words_of_a_checkpoint_and_of_another_server_are_ambiguous(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=MANY[:4], calls=[RECORDED])
    captured(connection, AGENTS)
    passed_on(connection, AGENTS[0])

    assert train(settings).action == "committed"

    assert refused(connection) == {ids[0]: "ambiguous_capture"}


def test_an_answer_of_another_server_has_no_ids(connection: Connection) -> None:
    made = passed_on_call(asked_at=START)
    whole = structs.replace(made, token_ids=b"\1\0\0\0", logprobs=b"\0\0\0\0")
    nobodys = structs.replace(made, model=None)
    assert calls.insert(connection, [made, whole, nobodys], float(EVER)).refused == 2


def test_one_capture_is_not_learned_from_twice(connection: Connection, settings: Settings) -> None:
    ids = scored_window(connection, rewards=MANY[:4], calls=[RECORDED])
    captured(connection, [None, None])
    assert train(settings).action == "committed"
    assert len(claims(connection)) == 2
    assert sum(use == "trained" for use in uses(connection).values()) == 2
    assert len(refused(connection)) == 2
    assert {*claims(connection), *refused(connection)} == set(ids)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"sampling": '{"temperature":0.7,"top_p":1,"others":[]}'}, "tempered"),
        ({"sample_state": "no_logprobs", "token_ids": None, "logprobs": None}, "no_logprobs"),
        ({"sample_state": "shaped", "sampling": '{"temperature":1,"others":["tools"]}'}, "tools"),
        ({"sample_state": "shaped", "sampling": '{"temperature":1,"others":["top_k"]}'},
         "no_logprobs"),
        ({"lineage": "another"}, "other_policy"),
        ({"step": 7}, "future_policy"),
        ({"asked_at": START - timedelta(hours=1, minutes=1)}, "other_policy"),
    ],
)  # fmt: skip
def test_what_was_captured_decides_why_a_call_is_refused(
    connection: Connection, settings: Settings, fields: dict[str, Any], reason: str
) -> None:
    ids = scored_window(connection, rewards=MANY[:4], calls=[RECORDED])
    captured(connection, AGENTS, **fields)
    train(settings)
    assert refused(connection) == dict.fromkeys(ids, reason)


def test_ids_without_log_probabilities_do_not_hide_what_the_gateway_saw(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(retry_delay_seconds=0, max_group_size=4, logprobs="parent")
    recorded = llm_call("YES", model="huggingface", tokenIds=IDS)
    ids = scored_window(connection, rewards=MANY[:4], calls=[recorded])
    captured(connection, AGENTS, sample_state="shaped")
    train(settings)
    assert refused(connection) == dict.fromkeys(ids, "shaped")


def test_what_was_recorded_whole_needs_no_capture(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, rewards=MANY[:4])
    captured(connection, AGENTS)
    assert train(settings).action == "committed"
    assert claims(connection) == {}


def test_verify_data_says_what_would_be_joined_and_writes_nothing(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, rewards=MANY[:4], calls=[RECORDED], state="sealed")
    captured(connection, AGENTS[:3])
    report = verify_data(settings)
    assert report.captures == {"exact": 3, "not_found": 1}
    assert {model.name: model.calls for model in report.models} == {
        "babylon@0": 3,
        "huggingface": 1,
    }
    assert claims(connection) == {}


def test_a_name_out_of_the_prompt_that_is_no_agents_is_not_relied_on_and_named(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=MANY[:4], calls=[RECORDED])
    captured(connection, ["Ana"] * 4, agent_source="system_prompt")  # as their prompt calls each
    warning = next(one for one in verify_data(settings).warnings if "AGENT_PATTERN" in one)
    assert warning.startswith("4 joined calls ")
    assert train(settings).action == "committed"
    assert claims(connection) == dict.fromkeys(ids, 1)


@pytest.mark.contract(None)
def test_captures_are_found_by_the_index_on_their_texts(connection: Connection) -> None:
    now = START + timedelta(minutes=5)
    many = [captured_call(asked_at=now, user=f"question {n}") for n in range(5000)]
    assert calls.insert(connection, many, float(EVER)).refused == 0
    connection.execute("ANALYZE training.calls")
    one = many[0]
    plan = connection.execute(
        "EXPLAIN (COSTS off) " + statement("call_joins.samples"),
        {
            "systems": [one.system_hash],
            "users": [one.user_hash],
            "answers": [one.answer_hash],
            "since": START,
            "until": START + timedelta(hours=1),
        },
    ).fetchall()
    text = "\n".join(row[0] for row in plan)
    assert "Seq Scan" not in text, text
