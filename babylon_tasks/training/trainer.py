"""The trainer process: ``python -m babylon_tasks.training.trainer``, started by the supervisor.

It keeps the model loaded between steps, serves inference, answers one request at a time, and
dies with its supervisor: the end of stdin stops it even in the middle of a step.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import IO

import msgspec

from babylon_tasks.errors import BabylonTasksError, TrainingError
from babylon_tasks.faults import fault_of
from babylon_tasks.owned_folder import make_owned_folder
from babylon_tasks.plain_text import plain
from babylon_tasks.training import backends
from babylon_tasks.training.child_log import take_stdout
from babylon_tasks.training.data_folder import FolderLock
from babylon_tasks.training.groups_file import read_groups
from babylon_tasks.training.import_art import collector_at_rest, import_art
from babylon_tasks.training.lost_device import end_if_lost
from babylon_tasks.training.protocol import (
    CheckRequest,
    CloseRequest,
    Deleted,
    DeleteRequest,
    DiscardBranchRequest,
    DiscardRequest,
    Evaluated,
    EvaluateRequest,
    Heartbeat,
    InspectRequest,
    Logged,
    LogRequest,
    NewestStepRequest,
    OnProgress,
    RequestFailed,
    SetAsideRequest,
    Trained,
    TrainerReply,
    TrainerRequest,
    TrainRequest,
)
from babylon_tasks.training.root_cause import with_root_cause
from babylon_tasks.training.trainer_start import StartTrainer, TrainerReady
from babylon_tasks.training.wandb_quiet import FOLDER_PREFIX
from babylon_tasks.training.work import reported

HEARTBEAT_SECONDS = 2.0
LOCK_SECONDS = 1.0  # how often the lock is compared with the file of its name


class _Channel:
    """The channel to the supervisor; written by several threads, one whole line at a time."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, reply: TrainerReply) -> None:
        with self._lock:
            self._stream.write(msgspec.json.encode(reply) + b"\n")
            self._stream.flush()


def _start_heartbeat(channel: _Channel) -> None:
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            try:
                channel.send(Heartbeat())
            except OSError:  # the supervisor is gone; the reader thread ends the process
                return

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()


def _read_requests(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[TrainerRequest]) -> None:
    decoder = msgspec.json.Decoder(TrainerRequest)

    def read() -> None:
        for raw in sys.stdin.buffer:
            try:
                request = decoder.decode(raw)
            except msgspec.DecodeError as error:
                # After an upgrade the worker may be of another version: waiting would never end.
                print(f"cannot decode a request of the worker: {error}", file=sys.stderr)
                os._exit(2)
            loop.call_soon_threadsafe(queue.put_nowait, request)
        # End of stdin: the supervisor closed it or died. A step in progress is abandoned:
        # its checkpoint is written whole or not at all, and Postgres still has the data.
        os._exit(0)

    threading.Thread(target=read, name="requests", daemon=True).start()


def _watch(lock: FolderLock) -> None:
    def watch() -> None:
        while not lock.replaced():
            time.sleep(LOCK_SECONDS)
        # Another trainer may have begun: this one must neither serve nor write any more.
        print("the data folder was replaced: this trainer ends", file=sys.stderr, flush=True)
        os._exit(3)

    threading.Thread(target=watch, name="folder-lock", daemon=True).start()


async def _serve(channel: _Channel) -> None:
    queue: asyncio.Queue[TrainerRequest] = asyncio.Queue()
    _read_requests(asyncio.get_running_loop(), queue)
    start = await queue.get()
    if not isinstance(start, StartTrainer):
        raise TrainingError(f"the first request must be StartTrainer, not {type(start).__name__}")
    lock = None
    if start.backend != "serverless":
        lock = FolderLock(Path(start.data_dir), start.lineage)
        _watch(lock)
    with collector_at_rest():
        import_art(with_models=start.backend != "serverless")
        backend = backends.make(start)
    await backend.open()
    channel.send(
        TrainerReady(
            backend=start.backend,
            base_url=backend.base_url,
            inference_name=backend.model.get_inference_name(0),
            branches=backends.can_branch(start.backend),
            folder_id=None if lock is None else lock.folder_id,
            lock_name=None if lock is None else lock.name,
            computes_on=backend.computes_on,
            longest_row=backend.longest_row,
            carries=backend.carries,
        )
    )
    while True:
        request = await queue.get()
        if isinstance(request, CloseRequest):
            break
        try:
            if lock is not None:
                lock.require()
            with reported(channel.send) as on_progress:
                answer = await _answer(backend, request, on_progress)
            channel.send(answer)
        except (KeyboardInterrupt, SystemExit, asyncio.CancelledError):
            raise
        except BaseException as error:  # noqa: BLE001  # of ART, torch, a template; a Rust panic
            # The request failed, the process did not: report it and keep the model loaded.
            traceback.print_exc()
            channel.send(failure(error))
            end_if_lost(error)
    await backend.close()
    if lock is not None:
        lock.close()


def failure(error: BaseException) -> RequestFailed:
    """Describe an error to the worker, whole: it knows what must be masked, and cuts afterwards.

    A server's words may have what neither JSON nor Postgres takes.
    """
    # The text of what is no error of ours may not say what it is: "3".
    ours = isinstance(error, BabylonTasksError)
    text = str(error) if ours else with_root_cause(error)
    return RequestFailed(type(error).__name__, plain(text, keep="\n\t"), fault_of(error))


async def _answer(
    backend: backends.TrainingBackend, request: TrainerRequest, on_progress: OnProgress
) -> TrainerReply:
    match request:
        case InspectRequest():
            return await backend.inspect(request, read_groups(request.groups_path), on_progress)
        case TrainRequest():
            result = await backend.train(request, read_groups(request.groups_path), on_progress)
            return Trained(result)
        case EvaluateRequest():
            groups = read_groups(request.groups_path)
            values = await backend.values(request.steps, groups, on_progress)
            return Evaluated(steps=tuple(values))
        case NewestStepRequest():
            return await backend.step()
        case CheckRequest():
            return await backend.check(request)
        case DiscardRequest():
            return await backend.discard(request.step)
        case SetAsideRequest():
            return await backend.set_aside(request.step, request.folder)
        case DiscardBranchRequest():
            return await backend.discard_branch(request.parent, request.steps, request.folder)
        case DeleteRequest():
            await backend.delete(request.steps)
            return Deleted()
        case LogRequest():
            return Logged(await backend.log_steps(request.steps))
        case StartTrainer() | CloseRequest():
            raise TrainingError(f"{type(request).__name__} is unexpected here")


def main() -> None:
    """Serve one supervisor until it asks to close; on failure, report it and exit with code 1."""
    channel = _Channel(take_stdout())
    _start_heartbeat(channel)
    code = 1
    try:
        # W&B's library makes folders as something imports it, and removes them at an orderly end
        # only; the next trainer removes this one's. Children have TMPDIR: what they compile stays.
        tempfile.tempdir = str(make_owned_folder(FOLDER_PREFIX))
        asyncio.run(_serve(channel))
        shutil.rmtree(tempfile.tempdir, ignore_errors=True)
        code = 0
    except Exception as error:  # noqa: BLE001  # its class must reach the worker
        if not isinstance(error, BabylonTasksError):
            traceback.print_exc()
        channel.send(failure(error))
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        # Threads of ART, torch and uvicorn must not keep a finished trainer alive, and the
        # interpreter's own end aborts over the thread that waits for stdin.
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
