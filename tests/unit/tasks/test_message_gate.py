"""Which messages are let through, and what is left of them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from garbage import WINDOW, encoded, envelope, garbage, overloaded, raw
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.tasks.app import SENT_AT
from babylon_tasks.tasks.message_gate import ForeignMessage, admit, admit_reply


def parts(admitted: bytes) -> tuple[dict[str, Any], list[Any]]:
    message = json.loads(admitted)
    return message["headers"], json.loads(base64.b64decode(message["body"]))


@pytest.mark.parametrize("kind", garbage())
def test_garbage_is_refused(kind: str) -> None:
    with pytest.raises(ForeignMessage):
        admit("cpu", garbage()[kind])


@pytest.mark.parametrize("kind", overloaded())
def test_of_what_a_message_orders_only_task_id_and_argument_are_left(kind: str) -> None:
    headers, body = parts(admit("cpu", overloaded()[kind]))

    assert headers["task"] == "babylon.score_window.v1"
    assert body == [[WINDOW], {}, {}]
    assert headers.keys() == {
        *("lang", "task", "id", "root_id", "ignore_result", "argsrepr", "kwargsrepr")
    }


@pytest.mark.parametrize(
    ("queue", "task", "args", "kwargs", "left"),
    [
        ("cpu", "babylon.score_window.v1", [WINDOW], {}, [WINDOW]),
        ("cpu", "babylon.score_window.v1", [], {"window": WINDOW}, [WINDOW]),
        ("gpu", "babylon.train_window.v1", [WINDOW], {}, [WINDOW]),
        ("gpu", "babylon.train_window.v1", [None], {}, [None]),
        ("gpu", "babylon.train_window.v1", [], {}, [None]),
        ("upkeep", "babylon.discover.v1", [], {}, []),
        ("upkeep", "babylon.reconcile.v1", [], {}, []),
    ],
)
def test_every_message_of_ours_is_let_through(
    queue: str, task: str, args: list[Any], kwargs: dict[str, Any], left: list[Any]
) -> None:
    headers, body = parts(admit(queue, raw(envelope(task, args, kwargs))))
    assert (headers["task"], body) == (task, [left, {}, {}])


@pytest.mark.parametrize(
    ("queue", "task", "args"),
    [
        ("upkeep", "babylon.discover.v1", [WINDOW]),
        ("upkeep", "babylon.discover.v1", [None]),
        ("upkeep", "babylon.score_window.v1", [WINDOW]),
        ("gpu", "babylon.score_window.v1", [WINDOW]),
        ("cpu", "babylon.score_window.v1", []),
    ],
)
def test_a_task_gets_its_own_argument_from_its_own_queue_only(
    queue: str, task: str, args: list[Any]
) -> None:
    with pytest.raises(ForeignMessage):
        admit(queue, raw(envelope(task, args)))


def test_the_time_of_sending_is_kept_for_the_metric() -> None:
    headers, _ = parts(admit("cpu", raw(envelope(headers={SENT_AT: 1_700_000_000.5}))))
    assert headers[SENT_AT] == 1_700_000_000.5


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary() | _JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_refused_and_never_an_error(message: bytes) -> None:
    with pytest.raises(ForeignMessage):
        admit("cpu", message)
    with pytest.raises(ForeignMessage):
        admit_reply(message)


@given(part=st.sampled_from(["headers", "properties", "body", "content-type"]), value=_JSON)
def test_one_wrong_part_is_refused_and_never_an_error(part: str, value: object) -> None:
    with pytest.raises(ForeignMessage):
        admit("cpu", raw(envelope() | {part: value}))


@given(_JSON)
def test_any_body_is_refused_and_never_an_error(body: object) -> None:
    with pytest.raises(ForeignMessage):
        admit("cpu", raw(envelope(body=encoded(json.dumps(body)))))


def test_an_answer_to_a_command_passes_as_it_is() -> None:
    answer = raw(envelope())
    assert admit_reply(answer) == answer
