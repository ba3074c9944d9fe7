"""A check that is never answered: it keeps no probe waiting, and no threads pile up."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from babylon_tasks.tasks.health.bounded_check import BoundedCheck, Run


class Silent:
    """A question that is answered when the test says so."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = threading.Event()

    def __call__(self, run: Run) -> str | None:
        self.asked += 1
        run.waits_for = "the server"
        self.answers.wait()
        return None


def test_many_probes_share_one_thread_and_none_waits_for_the_answer() -> None:
    silent = Silent()
    check = BoundedCheck("it", silent, seconds=0.1)
    with ThreadPoolExecutor(20) as probes:
        found = list(probes.map(lambda _: check.answer(), range(100)))
    assert all(why is not None and why.startswith("the server has not answered") for why in found)
    assert silent.asked == 1
    silent.answers.set()
    assert check.begin().done.wait(60)
    assert check.answer() is None, "it has been answered since"


def test_checks_that_were_begun_together_wait_together() -> None:
    silent = Silent()
    checks = [BoundedCheck("it", silent, seconds=0.1) for _ in range(3)]
    runs = [check.begin() for check in checks]
    assert all(check.answer() for check in checks)
    assert silent.asked == 3
    assert [check.begin() for check in checks] == runs, "nothing is asked twice at a time"
    silent.answers.set()


def test_a_probe_that_comes_later_waits_only_for_what_is_left_of_the_first_ones_time() -> None:
    silent = Silent()
    check = BoundedCheck("it", silent, seconds=60)
    check.begin().begun -= 61
    why = []
    probe = threading.Thread(target=lambda: why.append(check.answer()), daemon=True)
    probe.start()
    probe.join(20)
    silent.answers.set()
    assert why == ["the server has not answered for 61 s"]


def test_a_check_that_fails_is_no_answer() -> None:
    def fails(_: Run) -> str | None:
        raise ZeroDivisionError("planted")

    assert BoundedCheck("it", fails).answer() == "it could not be checked: ZeroDivisionError"
