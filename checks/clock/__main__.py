"""Run tests as if it were another hour: ``make test-clock ARGS="--moment year tests/unit"``.

Every test starts at the same moment; at a turn of the clock, shortly before it, so that the hour,
the month or the year ends while the test runs. pytest, the servers and processes that tests start
and their children share one moved wall clock (clock.c); seconds pass as usual. Arguments after the
moments go to pytest; without any, it runs the tests that read a clock.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from checks.clock.moved_clock import MovedClock

TESTS = (
    "tests/unit",
    "tests/integration",
    "tests/acceptance/test_demo.py",
    "tests/acceptance/test_loop.py",
)


@dataclass(frozen=True)
class Moment:
    """When tests start, and in which time zone the machine claims to be."""

    at: str
    turns: bool = False
    zone: str = "UTC0"


MOMENTS = {
    "morning": Moment("2026-12-09T04:17:00+00:00"),
    "afternoon": Moment("2027-07-14T13:42:00+00:00", zone="NST3:30NDT,M3.2.0,M11.1.0"),
    "hour": Moment("2027-03-03T17:00:00+00:00", turns=True, zone="IST-5:30"),
    "month": Moment("2027-02-01T00:00:00+00:00", turns=True),
    "year": Moment("2027-01-01T00:00:00+00:00", turns=True),
    "leap-day": Moment("2028-02-29T00:00:00+00:00", turns=True),
    "leap-day-ends": Moment("2028-03-01T00:00:00+00:00", turns=True),
}


def main() -> None:
    """Exit with 1 if a test fails at any moment, with 2 if the clock cannot be moved."""
    parser = argparse.ArgumentParser(
        prog="python -m checks.clock",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--moment", choices=MOMENTS, action="append", help="this one only")
    given, rest = parser.parse_known_args()
    names = given.moment or list(MOMENTS)
    with tempfile.TemporaryDirectory(prefix="babylon-clock-") as made:
        folder = Path(made)
        folder.chmod(0o711)  # the servers' user reads the clock too
        try:
            clock = MovedClock.make(folder)
        except OSError as error:
            print(f"test-clock: {error}", file=sys.stderr)
            sys.exit(2)
        failed = [name for name in names if not _passes(clock, name, rest or [*TESTS])]
    print(f"failed at: {', '.join(failed)}" if failed else f"passed at: {', '.join(names)}")
    sys.exit(bool(failed))


def _passes(clock: MovedClock, name: str, tests: list[str]) -> bool:
    moment = MOMENTS[name]
    print(
        f"=== {name}: {'around' if moment.turns else 'at'} {moment.at}, TZ={moment.zone}",
        flush=True,
    )
    options = ["-p", "checks.clock.plugin", f"--clock-folder={clock.folder}"]
    options += [f"--clock-at={moment.at}", *(["--clock-turns"] if moment.turns else [])]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, *tests],
        env=clock.environment() | {"TZ": moment.zone},
        check=False,
    )
    return done.returncode == 0


if __name__ == "__main__":
    main()
