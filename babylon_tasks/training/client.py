"""The client with which agents reach a policy: OpenAI's own, on which ART's is based.

ART's ``model.openai_client()`` adds bookkeeping for ART's own rollouts, and 2.5 s at import; it
reaches the same endpoints (tests/integration/training/test_inference.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from babylon_tasks.errors import NotInstalled

if TYPE_CHECKING:
    from openai import AsyncOpenAI as AsyncOpenAI

_CONNECTIONS = 1000  # at once; openai's own
# httpx's default, openai has 100. With each request httpcore asks the system about every idle one:
# 128 requests at once after 128 others took 3.7 s of CPU, with this 1.0. It counts the busy ones,
# too: while more than these are open, each is closed as soon as it is idle.
_IDLE_CONNECTIONS = 20


def openai_client(*, base_url: str, api_key: str, **options: Any) -> AsyncOpenAI:
    """Make an ``AsyncOpenAI`` with these and its own ``options``; raises NotInstalled.

    It keeps fewer idle connections than openai's own does: agents ask many questions at once.
    """
    try:
        import httpx
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient
    except ImportError as error:
        raise NotInstalled(
            "openai is not installed here; run `pip install 'babylon-tasks[openai]'`"
        ) from error
    if options.get("http_client") is None:
        limits = httpx.Limits(
            max_connections=_CONNECTIONS, max_keepalive_connections=_IDLE_CONNECTIONS
        )
        options["http_client"] = DefaultAsyncHttpxClient(limits=limits)
    return AsyncOpenAI(base_url=base_url, api_key=api_key, **options)
