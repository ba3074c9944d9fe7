"""A trainer may work for longer than it may be silent, and refuses what it cannot read in time."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded import call, group, groups_file, many, train_request, trainer_settings

from babylon_tasks.errors import TrainerDied
from babylon_tasks.training.inspect_calls import Inspector
from babylon_tasks.training.kept_proofs import KeptProofs
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.protocol import EvaluateRequest, InspectRequest, RequestProgress
from babylon_tasks.training.supervisor import Trainer

SILENCE = 3.0  # seconds
# A trainer with a much larger model and much longer prompts: no piece of its work takes the limit,
# but proving, packing and evaluating take longer than it each. Then one piece never ends.
SLOW = """
import time
from pathlib import Path
from transformers import PreTrainedTokenizerBase
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

def slowed(owner, name, seconds):
    inner = getattr(owner, name)
    def slow(*args, **options):
        time.sleep(600 if Path({hangs!r}).exists() else seconds)
        return inner(*args, **options)
    setattr(owner, name, slow)

slowed(PreTrainedTokenizerBase, "apply_chat_template", 0.18)
slowed(LlamaDecoderLayer, "forward", 0.7)
"""


def test_work_of_many_pieces_outlasts_the_limit_on_silence_and_one_that_hangs_does_not(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = tmp_path / "hangs"
    (tmp_path / "sitecustomize.py").write_text(SLOW.format(hangs=str(hangs)))
    # Each call is another: an equal one is not proven again.
    asked = [f"Question {number}?" for number in range(4)]
    groups = [group([(call(a, q), float(a == "Yes")) for q in asked for a in ("Yes", "No")])]
    reported: list[RequestProgress] = []
    settings = trainer_settings(
        tmp_path / "data", base_model=str(tiny_model), trainer_silence_timeout_seconds=SILENCE
    )
    with Trainer(settings) as trainer:
        with monkeypatch.context() as patch:
            patch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
            trainer.ready()
        trained = trainer.train(train_request(tmp_path, groups), reported.append)
        path = groups_file(tmp_path, many(3))
        trainer.evaluate(EvaluateRequest((trained.step,), path), reported.append)
        hangs.touch()
        with pytest.raises(TrainerDied, match="made no progress for 3 s"):
            trainer.inspect(InspectRequest(path, 128))

    counted = [one.counted for one in reported if one.total]
    assert list(dict.fromkeys(counted)) == ["calls tokenised", "gradient steps", "held-out groups"]
    last = {one.counted: (one.done, one.total) for one in reported}
    assert last["calls tokenised"] == (8, 8)
    assert last["held-out groups"] == (3, 3)
    assert len(set(reported)) < len(reported)  # what told nothing new, but that it worked


def test_megabytes_are_refused_before_they_are_tokenised(policy: Policy) -> None:
    longest = 128
    size = policy.token_text.longest_piece * longest
    tokenizer = None
    inspector = Inspector(tokenizer, policy.token_text, longest, "exact", KeptProofs())

    found = inspector.inspect([group([(call(question="x" * size), 1.0)])])

    [refusal] = found.refusals
    assert refusal.reason == "too_long"
    assert "BABYLON_PACKED_SEQUENCE_LENGTH" in refusal.detail
