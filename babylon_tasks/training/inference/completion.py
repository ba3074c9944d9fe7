"""An answer as OpenAI's and ART's clients read it, with what training needs of it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

from babylon_tasks.training.inference.chat_request import ChatRequest
from babylon_tasks.training.sampling import SampledAnswer
from babylon_tasks.training.token_text import TokenText


def completion(
    request: ChatRequest,
    prompt: Sequence[int],
    answers: Sequence[SampledAnswer],
    token_text: TokenText,
) -> dict[str, Any]:
    """Build the chat completion."""
    with_ids = request.return_token_ids is not False
    completion_tokens = sum(len(answer.token_ids) for answer in answers)
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [
            {
                "index": index,
                "finish_reason": answer.finish_reason,
                "message": {"role": "assistant", "content": answer.text},
                "logprobs": _logprobs(request, answer, token_text) if request.logprobs else None,
                **({"token_ids": answer.token_ids} if with_ids else {}),
            }
            for index, answer in enumerate(answers)
        ],
        "usage": {
            "prompt_tokens": len(prompt),
            "completion_tokens": completion_tokens,
            "total_tokens": len(prompt) + completion_tokens,
        },
        **({"prompt_token_ids": prompt} if request.return_token_ids else {}),
    }


def _logprobs(request: ChatRequest, answer: SampledAnswer, token_text: TokenText) -> dict[str, Any]:
    content = []
    for token, logprob in zip(answer.token_ids, answer.logprobs, strict=True):
        piece = token_text.piece(token)
        text = piece.decode("utf-8", "replace")
        content.append(
            {
                "token": f"token_id:{token}" if request.return_tokens_as_token_ids else text,
                "logprob": logprob,
                "bytes": list(piece),
                "top_logprobs": [],
            }
        )
    return {"content": content, "refusal": None}
