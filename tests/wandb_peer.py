"""A loopback server that speaks W&B Training's HTTP to an unmodified ``art.ServerlessBackend``.

Calls and shapes as observed and as ART's client declares them: models, checkpoints, training
jobs and their events, chat completions. It trains nothing; it keeps what it receives and advances
one step per job. ``wandb_trainer.py`` is one that trains.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from types import TracebackType
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from wandb_answers import completion, distribution, prompt
from wandb_renamed import rename_fields
from wandb_supervised import NewSupervisedJob, take_supervised_jobs

from babylon_tasks.training.art_fields import Field

_GRACE_SECONDS = 5  # for answers that are under way when it ends
_END_SECONDS = 60  # a bound for a hanging test


class NewModel(BaseModel):
    entity: str | None
    project: str
    name: str
    base_model: str
    return_existing: bool


class NewJob(BaseModel):
    model_id: str
    trajectory_groups: list[dict[str, Any]]
    experimental_config: dict[str, Any]


class Steps(BaseModel):
    steps: list[int]


@dataclass
class Job:
    """A training job; ``polls`` counts how often its events were asked for."""

    request: NewJob | NewSupervisedJob
    polls: int = 0
    ended: bool = False


@dataclass
class WandbPeer:
    """A job takes ``gradient_steps`` with that ``loss``, or ``fails`` with that message.

    ``broken``: what is asked for by a path that contains it is answered with ``status``, or with
    ``instead`` and 200, as by something between that is not W&B.
    ``answers``: what happens to the next requests for a job: a status without a job; ``lost``,
    ``garbled`` or ``late``, which is never, where the job begins. ``holds``: a job does not end
    because it is asked for. ``counts`` is the name of the count of trained tokens, ``measured`` the
    metrics of checkpoints, and ``padding`` how many events a job has beside its own, ``page`` how
    many are listed at a time, ``unknown`` the type of one that nobody has heard of. ``idle``: a job
    ends with its parent's weights; ``noise`` is that of the log-probabilities in answers, in nats.
    ``renamed``: fields of its answers that it calls otherwise.
    """

    key: str
    gradient_steps: int = 3
    loss: float = 0.25
    fails: str | None = None
    broken: str | None = None
    status: int = 503
    instead: str | None = None
    holds: bool = False
    answers: list[int | str] = field(default_factory=list)
    counts: str = "num_trainable_tokens"
    measured: dict[str, float] = field(default_factory=dict)
    padding: int = 0
    page: int = 20
    unknown: str | None = None
    idle: bool = False
    noise: float = 0.0
    renamed: tuple[Field, ...] = ()
    registered: list[NewModel] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    bodies: list[tuple[str, Any]] = field(default_factory=list)
    _chance: random.Random = field(default_factory=lambda: random.Random(0))

    def __enter__(self) -> WandbPeer:
        self._serve(0)
        return self

    def _serve(self, port: int) -> None:
        config = uvicorn.Config(
            self.app(),
            port=port,
            log_level="critical",
            lifespan="off",
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._socket = config.bind_socket()
        self._socket.listen()
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._server.should_exit = True
        self._thread.join(_END_SECONDS)
        assert not self._thread.is_alive(), f"the peer of W&B does not end: {self._what_runs()}"
        self._socket.close()

    def _what_runs(self) -> str:
        requests = self._server.server_state.tasks
        loops = {request.get_loop() for request in requests}
        return "\n".join(_awaits(task) for loop in loops for task in asyncio.all_tasks(loop))

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nobody listens on its port meanwhile."""
        port = self.port
        self._end()
        yield
        self._serve(port)

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """What ``BABYLON_WANDB_BASE_URL`` is set to."""
        return f"http://127.0.0.1:{self.port}/v1"

    def app(self) -> FastAPI:
        app = FastAPI()
        rename_fields(app, lambda: self.renamed)

        @app.middleware("http")
        async def admit(request: Request, proceed: Any) -> Any:
            self.calls.append(f"{request.method} {request.url.path}")
            if request.headers.get("authorization") != f"Bearer {self.key}":
                raise AssertionError(f"{request.url.path} came without the key")
            if body := await request.body():
                self.bodies.append((self.calls[-1].replace("/v1", ""), json.loads(body)))
            if self.broken is not None and self.broken in request.url.path:
                if self.instead is not None:
                    kind = "text/html" if self.instead.startswith("<") else "application/json"
                    return Response(self.instead, media_type=kind)
                # Clients repeat what only reads; a server may say when.
                return JSONResponse({"detail": "no"}, self.status, {"retry-after-ms": "1"})
            return await proceed(request)

        @app.post("/v1/preview/models")
        async def register(body: NewModel) -> dict[str, Any]:
            self.registered.append(body)
            return {
                "id": "model-1",
                "entity": body.entity or "default-entity",
                "project": body.project,
                "name": body.name,
                "base_model": body.base_model,
                "run_id": "run-1",
            }

        @app.get("/v1/preview/models/{model}/checkpoints")
        async def checkpoints(
            model: str, limit: int = 20, order: str = "asc", after: str | None = None
        ) -> dict[str, Any]:
            self._known(model)
            ordered = sorted(self.steps, reverse=order == "desc")
            rows = [{"id": f"checkpoint-{s}", "step": s, "metrics": self.measured} for s in ordered]
            return _page(rows, limit, after)

        @app.delete("/v1/preview/models/{model}/checkpoints")
        async def delete(model: str, body: Steps) -> dict[str, Any]:
            self._known(model)
            found = [step for step in body.steps if step in self.steps]
            self.steps = [step for step in self.steps if step not in found]
            self.removed(found)
            missing = [step for step in body.steps if step not in found]
            return {"deleted_count": len(found), "not_found_steps": missing}

        @app.post("/v1/preview/training-jobs")
        async def create(body: NewJob) -> Any:
            self._known(body.model_id)
            answer = self._next_answer()
            if isinstance(answer, int) and answer != 200:
                raise HTTPException(answer, "try again later")
            name = f"job-{len(self.jobs) + 1}"
            self.jobs[name] = Job(body)
            self.begin(name)
            # Whether the client has gone is not asked: a cancellation may be lost in that.
            while answer == "late" and not self._server.should_exit:
                await asyncio.sleep(0.05)
            if answer == "garbled":
                return Response(b"{")
            if answer == "lost":  # the server cuts the connection
                return Response(b"{", headers={"content-length": "100"})
            return {"id": name}

        def begin(body: NewSupervisedJob) -> str:
            self._known(body.model_id)
            name = f"job-{len(self.jobs) + 1}"
            self.jobs[name] = Job(body)
            self.begin(name)
            return name

        take_supervised_jobs(app, self._next_answer, begin)

        @app.get("/v1/preview/training-jobs/{name}/events")
        async def events(name: str, after: str | None = None) -> Response:
            if name not in self.jobs:
                raise HTTPException(404)
            job = self.jobs[name]
            job.polls += 1
            if not self.holds:
                self.end(name)
            page = json.dumps(_page(self._events(job), self.page, after))  # NaN as Python writes it
            return Response(page, media_type="application/json")

        @app.post("/v1/chat/completions")
        async def chat(request: Request) -> Any:
            body = await request.json()
            model, _, step = body["model"].rpartition(":step")
            one = self.registered[-1]
            known = f"wandb-artifact:///{one.entity or 'default-entity'}/{one.project}/{one.name}"
            if model != known or int(step) not in (0, *self.steps):
                raise HTTPException(404, f"no model {body['model']}")
            return await asyncio.to_thread(self.answer, body, int(step))

        return app

    def begin(self, name: str) -> None:
        """Begin a job that has been asked for."""

    def removed(self, steps: list[int]) -> None:
        """Forget checkpoints that were deleted."""

    def answer(self, body: dict[str, Any], step: int) -> dict[str, Any]:
        """Answer as the policy of a checkpoint does."""
        seed = f"{prompt(body)} {'' if self.idle else step}"
        return completion(body, distribution(seed, self._chance, self.noise))

    def _next_answer(self) -> int | str:
        return self.answers.pop(0) if self.answers else 200

    def end(self, name: str) -> None:
        """End a job as W&B does: whether or not anybody follows it."""
        job = self.jobs[name]
        if not job.ended:
            job.ended = True
            if self.fails is None:
                self.steps.append(max(self.steps, default=0) + 1)

    def forget(self) -> None:
        """Hold one checkpoint, and behave as at the start."""
        kept = ("key", "registered", "bodies")
        fresh = WandbPeer(self.key, steps=[1])
        for name in [one.name for one in fields(fresh) if one.name not in kept]:
            setattr(self, name, getattr(fresh, name))

    def _known(self, model: str) -> None:
        if model != "model-1" or not self.registered:
            raise HTTPException(404, f"no model {model}")

    def _events(self, job: Job) -> list[dict[str, Any]]:
        events: list[tuple[str, dict[str, Any]]] = [
            ("training_started", {"num_sequences": self.gradient_steps})
        ] * (self.padding + 1)
        if self.unknown is not None:
            events.append((self.unknown, {}))
        if job.ended and self.fails is not None:
            events.append(("training_failed", {"error_message": self.fails}))
        elif job.ended:
            measured = {
                "loss": self.loss,
                "grad_norm": 0.5,
                "entropy": 1.5,
                self.counts: 8,
            }
            events += [("gradient_step", measured)] * self.gradient_steps
            events.append(("training_ended", {}))
        return [
            {"id": f"event-{number:05d}", "type": kind, "data": data}
            for number, (kind, data) in enumerate(events)
        ]


def fields_of(call: str, body: Any, path: str = "") -> set[tuple[str, str]]:
    """Every field of a body, with the call: the paths of all that is neither object nor list."""
    if isinstance(body, dict) and body:
        deeper = [(value, f"{path}.{name}".lstrip(".")) for name, value in body.items()]
    elif isinstance(body, list) and body and not isinstance(body[0], int):
        deeper = [(value, f"{path}[]") for value in body]
    else:
        return {(call, path)}
    return {found for value, inner in deeper for found in fields_of(call, value, inner)}


def _awaits(task: asyncio.Task[Any]) -> str:
    """Where a task waits, from the outermost coroutine to the innermost."""
    coroutine, frames = task.get_coro(), []
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        frames.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
        coroutine = getattr(coroutine, "cr_await", None)
    return " > ".join([task.get_name(), *frames, repr(coroutine)])


def _page(rows: list[dict[str, Any]], limit: int, after: str | None) -> dict[str, Any]:
    # Cursor pages as OpenAI's client turns them: it asks on with the last id.
    names = [row["id"] for row in rows]
    start = names.index(after) + 1 if after is not None else 0
    shown = rows[start : start + limit]
    return {"object": "list", "data": shown, "has_more": start + limit < len(rows)}
