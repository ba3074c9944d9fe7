"""The dashboard shows one lineage: what is asked about another is no page, and never ours."""

from __future__ import annotations

import httpx
import pytest
from command_line import one_contract
from page_elements import Elements
from scored_windows import hour
from two_lineages import Lineage, Make, agents_of

from babylon_tasks.dashboard.pages import Pages
from babylon_tasks.db import lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.http_server.refusals import Refused
from babylon_tasks.settings import Settings

pytestmark = one_contract
PATHS = ("/", "/answers", f"/windows/{hour(1)}", "/steps/1", "/checkpoints/1")


def refusal(pages: Pages, path: str, query: str = "") -> Refused:
    with pytest.raises(Refused) as caught:
        pages(path, query)
    return caught.value


@pytest.mark.usefixtures("learned")
def test_another_lineage_is_asked_for_and_is_no_page(dashboard_settings: Settings) -> None:
    pages = Pages(dashboard_settings)
    for path in PATHS:
        found = refusal(pages, path, "lineage=another")
        assert found.status == 404, path
        assert "shows lineage babylon alone" in found.message
        assert "BABYLON_LINEAGE" in found.message
    assert pages("/steps/1", "lineage=babylon") == pages("/steps/1", "")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("snce=1d", "takes since and lineage, not 'snce'"),
        ("since=1d&since=2d", "'since' is given twice"),
        ("lineage=babylon&lineage=another", "'lineage' is given twice"),
    ],
)
def test_what_a_page_does_not_know_is_not_passed_over(query: str, words: str) -> None:
    found = refusal(Pages(Settings.model_construct(lineage="babylon")), "/", query)

    assert (found.status, words in found.message) == (400, True), found.message


@pytest.mark.usefixtures("learned")
def test_a_lineage_that_nobody_has_served_gets_no_other_ones_run(make_settings: Make) -> None:
    pages = Pages(make_settings(lineage="misspelt"))
    for path in PATHS:
        found = refusal(pages, path)
        assert found.status == 404, path
        assert "there is no lineage misspelt" in found.message
        assert "this database has babylon" in found.message


def test_an_odd_name_is_none(site: httpx.Client) -> None:
    for name in ("a/b", "%2e%2e/", "\u2028", "\U0001f600", "\ud800", "'; --", "%", "\u0661"):
        written = "".join(f"%{byte:02X}" for byte in name.encode("utf-8", "surrogatepass"))
        for kind in ("windows", "steps", "checkpoints", "trajectories", "lineages"):
            found = site.get(f"/{kind}/{written}")
            assert (found.status_code, "No page (404)" in found.text) == (404, True), (kind, name)


def test_an_hour_and_its_trajectories_name_only_the_lineages_own_steps(
    connection: Connection, make_settings: Make
) -> None:
    ours, other = (
        Lineage(make_settings(lineage=name, data_dir=make_settings().data_dir / name))
        for name in ("babylon", "other")
    )
    for one in (ours, other):
        lineages.ensure(connection, one.settings)
    (theirs, *_) = agents_of(connection, "other", hour(1))
    assert other.train(hour(1)).action == "committed"
    pages = Pages(ours.settings)

    page = Elements(pages(f"/windows/{hour(1)}", ""))
    used = Elements(pages(f"/trajectories/{theirs}", ""))

    assert "for lineage other it is trained" in page.words
    for found in (page, used):
        assert not [link for link in found.links if link.startswith("/steps/")]
    assert "committed" not in page.words
    assert "trainedother1" in used.words  # as, by, step
    assert "/steps/1" in Elements(Pages(other.settings)(f"/trajectories/{theirs}", "")).links
