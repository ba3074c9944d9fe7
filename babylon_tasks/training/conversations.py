"""From recorded groups to ART's trajectory groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from babylon_tasks.records import Group, LlmCall


def art_groups(groups: Sequence[Group]) -> list[Any]:
    """ART's trajectory groups: each call a history of its own, ended by its answer."""
    from art import Trajectory, TrajectoryGroup
    from art.trajectories import History

    made = []
    for group in groups:
        trajectories = []
        for member in group.members:
            histories = []
            for call in member.calls:
                messages: list[Any] = [
                    {"role": role, "content": text} for role, text in call.messages
                ]
                histories.append([*messages, _answer(call)])
            trajectories.append(
                Trajectory(
                    messages_and_choices=histories[0],
                    additional_histories=[
                        History(messages_and_choices=history) for history in histories[1:]
                    ],
                    reward=member.reward,
                    metadata={"trajectory_id": member.trajectory_id},
                )
            )
        made.append(TrajectoryGroup(trajectories))
    return made


def _answer(call: LlmCall) -> Any:
    """A ``Choice`` with the recorded logprobs; a plain message where none were recorded.

    ART trains on a plain message only where it is told to, and breaks over a ``Choice`` without
    logprobs. Token ids become ``token_id:N``, which it turns back into exactly these tokens.
    """
    from openai.types.chat.chat_completion import Choice

    message = {"role": "assistant", "content": call.response}
    if call.logprobs is None:
        return message
    words = (
        [f"token_id:{token}" for token in call.token_ids]
        if call.token_ids is not None
        else list(call.tokens or ())
    )
    content = [
        {"token": word, "logprob": logprob, "top_logprobs": []}
        for word, logprob in zip(words, call.logprobs, strict=True)
    ]
    return Choice.model_validate(
        {
            "index": 0,
            "finish_reason": "stop",
            "message": message,
            "logprobs": {"content": content},
        }
    )
