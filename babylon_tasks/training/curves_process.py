"""The process in which W&B's client runs, started by ``curves.Curves``.

It reads one JSON object per line from stdin: ``StartCurves``, then a ``LoggedStep`` each, which it
answers by ``Drawn``. ART's ``model.log`` does the rest: it begins W&B's run of the lineage or goes
on with it. Nothing but figures is sent: no console, no code, no data of the machine.
"""

from __future__ import annotations

import asyncio
import os
import queue
import shutil
import sys
import tempfile
import threading
from pathlib import Path

import msgspec
from msgspec import Struct

from babylon_tasks.mask_secrets import MASK
from babylon_tasks.owned_folder import make_owned_folder
from babylon_tasks.training.art_interface import make_model
from babylon_tasks.training.child_log import take_stdout
from babylon_tasks.training.import_art import collector_at_rest, import_art
from babylon_tasks.training.protocol import LoggedStep
from babylon_tasks.training.root_cause import with_root_cause
from babylon_tasks.training.step_history import line
from babylon_tasks.training.wandb_quiet import FOLDER_PREFIX, quiet_variables

_LAST_SECONDS = 20.0  # for what W&B's client has not sent yet, at the end


class StartCurves(Struct, frozen=True, tag=True):
    """First line to the process; only this line has the key.

    ``folder``: of the client's files where it is offline, to be sent later; others are temporary.
    """

    lineage: str
    project: str
    entity: str | None
    base_model: str
    folder: str
    api_key: str


class Drawn(Struct, frozen=True, tag=True):
    """The step's figures were given to W&B's client; ``error``: why not."""

    error: str | None = None


def main() -> None:
    """Pass on the steps of one trainer until it closes stdin."""
    out = take_stdout()  # ART and W&B's client print
    start = msgspec.json.decode(sys.stdin.buffer.readline(), type=StartCurves)
    steps: queue.SimpleQueue[LoggedStep | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=[steps], name="steps", daemon=True).start()
    offline = os.environ.get("WANDB_MODE") == "offline"
    own = make_owned_folder(FOLDER_PREFIX)
    tempfile.tempdir = str(own)
    folder = Path(start.folder) if offline else own
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= quiet_variables(str(folder)) | {"WANDB_API_KEY": start.api_key}
    if start.entity is not None:
        os.environ["WANDB_ENTITY"] = start.entity
    with collector_at_rest():
        import_art(with_models=False)
        model = make_model(
            start.lineage,
            project=start.project,
            entity=start.entity,
            base_model=start.base_model,
            base_path=str(folder),
        )
    while (one := steps.get()) is not None:
        error = None
        try:
            asyncio.run(model.log(metrics=line(one), split="train", step=one.step))
        except Exception as failure:  # noqa: BLE001  # whatever W&B's client raises
            error = " ".join(with_root_cause(failure).replace(start.api_key, MASK).split())[:300]
        out.write(msgspec.json.encode(Drawn(error)) + b"\n")
        out.flush()
    if model._wandb_run is not None:
        model._wandb_run.finish()
    shutil.rmtree(own, ignore_errors=True)
    os._exit(0)


def _read(steps: queue.SimpleQueue[LoggedStep | None]) -> None:
    decoder = msgspec.json.Decoder(LoggedStep)
    for raw in sys.stdin.buffer:
        steps.put(decoder.decode(raw))
    # The trainer has ended; W&B's client may be waiting for the network.
    _end_within(_LAST_SECONDS)
    steps.put(None)


def _end_within(seconds: float) -> None:
    def end() -> None:
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    main()
