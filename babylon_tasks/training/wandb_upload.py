"""Upload a supervised job's answers to W&B: by ART's own code, off the trainer's loop, bounded.

ART's ``_train_sft`` uploads an artifact through W&B's library, which may ask the network for ever,
prints, and leaves files behind; then it asks for the job. Here it gets as far as that request, in a
thread of its own: what it would have sent is returned.
"""

from __future__ import annotations

import asyncio
import copy
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from threading import Thread
from types import SimpleNamespace
from typing import Any

from babylon_tasks.errors import TrainingError
from babylon_tasks.faults import Fault
from babylon_tasks.owned_folder import make_owned_folder
from babylon_tasks.training.wandb_quiet import FOLDER_PREFIX, quiet_variables

UPLOAD_SECONDS = 300.0  # a call has some kilobytes


class _Asked(Exception):  # it ends ART's call, and is no failure
    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__("asked for a job")
        self.fields = fields


async def upload(art: Any, begin: Callable[[Any], AsyncIterator[object]]) -> dict[str, Any]:
    """Let ART upload the answers; returns the fields of the request for their job.

    ``begin`` makes ART's supervised step of the backend that it is given, one whose request for a
    job is not sent: so an upload that was given up pays for none. Raises TrainingError.
    """
    apart = copy.copy(art)
    apart._client = copy.copy(art._client)
    apart._client.sft_training_jobs = SimpleNamespace(create=_ask)
    result: Future[dict[str, Any]] = Future()

    def run() -> None:
        try:
            fields = asyncio.run(_fields(begin(apart)))
        except BaseException as error:  # noqa: BLE001  # it is the caller's
            _report(result.set_exception, error)
        else:
            _report(result.set_result, fields)

    with _quiet():
        Thread(target=run, name="upload to W&B", daemon=True).start()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(result), UPLOAD_SECONDS)
        except TimeoutError:
            raise TrainingError(
                f"W&B's library has not uploaded the answers within {UPLOAD_SECONDS:.0f} s; no job "
                "was asked for, the step is tried again",
                fault=Fault.CONNECTION_LOST,
            ) from None


async def _ask(**fields: Any) -> Any:
    raise _Asked(fields)


async def _fields(steps: AsyncIterator[object]) -> dict[str, Any]:
    try:
        await anext(steps)
    except _Asked as asked:
        return asked.fields
    finally:
        wandb = sys.modules.get("wandb")
        if wandb is not None:
            wandb.teardown()  # its service is a process of its own
    raise TrainingError("ART began a supervised step without a request for a job")


def _report(how: Callable[[Any], None], what: object) -> None:
    with suppress(InvalidStateError):  # it was given up
        how(what)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let W&B's library print nothing, and have its files, and ART's, in a folder that goes."""
    folder = make_owned_folder(FOLDER_PREFIX)
    variables = quiet_variables(str(folder))
    before = {name: os.environ.get(name) for name in variables}
    temporary = tempfile.tempdir
    os.environ |= variables
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = temporary
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)
