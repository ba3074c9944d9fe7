"""An error says what it was raised from."""

from __future__ import annotations

from babylon_tasks.training.root_cause import with_root_cause


def chain(*texts: str, explicit: bool = True) -> BaseException:
    """The last of some errors, each raised from the one before it, or while it was handled."""
    last: BaseException = OSError(texts[0])
    for text in texts[1:]:
        error = RuntimeError(text)
        if explicit:
            error.__cause__ = last
        else:
            error.__context__ = last
        last = error
    return last


def test_an_error_alone_is_its_class_and_text() -> None:
    assert with_root_cause(ValueError("no number")) == "ValueError: no number"


def test_the_first_error_is_named_with_the_last() -> None:
    whole = "RuntimeError: no answer (from OSError: it hung up)"
    assert with_root_cause(chain("it hung up", "Connection error.", "no answer")) == whole
    assert with_root_cause(chain("it hung up", "no answer", explicit=False)) == whole


def test_what_is_said_already_or_was_hidden_on_purpose_is_not_said() -> None:
    assert with_root_cause(chain("it hung up", "no answer: it hung up")) == (
        "RuntimeError: no answer: it hung up"
    )
    hidden = chain("with a secret", "no answer", explicit=False)
    hidden.__suppress_context__ = True
    assert with_root_cause(hidden) == "RuntimeError: no answer"


def test_a_ring_of_errors_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert with_root_cause(one) == "ValueError: one (from ValueError: other)"
