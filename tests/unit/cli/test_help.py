"""Help says in whole sentences what each command does."""

from __future__ import annotations

import pytest

from babylon_tasks.cli import main


@pytest.mark.parametrize("noun", [[], ["windows"], ["models"], ["compare"], ["tripwires"]])
def test_the_list_of_commands_cuts_no_sentence(
    noun: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main([*noun, "-h"])
    assert ended.value.code == 0
    listed = capsys.readouterr().out.partition("Commands:\n")[2]
    assert listed.count("\n") > 2
    assert "..." not in listed
    assert max(map(len, listed.splitlines())) <= 80
