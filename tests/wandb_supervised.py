"""W&B's supervised jobs, for its peer of the tests, and its library as far as ART needs it.

The library is replaced: its artifacts need W&B's servers. What it was given is kept.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from pydantic import BaseModel


class NewSupervisedJob(BaseModel):
    model_id: str
    training_data_url: str
    config: dict[str, Any]


def take_supervised_jobs(
    app: FastAPI,
    next_answer: Callable[[], int | str],
    begin: Callable[[NewSupervisedJob], str],
) -> None:
    """Answer requests for a job as ``WandbPeer`` does; ``begin`` keeps it and returns its name."""

    @app.post("/v1/preview/sft-training-jobs")
    async def create(body: NewSupervisedJob) -> Any:
        answer = next_answer()
        if isinstance(answer, int) and answer != 200:
            raise HTTPException(answer, "try again later")
        name = begin(body)
        if answer == "lost":  # the server cuts the connection
            return Response(b"{", headers={"content-length": "100"})
        return {"id": name}


@dataclass
class WandbLibrary:
    """What ART asks W&B's library for: runs and artifacts; ``uploaded`` has the lines of each.

    ``hangs``: it waits for the network until that is set. ``variables`` are those of its
    environment when it was asked for a run, ``threads`` the threads in which it was.
    """

    uploaded: dict[str, list[Any]] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    threads: set[int] = field(default_factory=set)
    hangs: threading.Event | None = None

    def init(self, **fields: Any) -> WandbLibrary:
        self.runs.append(fields)
        self.variables = {k: v for k, v in os.environ.items() if k.startswith("WANDB_")}
        self.threads.add(threading.get_ident())
        if self.hangs is not None:
            self.hangs.wait(60)
        return self

    def settings(self, **fields: Any) -> dict[str, Any]:
        return fields

    def artifact(self, name: str, **_: Any) -> WandbArtifact:
        return WandbArtifact(self, name)

    Settings, Artifact = settings, artifact  # as its own module names them

    def log_artifact(self, one: WandbArtifact) -> WandbArtifact:
        return one

    def finish(self) -> None:
        """The run goes on at W&B."""

    def teardown(self) -> None:
        """Its service ends."""


@dataclass
class WandbArtifact:
    """A file that was added counts as uploaded."""

    library: WandbLibrary
    name: str

    def add_file(self, path: str, name: str) -> None:
        assert name == "train.jsonl"
        lines = Path(path).read_text("utf-8").splitlines()
        self.library.uploaded[self.name] = [json.loads(line) for line in lines]

    def wait(self) -> WandbArtifact:
        return self
