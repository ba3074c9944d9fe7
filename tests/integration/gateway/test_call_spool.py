"""Files of captured calls: what goes in comes out once, whatever happened to the process."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from babylon_tasks.gateway.call_spool import CallSpool

pytestmark = pytest.mark.contract(None)
ROOM = 2**20


Opened = Callable[[Path, int], CallSpool]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """``opened(folder, room)``: a spool, closed at the end."""
    with ExitStack() as stack:

        def make(root: Path, most: int) -> CallSpool:
            spool = CallSpool(root, most)
            stack.callback(spool.close)
            return spool

        yield make


def everything(spool: CallSpool) -> list[bytes]:
    """Read and be done with all of it."""
    found: list[bytes] = []
    while (some := spool.next(2, ROOM)) is not None:
        found += some.records
        spool.done(some)
    return found


def files(root: Path) -> list[Path]:
    return sorted(root.glob("*/*.calls"))


def test_records_come_back_in_order_and_once(tmp_path: Path, opened: Opened) -> None:
    spool = opened(tmp_path, ROOM)
    assert spool.append([b"1", b"2", b"3"]) == 3
    assert everything(spool) == [b"1", b"2", b"3"]
    assert spool.append([b"4"]) == 1
    assert everything(spool) == [b"4"]
    assert everything(spool) == []
    assert spool.size == 0


def test_what_was_read_and_not_done_with_comes_again(tmp_path: Path, opened: Opened) -> None:
    spool = opened(tmp_path, ROOM)
    spool.append([b"1", b"2"])
    first = spool.next(1, ROOM)
    assert first is not None
    assert first.records == [b"1"]
    assert everything(spool) == [b"1", b"2"]


def test_the_newest_find_no_room_and_room_comes_back(tmp_path: Path, opened: Opened) -> None:
    spool = opened(tmp_path, ROOM)
    record = bytes(range(256)) * 400  # ten of them fit
    assert spool.append([record] * 30) == 10
    assert spool.append([record]) == 0
    assert sum(file.stat().st_size for file in files(tmp_path)) <= ROOM
    assert everything(spool) == [record] * 10
    for _ in range(30):  # a file goes when it is done with
        assert spool.append([record]) == 1
        assert everything(spool) == [record]
    assert sum(file.stat().st_size for file in files(tmp_path)) <= ROOM


def test_the_next_process_has_what_one_left(tmp_path: Path, opened: Opened) -> None:
    spool = opened(tmp_path, ROOM)
    spool.append([b"1", b"2"])
    spool.close()
    other = opened(tmp_path, ROOM)
    assert everything(other) == [b"1", b"2"]
    assert list(tmp_path.iterdir()) == [other.folder]
    other.close()
    assert list(tmp_path.iterdir()) == []


def test_nobody_touches_the_files_of_a_living_process(tmp_path: Path, opened: Opened) -> None:
    one, other = opened(tmp_path, ROOM), opened(tmp_path, ROOM)
    one.append([b"1"])
    other.append([b"2"])
    assert other.take_over() == one.take_over() == 0
    assert everything(one) == [b"1"]
    assert everything(other) == [b"2"]


def test_a_killed_process_is_found_dead_and_its_torn_end_is_cut(
    tmp_path: Path, opened: Opened
) -> None:
    writes = (
        "import sys, pathlib; from babylon_tasks.gateway.call_spool import CallSpool\n"
        f"spool = CallSpool(pathlib.Path(sys.argv[1]), {ROOM})\n"
        "spool.append([b'1', b'2'])\n"
        "print('written', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", writes, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        spool = opened(tmp_path, ROOM)
        spool.append([b"0"])
        assert spool.take_over() == 0
        process.send_signal(signal.SIGKILL)
        process.wait()
    [torn] = [file for file in files(tmp_path) if file.parent != spool.folder]
    os.truncate(torn, torn.stat().st_size - 1)

    assert spool.take_over() == 1
    cut = 0
    found: list[bytes] = []
    while (some := spool.next(10, ROOM)) is not None:
        found += some.records
        cut += some.torn
        spool.done(some)
    assert found == [b"0", b"1"]
    assert cut == 8


@pytest.mark.parametrize("end", [b"\0" * 64, b"\xff" * 64, b"\x01\0\0\0abcd!"])
def test_what_a_crash_of_the_machine_left_behind_the_last_record_is_cut(
    tmp_path: Path, opened: Opened, end: bytes
) -> None:
    spool = opened(tmp_path, ROOM)
    spool.append([b"1"])
    spool.close()
    [file] = files(tmp_path)
    file.write_bytes(file.read_bytes() + end)
    other = opened(tmp_path, ROOM)
    some = other.next(10, ROOM)
    assert some is not None
    assert (some.records, some.torn, some.lost) == ([b"1"], len(end), 1)
    other.done(some)
    assert everything(other) == []


def test_damaged_records_are_stepped_over_and_each_is_counted(
    tmp_path: Path, opened: Opened
) -> None:
    spool = opened(tmp_path, ROOM)
    spool.append([b"1", b"22", b"3", b"4444", b"5"])
    spool.close()
    [file] = files(tmp_path)
    file.write_bytes(file.read_bytes().replace(b"22", b"2?").replace(b"4444", b"44?4") + b"\0" * 9)
    other = opened(tmp_path, ROOM)
    some = other.next(10, ROOM)
    assert some is not None
    assert (some.records, some.lost) == ([b"1", b"3", b"5"], 3)
    assert some.torn == (8 + 2) + (8 + 4) + 9
    other.done(some)
    assert everything(other) == []


def test_nothing_follows_a_record_that_the_disk_took_half_of(tmp_path: Path) -> None:
    fills = (
        "import pathlib, resource, signal, sys\n"
        "from babylon_tasks.gateway.call_spool import CallSpool\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"spool = CallSpool(pathlib.Path(sys.argv[1]), {ROOM})\n"
        "spool.append([b'1'])\n"
        "before = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))\n"
        "try: spool.append([b'2' * 100])\n"
        "except OSError as error: print(error.errno)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, before)\n"
        "spool.append([b'3'])\n"
        "first = spool.next(9, 99); spool.done(first)\n"
        "print(first.records, spool.next(9, 99).records)"
    )
    done = subprocess.run(
        [sys.executable, "-c", fills, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{errno.EFBIG}\n[b'1'] [b'3']\n"


def test_two_threads_meet_at_the_end_of_a_file(tmp_path: Path, opened: Opened) -> None:
    """Both find it full and done with; unharmed means that each record came out once."""
    spool = opened(tmp_path, 400)  # a file ends after one record
    count, found = 2000, list[bytes]()

    def write() -> None:
        for number in range(count):
            while not spool.append([b"%100d" % number]):
                pass

    writer = threading.Thread(target=write, daemon=True)
    switched = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        writer.start()
        while writer.is_alive():
            found += everything(spool)
    finally:
        sys.setswitchinterval(switched)
    found += everything(spool)
    assert [int(one) for one in found] == list(range(count))


def test_a_file_that_somebody_deleted_is_lost_by_number_and_the_next_ones_are_read(
    tmp_path: Path, opened: Opened
) -> None:
    spool = opened(tmp_path, 2000)
    spool.append([b"1" * 100] * 7)
    first = spool.next(2, ROOM)
    assert first is not None
    spool.done(first)
    [deleted] = files(tmp_path)
    spool.append([b"2"])
    deleted.unlink()
    some = spool.next(10, ROOM)
    assert some is not None
    assert (some.records, some.lost, some.torn) == ([], 5, 5 * 108)
    spool.done(some)
    assert everything(spool) == [b"2"]
    assert spool.size == 0


def test_of_a_folder_that_is_gone_each_record_is_lost_once_or_was_brought(
    tmp_path: Path, opened: Opened
) -> None:
    brought = opened(tmp_path / "brought", ROOM)
    brought.append([b"1", b"2", b"3"])
    found = brought.next(2, ROOM)
    shutil.rmtree(tmp_path / "brought")
    assert found is not None
    assert brought.give_up() == 1, "two are on their way"
    brought.done(found)
    assert (brought.put_back(), brought.next(2, ROOM)) == (0, None)

    refused = opened(tmp_path / "refused", ROOM)
    refused.append([b"1", b"2", b"3"])
    assert refused.next(2, ROOM) is not None
    assert refused.put_back() == 0, "they wait again"
    assert refused.next(2, ROOM) is not None
    shutil.rmtree(tmp_path / "refused")
    assert refused.give_up() + refused.put_back() == 3
