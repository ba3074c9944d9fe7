"""What BABYLON_TRIPWIRES says."""

from __future__ import annotations

import pytest

from babylon_tasks.tripwires import DEFAULT_POLICIES, Tripwire, TripwirePolicy, read_policies


def test_only_what_teaches_the_wrong_thing_is_refused_by_default() -> None:
    refused = {wire for wire, policy in DEFAULT_POLICIES.items() if policy is TripwirePolicy.HOLD}
    assert refused == {Tripwire.OUTCOME_WORDS, Tripwire.AGAINST_OUTCOMES}
    assert set(DEFAULT_POLICIES) == set(Tripwire)


def test_wires_that_are_not_named_keep_their_default() -> None:
    found = read_policies(" length = hold , duplicates=off,")
    assert found[Tripwire.LENGTH] is TripwirePolicy.HOLD
    assert found[Tripwire.DUPLICATES] is TripwirePolicy.OFF
    assert found[Tripwire.OUTCOME_WORDS] is TripwirePolicy.HOLD
    assert read_policies("") == DEFAULT_POLICIES


@pytest.mark.parametrize("text", ["length", "length=stop", "lenght=warn", "=warn", "length=warn=x"])
def test_what_is_neither_a_wire_nor_a_policy_is_refused_with_both_lists(text: str) -> None:
    with pytest.raises(ValueError, match=r"length, dominance, .* off, warn, hold"):
        read_policies(text)


def test_a_wire_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="length is in it twice"):
        read_policies("length=warn,length=off")
