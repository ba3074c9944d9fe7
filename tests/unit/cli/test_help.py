"""Help says in whole sentences what each command does."""

from __future__ import annotations

import re

import pytest

from babylon_tasks.cli import main
from babylon_tasks.sandbox import miniature
from tests.command_tree import every_command


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


@pytest.mark.parametrize("path", [path for path, _ in every_command()], ids=" ".join)
def test_the_shape_of_json_is_asked_for_by_an_option_of_its_own(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main([*path, "-h"])
    assert ended.value.code == 0
    help_text = capsys.readouterr().out
    about, _, options = help_text.partition("Options:\n")
    assert "{window" not in about
    assert "JSON:" not in about
    if "--json" not in options:
        return
    assert "--help-json shows what the JSON has" in about
    with pytest.raises(SystemExit) as ended:
        main([*path, "--help-json"])
    assert ended.value.code == 0
    assert re.match(r"JSON[\w ]*: \{\w|JSON: \{\"", capsys.readouterr().out)


def test_the_demo_says_how_many_windows_it_plays(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "-h"])
    _, _, windows = capsys.readouterr().out.partition("--windows")
    assert f"Hours to play: {miniature.WINDOWS}," in windows
