"""What is typed wrongly is refused in words that say how to write it."""

from __future__ import annotations

import pytest
import typer

from babylon_tasks.cli import main
from babylon_tasks.cli.models import step_of
from babylon_tasks.settings import checked


@pytest.mark.parametrize(
    ("typed", "refused"),
    [
        (["windows", "list", "--state", "foo"], "--state': 'foo' is not one of 'open', 'sealed'"),
        (["run", "foo"], "'PROCESS': 'foo' is not one of 'gpu-worker', 'cpu-worker'"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_choice_that_there_is_not_is_refused_without_the_words_of_a_library(
    typed: list[str], refused: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(typed)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert f"Invalid value for '{refused.removeprefix(chr(39))}" in error
    assert "Value error" not in error


def test_a_step_that_is_none_is_refused_with_how_to_write_one() -> None:
    settings = checked(DATABASE_URL="postgresql://u:p@127.0.0.1/b", lineage="trader")
    assert step_of(settings, "7") == step_of(settings, "trader@7") == 7
    with pytest.raises(typer.BadParameter, match="write its number, as 7 or trader@7"):
        step_of(settings, "seven")
