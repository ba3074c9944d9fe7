"""The manifest: the same input gives the same bytes, any other input gives others."""

from __future__ import annotations

import json

import msgspec
import pytest

from babylon_tasks.dataset import manifest as manifests
from babylon_tasks.dataset.manifest import Manifest, TrainingConfig
from babylon_tasks.errors import AnotherVersion
from babylon_tasks.faults import Fault, fault_of
from babylon_tasks.records import Group, LlmCall, Member
from babylon_tasks.step_records import SupervisedConfig


def group(response: str = "up", reward: float = 0.25) -> Group:
    call = LlmCall("babylon@0", (("user", "?"),), response, 1.0, 0, (-0.125,), (7,))
    return Group(
        "2026-01-31T09:00", "m-1", (Member("a", reward, (call,)), Member("b", 1.0, (call,)))
    )


def made(*groups: Group, **config: float) -> Manifest:
    values = {
        "learning_rate": 4e-4,
        "kl_coefficient": 0.05,
        "seed": 0,
        "packed_sequence_length": 512,
        "min_reward_spread": 1e-6,
        "max_group_size": 16,
        "max_staleness_steps": 8,
    } | config
    return Manifest(
        lineage="babylon",
        base_model="smol",
        parent_step=0,
        serving_step=0,
        base_step=0,
        code_version="0.1.0",
        scorer="default 1",
        logprobs="exact",
        config=msgspec.convert(values, TrainingConfig),
        groups=manifests.list_groups(map(manifests.hashed, groups), {"2026-01-31T09:00": 1}),
    )


def test_the_same_input_gives_the_same_bytes() -> None:
    assert manifests.canonical(made(group())) == manifests.canonical(made(group()))


@pytest.mark.parametrize(
    "other",
    [made(group(response="down")), made(group(reward=0.26)), made(group(), seed=1), made()],
)
def test_any_other_input_gives_another_hash(other: Manifest) -> None:
    assert manifests.manifest_hash(other) != manifests.manifest_hash(made(group()))


def test_a_manifest_survives_the_way_through_a_json_column() -> None:
    original = made(group())
    row = json.loads(json.dumps(json.loads(manifests.canonical(original))))

    assert manifests.manifest_hash(manifests.from_row(row)) == manifests.manifest_hash(original)


def test_what_later_versions_added_does_not_change_the_hash_of_a_step_in_work() -> None:
    """As 0.1.0's successors have planned it; a step of another method has what it needs."""
    names = set(json.loads(manifests.canonical(made(group()))))
    supervised = msgspec.structs.replace(
        made(group()), supervised=SupervisedConfig(1, 4, 5, top_share=0.25)
    )

    assert names == {
        *("lineage", "base_model", "base_step", "parent_step", "serving_step", "code_version"),
        *("scorer", "logprobs", "config", "groups"),
    }
    assert set(json.loads(manifests.canonical(supervised))) - names == {"supervised"}
    assert manifests.manifest_hash(supervised) != manifests.manifest_hash(made(group()))


def test_each_group_says_which_of_its_key_it_is_and_which_calls_its_members_hold() -> None:
    other = msgspec.structs.replace(group(), key="m-2")
    held = msgspec.structs.replace(group().members[0], places=(1,))
    third = msgspec.structs.replace(group(), members=(held, group().members[1]))

    listed = made(group(), other, third).groups

    assert [(entry.key, entry.part) for entry in listed] == [("m-1", 0), ("m-2", 0), ("m-1", 1)]
    assert [entry.calls for entry in listed[2].members] == [(1,), None]


def test_the_groups_of_one_key_are_numbered_in_each_window_anew() -> None:
    later = msgspec.structs.replace(group(), window_id="2026-01-31T10:00")
    versions = {"2026-01-31T09:00": 1, "2026-01-31T10:00": 1}

    listed = manifests.list_groups(map(manifests.hashed, [group(), group(), later]), versions)

    assert [entry.part for entry in listed] == [0, 1, 0]


def test_a_manifest_of_an_earlier_version_can_still_be_read() -> None:
    row = json.loads(manifests.canonical(made(group())))
    row["config"]["allow_without_logprobs"] = False
    for listed in row["groups"]:
        del listed["part"]
        for entry in listed["members"]:
            del entry["calls"]

    assert manifests.from_row(row) == made(group())


def test_what_a_configuration_lacks_was_done_as_before_and_changes_no_bytes() -> None:
    before = json.loads(manifests.canonical(made(group())))["config"]
    assert set(before) == {
        "learning_rate",
        "kl_coefficient",
        "seed",
        "packed_sequence_length",
        "min_reward_spread",
        "max_group_size",
        "max_staleness_steps",
    }
    later = {
        "scale_rewards": False,
        "max_importance_ratio": 2.0,
        "advantage_balance": 0.5,
    }
    config = json.loads(manifests.canonical(made(group(), **later)))["config"]
    assert config == before | later


def test_what_another_version_has_planned_is_no_fault_of_its_windows() -> None:
    row = json.loads(manifests.canonical(made(group())))
    del row["config"]

    with pytest.raises(AnotherVersion, match="step of lineage babylon upon 0") as refused:
        manifests.from_row(row)

    assert fault_of(refused.value) is Fault.SCHEMA
