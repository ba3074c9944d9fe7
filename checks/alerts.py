"""Alert rules and dashboard: ``python -m checks.alerts``.

Every rule and panel names metrics and labels that there are, every rule a section of the runbook.
Every metric is asked for by a rule or a panel, every gauge by a rule, or it is listed below with
the reason why not. With ``--write`` the rules for Kubernetes are written.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from checks.metrics import listed
from checks.violations import Violation, end

ROOT = Path(__file__).parents[1]
MONITORING = ROOT / "k8s/components/monitoring"
RULES = MONITORING / "alerts.yaml"
RULE_OBJECT = MONITORING / "prometheus-rule.yaml"
DASHBOARD = MONITORING / "dashboard.json"
SEVERITIES = ("critical", "warning")

# Gauges that no alert asks for. What the gate, a screen or a tripwire decides is an alert by what
# follows from it (a refusal, a rollback, a held hour), not by a second threshold on its figures.
WITHOUT_ALERT = {
    "babylon_budget_dollars": "a choice, not a state",
    "babylon_spent_dollars": "babylon_budget_spent says when it is too much",
    "babylon_arm_share": "a choice, not a state",
    "babylon_comparison_difference": "one hour's noise; babylon_comparison_harm adds hours up",
    "babylon_comparison_impediment": "`status` and `doctor` say what is missing; nothing breaks",
    "babylon_comparison_running": "a choice, not a state",
    "babylon_comparison_windows": "a rollback is counted among the decisions",
    "babylon_ramp_share": "the rule moves it; babylon_ramp_loss is what it costs",
    "babylon_trial_evidence": "a proof that takes long is no fault",
    "babylon_trial_windows": "a proof that takes long is no fault",
    "babylon_answer_tokens": "the screen and the tripwires look at length",
    "babylon_clipped_token_share": "a step whose ratios exploded fails",
    "babylon_effective_sample_share": "a step whose ratios exploded fails",
    "babylon_evaluation_commonest_answer": "the gate refuses what is nearly constant",
    "babylon_evaluation_coverage": "the gate waits for more",
    "babylon_evaluation_entropy": "the gate decides by it",
    "babylon_evaluation_groups": "the gate waits for more",
    "babylon_evaluation_value": "the gate decides by it; what it refuses is counted",
    "babylon_gateway_in_progress": "too many are answered with 429, which is an alert",
    "babylon_gateway_server_profile": "babylon_gateway_samples_total counts what it costs",
    "babylon_head_step": "a number, not a state",
    "babylon_importance_ratio_max": "a step whose ratios exploded fails",
    "babylon_importance_ratio_mean": "a step whose ratios exploded fails",
    "babylon_last_promoted_timestamp_seconds": "nothing better for weeks is no fault by itself",
    "babylon_lineage_leased": "whether a step is in work; babylon_lease_age_seconds is the fault",
    "babylon_mismatch_kl": "a step beyond BABYLON_MAX_MISMATCH_KL fails",
    "babylon_policy_entropy": "the screen refuses what has collapsed",
    "babylon_profit_mean": "the agents' luck; the comparison looks for harm",
    "babylon_queue_messages": "messages are only hints: the age of what is due shows the fault",
    "babylon_reward_length_correlation": "a tripwire looks at it",
    "babylon_right_share": "the agents' luck; the comparison looks for harm",
    "babylon_serving_step": "a number, not a state",
    "babylon_trainer_device": "a choice, not a state",
    "babylon_trajectories_left_over": "more is recorded than used: a choice (docs/operations.md)",
    "babylon_windows_awaiting_outcomes": "markets that have not ended",
    "babylon_windows_to_score_anew": "a missing cpu-worker is an alert; the old scores stay valid",
}

_METRIC = re.compile(r"\b(up|babylon_\w+)\b(?:\{([^}]*)\})?")
_LABEL = re.compile(r"(\w+)\s*[=!]~?")
_SUFFIXES = ("_bucket", "_count", "_sum")
_HEAD = """\
# For the Prometheus operator: written from alerts.yaml by `make docs`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: babylon-tasks
  namespace: babylon-tasks
