"""What a trainer has inspected its steps do not tokenise again; anything else is proven."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from recorded import AS_BASE, NO, QUESTION, YES, call, group, yes_pays

from babylon_tasks.dataset.eligibility import EXACT, PARENT
from babylon_tasks.errors import TrainingError
from babylon_tasks.records import LlmCall
from babylon_tasks.training.inspect_calls import InspectedCall, Inspector
from babylon_tasks.training.kept_proofs import KeptProofs
from babylon_tasks.training.policy import Policy

LONGEST = 128


class Proving:
    """An inspector of the real tokenizer, which counts the prompts that it renders."""

    def __init__(self, policy: Policy, model: Path, patch: pytest.MonkeyPatch) -> None:
        from transformers import AutoTokenizer

        self.policy = policy
        self.tokenizer = AutoTokenizer.from_pretrained(str(model))
        self.rendered = 0
        render = self.tokenizer.apply_chat_template

        def counted(*args: Any, **options: Any) -> Any:
            self.rendered += 1
            return render(*args, **options)

        patch.setattr(self.tokenizer, "apply_chat_template", counted)

    def inspector(
        self, kept: KeptProofs, *, longest: int = LONGEST, label: str = EXACT
    ) -> Inspector:
        return Inspector(self.tokenizer, self.policy.token_text, longest, label, kept)

    def renders(self, one: LlmCall, kept: KeptProofs, *, label: str = EXACT) -> int:
        before = self.rendered
        self.inspector(kept, label=label).prove(one)
        return self.rendered - before


@pytest.fixture
def proving(policy: Policy, tiny_model: Path) -> Iterator[Proving]:
    with pytest.MonkeyPatch.context() as patch:
        yield Proving(policy, tiny_model, patch)


def proofs(inspector: Inspector) -> list[InspectedCall]:
    return inspector.proofs([yes_pays()], lambda *_: None)


def test_a_step_does_not_tokenise_what_was_inspected(proving: Proving) -> None:
    kept = KeptProofs()
    inspected = proving.inspector(kept).inspect([yes_pays()])
    assert not inspected.refusals
    before = proving.rendered

    found = proofs(proving.inspector(kept))

    assert proving.rendered == before > 0
    assert found == proofs(proving.inspector(KeptProofs()))
    assert proving.rendered > before, "this test's own premise"


@pytest.mark.parametrize(
    "changed",
    [
        {"token_ids": (5230, 2), "response": NO},
        {"messages": (("user", QUESTION),)},
        {"logprobs": (AS_BASE, -1.0)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_call_is_proven(proving: Proving, changed: dict[str, Any]) -> None:
    kept = KeptProofs()
    each = proving.renders(call(YES), kept)
    assert proving.renders(call(YES), kept) == 0
    assert proving.renders(structs.replace(call(YES), **changed), kept) == each > 0
    assert proving.renders(call(YES), kept, label=PARENT) == each


def test_what_was_refused_is_refused_again_and_the_longest_row_is_that_of_the_step(
    proving: Proving,
) -> None:
    kept = KeptProofs()
    short = structs.replace(call(YES), logprobs=(AS_BASE,))
    for _ in range(2):
        [refusal] = proving.inspector(kept).inspect([group([(short, 1.0)])]).refusals
        assert refusal.reason == "no_logprobs"

    proving.inspector(kept).prove(call(YES))
    with pytest.raises(TrainingError, match="too_long"):
        proofs(proving.inspector(kept, longest=32))


def test_the_oldest_proofs_give_way() -> None:
    calls = [call(question=f"{number}?") for number in range(4)]
    kept = KeptProofs(most=6)
    for number, one in enumerate(calls):
        kept.add(one, EXACT, (number,), (7,))

    assert kept.find(calls[0], EXACT) is None
    assert [kept.find(one, EXACT) for one in calls[1:]] == [((n,), (7,)) for n in (1, 2, 3)]

    kept.add(call(question="long?"), EXACT, tuple(range(9)), (7,))
    assert kept.find(call(question="long?"), EXACT) is None
    assert kept.find(calls[3], EXACT) == ((3,), (7,))
