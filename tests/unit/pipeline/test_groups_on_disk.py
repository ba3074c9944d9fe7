"""Groups wait in a file while a step is planned: the same ones, one at a time in memory."""

from __future__ import annotations

import gc
import random
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from babylon_tasks.dataset.manifest import content_hash, hashed, list_groups
from babylon_tasks.dataset.packed_members import DamagedMember, unpack
from babylon_tasks.errors import TrainingError
from babylon_tasks.faults import Fault
from babylon_tasks.pipeline.groups_on_disk import GroupsOnDisk
from babylon_tasks.records import Group, LlmCall, Member
from babylon_tasks.training.groups_file import read_groups, write_groups

WINDOW = "2026-01-31T09:00"
MEMBERS = 4


def group(number: int, *, size: int = 100) -> Group:
    """Calls whose texts and log-probabilities no other has, in about ``size`` bytes."""
    chance = random.Random(number)

    def member(place: int) -> Member:
        call = LlmCall(
            model="babylon@0",
            messages=(("user", chance.randbytes(size // 4).hex()),),
            response="Yes",
            temperature=1.0,
            logprobs=(-chance.random(),),
            token_ids=(5230,),
            token_bytes=(b"\xff",),  # half of a character
        )
        return Member(f"t-{number}-{place}", chance.random(), (call,))

    return Group(WINDOW, f"key-{number}", tuple(member(place) for place in range(MEMBERS)))


def on_disk(folder: Path, *numbers: int) -> GroupsOnDisk:
    made = GroupsOnDisk(folder)
    for number in numbers:
        made.append(group(number))
    return made


def test_groups_are_read_as_they_were_added_again_and_again(tmp_path: Path) -> None:
    made = on_disk(tmp_path / "plans", 0, 1, 2)
    expected = [group(0), group(1), group(2)]

    assert list(made) == expected == list(made)
    assert made[1] == expected[1]
    assert made[1:] == expected[1:]
    assert made.sizes == [MEMBERS] * 3
    assert [one.content.hex() for one in made.packed()] == [
        content_hash(member) for one in expected for member in one.members
    ]
    assert [unpack(one) for one in made.packed()] == [m for one in expected for m in one.members]


def test_the_manifest_and_the_trainer_get_the_same_as_of_groups_in_memory(tmp_path: Path) -> None:
    made = on_disk(tmp_path / "plans", 0, 1)
    few = structs.replace(group(2), key="of “today”\n")
    few = structs.replace(few, members=(structs.replace(few.members[0], places=(0,)),))
    made.append(few)
    expected = [group(0), group(1), few]

    write_groups(tmp_path / "groups.json", made)

    assert list(made.hashed()) == list(map(hashed, expected))
    assert read_groups(tmp_path / "groups.json") == tuple(expected)


def test_what_is_damaged_on_disk_does_not_reach_the_trainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = (tmp_path / "plan").open("w+b", buffering=0)  # GroupsOnDisk closes it
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: scratch)
    made = on_disk(tmp_path, 0)
    scratch.seek(50)
    scratch.write(b"\x00\x00\x00\x00")

    with pytest.raises(DamagedMember):
        write_groups(tmp_path / "groups.json", made)


def test_those_of_several_windows_are_one_list_that_outlives_its_parts(tmp_path: Path) -> None:
    joined = GroupsOnDisk.joined([on_disk(tmp_path, 0), on_disk(tmp_path), on_disk(tmp_path, 1, 2)])

    assert list(joined) == [group(0), group(1), group(2)]


def test_nothing_of_them_is_left_in_the_folder(tmp_path: Path) -> None:
    made = on_disk(tmp_path, 0)

    assert len(made) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_closed_with_its_last_reader_and_not_when_garbage_is_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[Any] = []
    made_by = tempfile.TemporaryFile

    def noted(**options: Any) -> Any:
        files.append(made_by(**options))
        return files[-1]

    monkeypatch.setattr("tempfile.TemporaryFile", noted)
    gc.disable()
    try:
        made = on_disk(tmp_path, 0)
        joined = GroupsOnDisk.joined([made])
        del made
        assert list(joined) == [group(0)]
        del joined
        assert [file.closed for file in files] == [True]
    finally:
        gc.enable()


def test_a_full_disk_is_said_and_no_fault_of_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115  # GroupsOnDisk closes it
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: full)

    with pytest.raises(
        TrainingError, match=f"group key-0 of window {WINDOW} .* No space"
    ) as caught:
        on_disk(tmp_path, 0)

    assert caught.value.fault is not Fault.WINDOW


def test_a_plan_of_any_size_needs_the_memory_of_a_group(tmp_path: Path) -> None:
    """With 60 groups of 400 kB there are 24 MB of texts; all of a plan's readers see them."""
    path = tmp_path / "groups.json"
    tracemalloc.start()
    try:
        made = GroupsOnDisk(tmp_path)
        for number in range(60):
            made.append(group(number, size=100_000))
        listed = list_groups(made.hashed(), {WINDOW: 1})
        for _ in made.packed():
            pass
        write_groups(path, made)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 4_000_000
    assert path.stat().st_size > 10_000_000
    assert len(listed) == len(read_groups(path)) == 60