spec:
"""


def rules(text: str) -> list[dict[str, Any]]:
    """List every rule of a file, in order."""
    groups = yaml.safe_load(text)["groups"]
    return [rule for group in groups for rule in group["rules"]]


class Query(NamedTuple):
    """What a panel or an annotation of the dashboard asks, and how it names what it gets."""

    where: str
    expression: str
    legend: str


def queries() -> Iterator[Query]:
    """List all that the dashboard asks."""
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield Query(panel["title"], target["expr"], target["legendFormat"])
    for mark in dashboard["annotations"]["list"]:
        yield Query(mark["name"], mark["expr"], mark["titleFormat"])


def rule_object(text: str) -> str:
    """Format a file of rules as an object of Kubernetes."""
    lines = text.partition("\ngroups:")[2].splitlines()
    body = "\n".join(f"  {line}" if line else "" for line in lines)
    return f"{_HEAD}  groups:{body}\n"


def asked(expression: str) -> dict[str, set[str]]:
    """List the metrics of an expression, each with the labels that it is selected by."""
    found: dict[str, set[str]] = {}
    for name, labels in _METRIC.findall(expression):
        found.setdefault(name, set()).update(_LABEL.findall(labels))
    return found


def violations(text: str) -> list[Violation]:
    """Check a file of rules, the runbook, the dashboard and the object made of the rules."""
    found = [*_of_rules(rules(text)), *_of_queries(rules(text)), *_of_metrics(rules(text))]
    if not RULE_OBJECT.exists() or RULE_OBJECT.read_text("utf-8") != rule_object(text):
        found.append(Violation(RULE_OBJECT.name, "is not what alerts.yaml says; run `make docs`"))
    return found


def _of_rules(made: list[dict[str, Any]]) -> Iterator[Violation]:
    names = [rule["alert"] for rule in made]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Violation(name, "there are two alerts of this name")
    for rule in made:
        name = rule["alert"]
        notes = rule.get("annotations", {})
        if rule.get("labels", {}).get("severity") not in SEVERITIES:
            yield Violation(name, f"needs a severity: {' or '.join(SEVERITIES)}")
        if not notes.get("summary"):
            yield Violation(name, "needs a summary")
        file, _, section = str(notes.get("runbook")).partition("#")
        if not (ROOT / file).is_file() or section not in _sections(ROOT / file):
            yield Violation(name, f"its runbook {file}#{section} is not there")


def _sections(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


def _of_queries(made: list[dict[str, Any]]) -> Iterator[Violation]:
    labels = {metric.name: set(metric.labels) for metric in listed()} | {"up": set()}
    for metric in listed():
        if metric.kind == "histogram":
            for suffix in _SUFFIXES:
                labels[metric.name + suffix] = {*metric.labels, "le"}
    of_panels = [(one.where, one.expression) for one in queries()]
    for where, expression in [*((rule["alert"], rule["expr"]) for rule in made), *of_panels]:
        for name, selected in asked(expression).items():
            if name not in labels:
                yield Violation(where, f"there is no metric {name}")
            elif unknown := selected - labels[name] - {"job", "instance"}:
                yield Violation(where, f"{name} has no label {', '.join(sorted(unknown))}")


def _of_metrics(made: list[dict[str, Any]]) -> Iterator[Violation]:
    alerted = {one for rule in made for one in asked(rule["expr"])}
    of_panels = {one for query in queries() for one in asked(query.expression)}
    for metric in listed():
        samples = {metric.name, *(metric.name + suffix for suffix in _SUFFIXES)}
        excused = metric.name in WITHOUT_ALERT
        if not samples & (alerted | of_panels):
            yield Violation(
                metric.name, "neither an alert nor a panel of the dashboard asks for it"
            )
        if excused and samples & alerted:
            yield Violation(metric.name, "an alert asks for it: take it out of WITHOUT_ALERT")
        if metric.kind == "gauge" and not excused and not samples & alerted:
            yield Violation(
                metric.name, "is asked for by no alert: add one, or the reason to WITHOUT_ALERT"
            )
    for name in sorted(set(WITHOUT_ALERT) - {metric.name for metric in listed()}):
        yield Violation(name, "is no metric: take it out of WITHOUT_ALERT")


if __name__ == "__main__":
    source = RULES.read_text("utf-8")
    if "--write" in sys.argv[1:]:
        RULE_OBJECT.write_text(rule_object(source), "utf-8")
    asking = f"{len(rules(source))} rules and {len([*queries()])} queries"
    end("alerts", violations(source), f"{asking} ask for what there is")
