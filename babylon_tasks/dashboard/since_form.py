"""The one form of the dashboard: from which hour on something is shown."""

from __future__ import annotations

from babylon_tasks.cli.html_page import text


def since_form(path: str, since: str) -> list[str]:
    """Write it for the page of ``path``, with what was asked for."""
    return [
        f'<form action="{path}" method="get"><p><label>from <input name="since" '
        f'placeholder="2026-01-31, 6h, 3d" value="{text(since)}"></label> '
        "<button>show</button></p></form>"
    ]
