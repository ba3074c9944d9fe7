"""`babylon-tasks demo`, in small: every metric that is documented can be scraped while it runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from checks.metrics import listed

# A tenth of the final evaluation, which would take as long as all four windows.
_PROGRAM = """
from babylon_tasks.cli import main
from babylon_tasks.sandbox import demo
demo.HELD_OUT_MARKETS = 10
main()
"""
WINDOWS = 4  # the first two are held out, the others trained on and judged by them
# There are figures of a comparison only while one runs, and none begins in mode `evaluated`; those
# of costs where a budget or a price is set.
WITHOUT_FIGURES = {
    "babylon_budget_dollars",
    "babylon_spent_dollars",
    "babylon_comparison_impediment",
    "babylon_arm_share",
    "babylon_comparison_windows",
    "babylon_comparison_difference",
    "babylon_comparison_harm",
    "babylon_trial_evidence",
    "babylon_trial_windows",
    "babylon_ramp_share",
    "babylon_ramp_loss",
}
_ADDRESS = re.compile(r"metrics of ([a-z-]+): (http://127\.0\.0\.1:\d+/metrics)")


class Scraper:
    """Follows a demo's output, and scrapes what it names until it ends, as Prometheus would."""

    def __init__(self, demo: subprocess.Popen[str], folder: Path) -> None:
        self._folder = folder
        self.output: list[str] = []
        self.tried: list[str] = []
        self._demo = demo
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._demo.stdout is not None
        with self._demo.stdout as lines:
            for line in lines:
                self.output.append(line)

    def last(self) -> dict[str, dict[str, Metric]]:
        """The last scrape of each process, by process and family."""
        found: dict[str, dict[str, Metric]] = {}
        while self._demo.poll() is None:
            for name, address in _ADDRESS.findall("".join(self.output)):
                try:
                    with urlopen(address, timeout=60) as answer:  # noqa: S310  # our own
                        families = text_string_to_metric_families(answer.read().decode())
                        found[name] = {family.name: family for family in families}
                except (URLError, ConnectionError):
                    continue  # not up yet, or gone already
            if "running; Ctrl-C stops everything" in "".join(self.output) and not self.tried:
                self._try_what_is_named()
                self._demo.send_signal(signal.SIGINT)
            time.sleep(0.5)
        self._reader.join()
        return found

    def _try_what_is_named(self) -> None:
        """Type in what a demo that stays names, in a shell that knows nothing else."""
        said = "".join(self.output)
        (first,) = re.findall(r"^for other commands: (.+)$", said, re.M)
        for command in re.findall(r"^(?:then:|     ) (babylon-tasks .+?)  #", said, re.M):
            typed = command.replace("report.html", str(self._folder / "report.html"))
            subprocess.run(["sh", "-ec", f"{first}; {typed}"], check=True, capture_output=True)
            self.tried.append(command)


def values(family: Metric) -> Iterator[float]:
    """The figures themselves: no bucket's, no moment of creation."""
    for sample in family.samples:
        if not sample.name.endswith(("_bucket", "_created")):
            yield sample.value


@pytest.mark.timeout(600)
def test_a_scrape_during_the_demo_shows_every_documented_metric(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    program = [sys.executable, "-c", _PROGRAM]
    demo = subprocess.Popen(
        [*program, "demo", "--windows", str(WINDOWS), "--keep", str(home), "--stay"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # other tests compute meanwhile
        text=True,
    )
    try:
        scraper = Scraper(demo, tmp_path)
        seen = scraper.last()
    finally:
        demo.terminate()
    assert demo.returncode == 0, "".join(scraper.output)
    assert [command.split()[1] for command in scraper.tried] == ["show", "why", "report"]
    assert (tmp_path / "report.html").stat().st_size > 1000
    assert not (home / "demo.env").exists()
    assert set(seen) == {"beat", "cpu-worker", "gpu-worker", "gateway"}

    for metric in listed():
        for process in metric.exported_by:
            family = seen[process].get(metric.family)
            assert family is not None, (
                f"{process} does not export {metric.name}, but {sorted(seen[process])}"
            )
            assert family.type == metric.kind, metric
            if metric.name == "babylon_reward_length_correlation":
                # There is none where all answers of the newest step were of one length.
                assert all(-1 <= value <= 1 for value in values(family)), metric
                continue
            if metric.name in WITHOUT_FIGURES:
                assert not list(values(family)), metric
                continue
            assert list(values(family)), f"{process} exports no figure of {metric.name}"
            if metric.name != "babylon_profit_mean":  # the only other one that may be negative
                assert all(value >= 0 for value in values(family)), metric
    exported = {name for families in seen.values() for name in families}
    ours = {name for name in exported if name.startswith("babylon_")}
    assert ours == {metric.family for metric in listed()}, "nothing is exported that is not listed"

    # That they are not only there but right, as far as the demo's own world says.
    def total(process: str, sample: str) -> float:
        families = seen[process].values()
        return sum(s.value for family in families for s in family.samples if s.name == sample)

    assert total("beat", "babylon_windows") == WINDOWS
    assert total("beat", "babylon_source_up") == 2
    assert total("cpu-worker", "babylon_trajectories_scored_total") == WINDOWS * 16 * 8
    assert total("gpu-worker", "babylon_gradient_steps_total") >= WINDOWS - 2
    assert total("gpu-worker", "babylon_trained_tokens_total") > 100
    assert total("gpu-worker", "babylon_trainer_up") == 1
    answered = total("gpu-worker", "babylon_inference_tokens_total")
    assert answered > WINDOWS * 16 * 8, "agents were answered by the trainer, a process below"
    assert total("gpu-worker", "babylon_inference_duration_seconds_count") > 0
    assert total("gateway", "babylon_gateway_calls_total") >= WINDOWS * 16 * 8, "they asked it"
    assert total("gateway", "babylon_gateway_fallbacks_total") == 0
    assert total("beat", "babylon_head_step") == total(
        "gpu-worker", "babylon_step_duration_seconds_count"
    )
    assert 0 < total("beat", "babylon_right_share") < 1
    assert abs(total("beat", "babylon_profit_mean")) < 100, "less than an agent stakes"
    assert 0 < total("beat", "babylon_reward_spread") < 1
    assert total("beat", "babylon_evaluation_groups") > 0
    assert total("cpu-worker", "babylon_task_wait_seconds_sum") > 0
