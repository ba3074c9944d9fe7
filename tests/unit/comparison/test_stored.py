"""Parameters, states, windows and evidence in the database and back."""

from __future__ import annotations

import random

import msgspec
from compared_windows import Crowd
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.comparison.conclusion import ComparisonEvidence, ComparisonState
from babylon_tasks.comparison.observed import ComparedWindow
from babylon_tasks.comparison.parameters import ComparisonParameters, MetricParameters, Ramp
from babylon_tasks.comparison.rule import begin, canonical, compare, replay


@given(
    seed=st.integers(0, 1000),
    ramp=st.booleans(),
    guard=st.booleans(),
    block=st.integers(1, 3),
    mean=st.floats(-0.3, 0.3),
)
def test_16_what_is_read_back_is_what_was_written_and_replays_to_the_same(
    seed: int, ramp: bool, guard: bool, block: int, mean: float
) -> None:
    parameters = ComparisonParameters(
        ramp=Ramp() if ramp else None, guard=MetricParameters() if guard else None, block=block
    )
    crowd = Crowd(random.Random(seed))
    windows = [crowd.window(mean, -mean, 0.5) for _ in range(20)]
    stored = canonical(parameters)
    read = msgspec.json.decode(stored, type=ComparisonParameters)
    assert read == parameters
    state = begin(parameters)
    recorded = []
    for window in windows:
        written = canonical(window)
        found = compare(read, state, msgspec.json.decode(written, type=ComparedWindow))
        recorded.append(found)
        kept = canonical(found.state)
        assert b"null" not in kept.replace(b'"guard":null', b"").replace(b'"ramp":null', b"")
        state = msgspec.json.decode(kept, type=ComparisonState)
        assert canonical(state) == kept
        assert state == found.state
        figures = canonical(found.evidence)
        assert msgspec.json.decode(figures, type=ComparisonEvidence) == found.evidence
    assert list(replay(parameters, windows)) == recorded
