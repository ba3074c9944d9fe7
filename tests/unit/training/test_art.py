"""ART's names are as listed, and an ART that is not is refused before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, get_args

import pytest
from msgspec import structs

from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.training import art_interface
from babylon_tasks.training.art_fields import ANSWERED, SENT
from babylon_tasks.training.art_interface import installed, require
from babylon_tasks.training.art_names import JUDGE, NAMES, SERVERLESS, ArtName, missing
from babylon_tasks.training.step_figures import FIGURES, under_one_name
from checks.art_names import DOCUMENT, violations


@pytest.fixture(autouse=True)
def _afresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """ART is looked at anew, and asks the network for no prices."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    installed.cache_clear()
    yield
    installed.cache_clear()


def of(backend: str) -> list[Any]:
    """The listed names of a backend."""
    return [name for name in NAMES if backend in name.used_by]


@pytest.mark.parametrize("backend", ["cpu", "local", "serverless"])
def test_the_installed_art_has_all_that_its_backends_use(backend: str) -> None:
    if backend not in installed().backends:
        with pytest.raises(BackendUnavailable, match=r"openpipe-art==0\.5\.18"):
            require(backend)
        return
    assert missing(of(backend)) == []
    assert require(backend) is installed()


@pytest.mark.skipif(find_spec("litellm") is None, reason="the judge's client is not installed")
def test_the_installed_art_has_all_that_the_judge_uses() -> None:
    assert missing(of(JUDGE)) == []


def test_the_document_lists_it_all() -> None:
    assert violations(DOCUMENT.read_text("utf-8")) == []


def test_a_name_that_is_gone_is_refused_with_what_lacks_and_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from art import trajectories

    name = installed().history
    installed.cache_clear()
    monkeypatch.delattr(trajectories, name)

    with pytest.raises(BackendUnavailable) as refusal:
        require("serverless")

    said = str(refusal.value)
    assert f"lacks art.trajectories:{name}" in said
    assert "install openpipe-art==0.5.18 with Python 3.11 or 3.12 or openpipe-art==0.5.23" in said
    assert "Nothing was trained" in said


def test_a_name_that_only_one_backend_uses_is_refused_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from art.serverless import client

    monkeypatch.delattr(client.Checkpoints, "delete")

    with pytest.raises(BackendUnavailable, match=r"lacks what backend serverless needs: .*delete"):
        require("serverless")


def test_a_field_that_only_begins_alike_is_another() -> None:
    begun = ArtName("art:ServerlessBackend", (SERVERLESS,), has=("_client", "_clien"))

    assert missing([begun]) == ["art:ServerlessBackend._clien"]


def test_what_art_makes_of_wandbs_metrics_has_one_name_here() -> None:
    from art.serverless.backend import _canonicalize_upstream_metrics

    sent = {name: figure.name for figure in FIGURES for name in figure.sent}
    made = {name: under_one_name(_canonicalize_upstream_metrics({name: 1.0})) for name in sent}

    assert made == {name: {ours: 1.0} for name, ours in sent.items()}
    assert _canonicalize_upstream_metrics({"loss": 0.5}) == {"loss/train": 0.5}


def test_a_parameter_that_art_newly_requires_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import art

    def init(self: Any, *, api_key: str, base_url: str, region: str) -> None:
        """As a later release may have it."""

    monkeypatch.setattr(art.ServerlessBackend, "__init__", init)

    with pytest.raises(BackendUnavailable, match="requires region, which is not passed"):
        require("serverless")


def test_a_renamed_count_of_tokens_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from art.serverless import backend

    monkeypatch.setitem(backend._UPSTREAM_TRAIN_METRIC_KEYS, "num_trainable_tokens", "data/tokens")

    with pytest.raises(BackendUnavailable, match="but has data/tokens"):
        require("serverless")


def test_a_backend_that_is_not_tested_with_an_interface_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = structs.replace(installed(), backends=())
    monkeypatch.setattr(art_interface, "installed", lambda: known)

    with pytest.raises(BackendUnavailable, match="backend serverless is not tested with"):
        require("serverless")


def test_the_options_of_a_job_are_those_that_are_listed() -> None:
    from art.serverless.client import ExperimentalTrainingConfig

    mark = "experimental_config."
    listed = {
        field.path.removeprefix(mark)
        for field in SENT
        if field.path.startswith(mark) and field.only in (None, installed().release)
    }
    assert listed == set(ExperimentalTrainingConfig.__annotations__)


def test_the_fields_of_wandbs_answers_are_those_that_arts_client_declares() -> None:
    from art.serverless import client

    lists = {"GET …/checkpoints": client.Checkpoint, "GET …/events": client.TrainingJobEvent}
    single = {
        "POST /preview/models": client.Model,
        "POST /preview/training-jobs": client.TrainingJob,
        "POST /preview/sft-training-jobs": client.SFTTrainingJob,
        "DELETE …/checkpoints": client.DeleteCheckpointsResponse,
    }
    declared = {(call, name) for call, kind in single.items() for name in kind.model_fields}
    declared |= {
        (call, f"data[].{name}") for call, kind in lists.items() for name in kind.model_fields
    }
    of_pages = {(call, "has_more") for call in lists}

    listed = {(one.call, one.path) for one in ANSWERED if "/chat/" not in one.call}
    inside = {(call, path) for call, path in listed if ".data." in path}
    assert listed - of_pages - inside | {("GET …/events", "data[].data")} == declared
    assert set(get_args(client.TrainingJobEvent.model_fields["type"].annotation)) == {
        "training_started",
        "gradient_step",
        "training_ended",
        "training_failed",
    }
