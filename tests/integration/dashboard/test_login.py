"""The dashboard without its login: nothing but whether it is there."""

from __future__ import annotations

import httpx
import pytest
from scoring_runs import MakeSettings
from structlog.testing import capture_logs

from babylon_tasks.dashboard.process import Dashboard
from babylon_tasks.errors import SettingsError

pytestmark = pytest.mark.contract(None)


@pytest.mark.parametrize("path", ["/", "/?since=1d", "/nowhere", "//", "/healthz/"])
def test_no_page_is_shown_without_it(site: httpx.Client, path: str) -> None:
    found = httpx.get(site.base_url.copy_with(raw_path=path.encode()))

    assert found.status_code == 401
    assert found.headers["www-authenticate"].startswith("Basic ")
    assert "lineage" not in found.text


def test_whether_it_is_there_needs_none(site: httpx.Client) -> None:
    found = httpx.get(site.base_url.copy_with(raw_path=b"/healthz"))
    assert (found.status_code, found.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic !", "Bearer a-password-of-a-test", "Basic c29tZW9uZQ==", "Basic é"],
)
def test_what_is_no_login_is_wrong(site: httpx.Client, header: str) -> None:
    given = {"authorization": header.encode("latin-1")}
    found = httpx.get(site.base_url, headers=given)  # type: ignore[arg-type]
    assert found.status_code == 401


def test_guesses_are_logged_and_soon_not_looked_at(site: httpx.Client) -> None:
    with capture_logs() as logged:
        guesses = [site.get("/nowhere", auth=("someone", f"guess-{n}")) for n in range(7)]

    assert [one.status_code for one in guesses] == [401] * 5 + [429] * 2
    assert int(guesses[-1].headers["retry-after"]) >= 1
    # Else the answer would show whether a guess was right.
    assert site.get("/nowhere").status_code == 429
    refused = [one for one in logged if one["event"] == "login.refused"]
    assert [one["failures"] for one in refused] == [1, 2, 3, 4, 5]
    assert "guess" not in str(logged)


def test_without_a_login_it_does_not_start(make_settings: MakeSettings) -> None:
    with pytest.raises(SettingsError, match="Set BABYLON_DASHBOARD_LOGIN=user:password"):
        Dashboard(make_settings())


def test_a_port_that_is_taken_is_named(site: httpx.Client, make_settings: MakeSettings) -> None:
    settings = make_settings(
        dashboard_port=site.base_url.port, dashboard_login="someone:a-password"
    )
    with pytest.raises(SettingsError, match="or set BABYLON_DASHBOARD_PORT"):
        Dashboard(settings).start()
