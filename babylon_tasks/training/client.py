"""The client with which agents reach a policy: OpenAI's own, on which ART's is based.

ART's ``model.openai_client()`` adds bookkeeping for ART's own rollouts, and 2.5 s at import; it
reaches the same endpoints (tests/integration/training/test_inference.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from babylon_tasks.errors import NotInstalled

if TYPE_CHECKING:
    from openai import AsyncOpenAI as AsyncOpenAI


def openai_client(*, base_url: str, api_key: str, **options: Any) -> AsyncOpenAI:
    """Make an ``AsyncOpenAI`` with these and its own ``options``. Raises NotInstalled."""
    try:
        from openai import AsyncOpenAI
    except ImportError as error:
        raise NotInstalled(
            "openai is not installed here; run `pip install 'babylon-tasks[openai]'`"
        ) from error
    return AsyncOpenAI(base_url=base_url, api_key=api_key, **options)
