"""The list of metrics names the processes that export each, and an edited list is found."""

from __future__ import annotations

from checks.metrics import DOCUMENT, listed, violations


def test_each_metric_lists_the_processes_that_count_it() -> None:
    exported = {metric.name: metric.exported_by for metric in listed()}
    assert exported["babylon_evaluations_total"] == ("gpu-worker",)
    assert exported["babylon_windows_scored_total"] == ("cpu-worker",)
    assert exported["babylon_task_wait_seconds"] == ("cpu-worker", "gpu-worker")
    assert exported["babylon_build_info"] == ("beat", "cpu-worker", "gpu-worker")


def test_an_edited_list_is_found() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert violations(text) == []
    for edited in (text.replace("| beat |", "| nobody |"), text.replace("metrics: generated", "")):
        (violation,) = violations(edited)
        assert "make docs" in violation.what
