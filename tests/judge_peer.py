"""A loopback server that speaks OpenAI's chat completions, as a judge that is asked by RULER.

It grades each trajectory that it is shown by ``grade``, a function of its text, unless it
``misbehaves``: then as that one of ``MISBEHAVIOURS`` says, or, with ``as_asked``, as the one that
the trajectories name.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

PROMPT_TOKENS, COMPLETION_TOKENS = 1000, 100  # of each answer, whatever it is
USAGE = {
    "prompt_tokens": PROMPT_TOKENS,
    "completion_tokens": COMPLETION_TOKENS,
    "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
}
_TRAJECTORY = re.compile(r'<trajectory id="(\d+)">\n(.*?)\n</trajectory>', re.DOTALL)
_CONTEXT = re.compile(r"<context>\n(.*?)\n</context>", re.DOTALL)

# How it misbehaves, and the word for that which is written down with the fallback.
MISBEHAVIOURS = {
    "scale": "bounds",  # 7, 10, 15 (ART #477)
    "no number": "bounds",
    "broken off": "malformed",  # in the middle of its JSON
    "prose": "malformed",
    "one short": "malformed",
    "other names": "ids",
    "names of nothing": "ids",  # characters that neither JSON nor Postgres takes
    "by place": "disagreement",  # whoever comes first is the best
    "too many requests": "no_answer",
    "strange words": "no_answer",
    "internal error": "no_answer",
    "wrong key": "no_answer",
    "silence": "timeout",
}


@dataclass
class JudgePeer:
    """``asked`` holds the conversations of each question; ``requests`` what came, whole.

    ``usage`` is what it says that an answer has taken.
    """

    key: str
    grade: Callable[[str], float]
    misbehaves: str | None = None
    usage: dict[str, int] | None = field(default_factory=lambda: dict(USAGE))
    as_asked: bool = False
    asked: list[list[str]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    pairs: threading.Barrier | None = None  # answers only when so many questions are there at once
    most_at_once: int = 0
    _under_way: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> JudgePeer:
        config = uvicorn.Config(self.app(), port=0, log_level="warning", lifespan="off")
        self._server = uvicorn.Server(config)
        self._socket = config.bind_socket()
        self._socket.listen()
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.set()
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    @property
    def url(self) -> str:
        """What ``BABYLON_RULER_BASE_URL`` is set to."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def behave(self) -> None:
        """As at first, and nothing asked yet."""
        self.misbehaves = self.pairs = None
        self.usage = dict(USAGE)
        self.as_asked = False
        self.most_at_once = 0
        self._under_way = []  # what is still silent counts no more
        self.asked.clear()
        self.requests.clear()

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/chat/completions")
        def completions(request: Request, body: dict[str, Any]) -> Response:
            under_way = self._under_way
            under_way.append(body["model"])
            self.most_at_once = max(self.most_at_once, len(under_way))
            try:
                if self.pairs is not None:
                    self.pairs.wait()
                return self._respond(request.headers.get("authorization"), body)
            finally:
                under_way.pop()

        return app

    def _respond(self, authorization: str | None, body: dict[str, Any]) -> Response:
        self.requests.append({"authorization": authorization, **body})
        text = body["messages"][-1]["content"]
        how = self.misbehaves
        if self.as_asked:
            how = next((one for one in MISBEHAVIOURS if one in text), None)
        if how == "silence":
            self.over.wait()
        if how == "too many requests":
            return _refusal(429, f"the key {self.key} asks too often")
        if how == "strange words":
            return _refusal(400, "half an emoji \ud83d and a \0")
        if how == "internal error":
            return _refusal(500, f"no room for {self.key}")
        if how == "wrong key" or authorization != f"Bearer {self.key}":
            return _refusal(401, f"Incorrect API key provided: {self.key}")
        context = _CONTEXT.search(text)
        shown = [
            (name, (context[1] if context else "") + transcript)
            for name, transcript in _TRAJECTORY.findall(text)
        ]
        self.asked.append([transcript for _, transcript in shown])
        return JSONResponse(_completion(body["model"], self._answer(shown, how), self.usage))

    def _answer(self, shown: list[tuple[str, str]], how: str | None) -> str:
        grades: list[tuple[str, Any]] = [
            (name, self.grade(transcript)) for name, transcript in shown
        ]
        match how:
            case "scale":
                grades = [(name, 7 + 4 * place) for place, (name, _) in enumerate(grades)]
            case "no number":
                grades = [(name, float("nan")) for name, _ in grades]
            case "prose":
                return "The second one was the best by far, I should say."
            case "one short":
                grades = grades[:-1]
            case "other names":
                grades = [(f"trajectory {name}", grade) for name, grade in grades]
            case "names of nothing":
                grades = [(f"{name}\0", grade) for name, grade in grades]
            case "by place":
                grades = [(name, 1 / (1 + place)) for place, (name, _) in enumerate(grades)]
        scores = [
            {"trajectory_id": name, "explanation": "so I find", "score": grade}
            for name, grade in grades
        ]
        text = json.dumps({"scores": scores})
        return text[:-9] if how == "broken off" else text


def _refusal(status: int, message: str) -> JSONResponse:
    body = json.dumps({"error": {"message": message, "type": "error"}})
    return Response(body, status, media_type="application/json")


def _completion(model: str, content: str, usage: dict[str, int] | None) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": usage,
    }
