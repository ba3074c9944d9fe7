"""One training job at W&B, through ART's own client: its reference is reported before the wait.

ART sends the job and follows its events in one call, knows no way to follow one that it has sent
before, and reads pages of events without end. So its client's two calls are replaced for a step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from babylon_tasks.errors import TrainingError
from babylon_tasks.faults import Fault
from babylon_tasks.job_references import ASKED, NOT_ASKED

# A step has some dozens of gradient steps, and one event for each.
MOST_EVENTS = 10_000
_NOT_BEGUN = ("ConnectError", "ConnectTimeout", "PoolTimeout")  # httpx: nothing was sent


@contextmanager
def one_job(jobs: Any, reference: str | None, report: Callable[[str], None]) -> Iterator[None]:
    """Let ART send a job, and ``report`` its reference; or follow the one with this ``reference``.

    ``jobs`` are the client's, of GRPO or supervised.

    ``report`` gets ``ASKED`` before W&B is asked, and ``NOT_ASKED`` where there is surely no job,
    or it has failed.
    """
    send, list_events = jobs.create, jobs.events.list
    seen = 0

    async def create(**fields: Any) -> Any:
        if reference is not None:
            return SimpleNamespace(id=reference)
        report(ASKED)
        try:
            job = await send(**fields)
        except Exception as error:
            if _surely_not_begun(error):
                report(NOT_ASKED)
            raise
        require_fields("a job", job, "id")
        report(job.id)
        return job

    async def events(**fields: Any) -> AsyncIterator[Any]:
        nonlocal seen
        async for event in listed("events", list_events(**fields)):
            seen += 1
            if seen > MOST_EVENTS:
                raise TrainingError(
                    f"W&B lists more than {MOST_EVENTS} events of job {fields['training_job_id']}; "
                    "the rest was not read"
                )
            # ART would wait for ever for the end of a job whose events it cannot tell apart.
            require_fields("an event", event, "id", "type")
            if event.type == "training_started" and "num_sequences" not in event.data:
                raise _renamed("an event", "num_sequences")
            if event.type == "training_failed":
                report(NOT_ASKED)
                # ART's RuntimeError would be read as our own: as want of memory, or of a GPU, here.
                why = event.data.get("error_message", "no reason was given")
                raise TrainingError(f"W&B's job {fields['training_job_id']} failed: {why}")
            yield event

    jobs.create, jobs.events.list = create, events
    try:
        yield
    finally:
        jobs.create, jobs.events.list = send, list_events


async def listed(what: str, pages: Any) -> AsyncIterator[Any]:
    """Yield what W&B lists: OpenAI's client takes any answer for a page, and none for an empty one.

    A sign-in page that a proxy sends instead would be a model without a checkpoint.
    """
    try:
        async for page in (await pages).iter_pages():
            if getattr(page, "data", None) is None:
                raise _renamed(f"a list of {what}", "data")
            for one in page.data:
                yield one
    except AttributeError as error:
        raise TrainingError(
            f"W&B has answered with what is no list of {what}, or something in between has; the "
            "step waits, nothing was deleted",
            fault=Fault.SERVICE_REFUSES,
        ) from error


def require_fields(what: str, answer: Any, *names: str) -> None:
    """Check that W&B's answer has these fields: ART's client takes a missing one for None."""
    for name in names:
        if getattr(answer, name, None) is None:
            raise _renamed(what, name)


def _renamed(what: str, name: str) -> TrainingError:
    return TrainingError(
        f"W&B has answered with {what} that has no `{name}`, and may call it otherwise now "
        "(docs/art.md): install a release of babylon-tasks that knows it; the step waits, nothing "
        "was deleted",
        fault=Fault.SERVICE_REFUSES,
    )


def _surely_not_begun(error: BaseException) -> bool:
    """Whether the service refused, or was never reached; after any other error nobody knows."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return (400 <= status < 500 and status != 408) or status == 503
    return type(error.__cause__).__name__ in _NOT_BEGUN
