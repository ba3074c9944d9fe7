"""W&B's peer that trains: behind it are the project's own cpu code and a tiny model.

A job is a step of a real trainer process. Its gradient steps are the events, its checkpoints answer
chat completions, with log-probabilities and token ids.
"""

from __future__ import annotations

import json
import shutil
import sys
import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from recorded import trainer_settings
from wandb_answers import completion
from wandb_peer import Job, NewJob, WandbPeer
from wandb_supervised import NewSupervisedJob

from babylon_tasks.errors import TrainingError
from babylon_tasks.records import Group, LlmCall, Member
from babylon_tasks.step_records import SupervisedConfig
from babylon_tasks.training.groups_file import write_groups
from babylon_tasks.training.protocol import RequestProgress, TrainRequest
from babylon_tasks.training.supervisor import Trainer

NAME = "wandb"
_LONGEST = 2048  # tokens of a row


@dataclass
class TrainingPeer(WandbPeer):
    """``model`` is trained for whatever base model is asked for; its files are in ``folder``.

    While ``may_train`` is cleared, jobs wait.
    """

    model: str = ""
    folder: Path = Path()
    reports: dict[str, list[RequestProgress]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    may_train: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> TrainingPeer:
        settings = trainer_settings(
            self.folder, base_model=self.model, lineage=NAME, packed_sequence_length=_LONGEST
        )
        self._key = settings.inference_api_key.get_secret_value()
        self._trainer = Trainer(settings)
        self._address = self._trainer.ready().base_url
        self.may_train.set()
        super().__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._trainer.kill()
        self.may_train.set()
        for thread in self._threads:
            thread.join()

    def begin(self, name: str) -> None:
        thread = threading.Thread(target=self._train, args=(name, self.jobs[name]))
        self._threads.append(thread)
        thread.start()

    def end(self, name: str) -> None:
        """It ends when it has trained."""

    def _train(self, name: str, job: Job) -> None:
        reports = self.reports[name] = []
        path = self.folder / f"{name}.json"
        self.may_train.wait()
        with self._one_at_a_time:
            try:
                made = self._trainer.train(self._request(name, job.request, path), reports.append)
                self.steps.append(made.step)
            except TrainingError as error:
                self.failures[name] = str(error)
            job.ended = True

    def _request(self, name: str, asked: NewJob | NewSupervisedJob, path: Path) -> TrainRequest:
        """What the trainer is asked for, and its groups' file."""
        kl, supervised = 0.0, None
        if isinstance(asked, NewSupervisedJob):
            artifact = asked.training_data_url.rpartition("/")[2].removesuffix(":v0")
            lines = (self.uploads / artifact).read_text("utf-8").splitlines()
            groups = [_answered(json.loads(one)["messages"], n) for n, one in enumerate(lines)]
            supervised = SupervisedConfig(1, asked.config["batch_size"], 0, 1.0)
            rate = asked.config["learning_rate"][-1]  # which the first ones rise to
        else:
            groups = [_group(one, n) for n, one in enumerate(asked.trajectory_groups)]
            rate = asked.experimental_config["learning_rate"]
            kl = asked.experimental_config.get("kl_penalty_coef") or 0.0
        write_groups(path, groups)
        return TrainRequest(
            base_step=self._trainer.backend_step().step,
            manifest_hash=name,
            groups_path=str(path),
            learning_rate=rate,
            kl_coefficient=kl,
            seed=0,
            packed_sequence_length=_LONGEST,
            supervised=supervised,
        )

    @cached_property
    def uploads(self) -> Path:
        """Where W&B's library, or what is in its place, puts artifacts."""
        made = self.folder / "uploads"
        made.mkdir(parents=True)
        return made

    def _events(self, job: Job) -> list[dict[str, Any]]:
        name = next(name for name, one in self.jobs.items() if one is job)
        ended = job.ended  # before the reports are read
        reports = [one for one in self.reports.get(name, []) if one.loss is not None]
        events: list[tuple[str, dict[str, Any]]] = []
        if reports:
            events.append(("training_started", {"num_sequences": reports[0].total}))
        events += [
            ("gradient_step", {"loss": one.loss, self.counts: one.tokens}) for one in reports
        ]
        if ended and name in self.failures:
            events.append(("training_failed", {"error_message": self.failures[name]}))
        elif ended:
            events.append(("training_ended", {}))
        return [
            {"id": f"event-{number:05d}", "type": kind, "data": data}
            for number, (kind, data) in enumerate(events)
        ]

    def removed(self, steps: list[int]) -> None:
        for step in sorted(steps, reverse=True):
            if step == self._trainer.backend_step().step:
                self._trainer.discard(step)
            else:
                shutil.rmtree(self._checkpoints / f"{step:04d}")
            self._policy.forget(step)

    def answer(self, body: dict[str, Any], step: int) -> dict[str, Any]:
        if body.get("top_logprobs"):  # which the trainer's own endpoint does not have
            return completion(body, self._first_token(body, step))
        answered = httpx.post(
            f"{self._address}/chat/completions",
            headers={"Authorization": f"Bearer {self._key}"},
            json={**body, "model": f"{NAME}@{step}"},
            timeout=60,
        )
        answered.raise_for_status()
        found: dict[str, Any] = answered.json()
        return {**found, "model": body["model"]}

    @property
    def _checkpoints(self) -> Path:
        return self.folder / "babylon" / "models" / NAME / "checkpoints"

    @cached_property
    def _policy(self) -> Any:
        from babylon_tasks.training.device import choose_device
        from babylon_tasks.training.policy import Policy, undo_art_mask_patch

        if "art" in sys.modules:
            undo_art_mask_patch()
        return Policy(self.model, self._checkpoints, choose_device("cpu"))

    def _first_token(self, body: dict[str, Any], step: int) -> dict[str, float]:
        tokenizer, network = self._policy.tokenizer, self._policy.network
        prompt = tokenizer.apply_chat_template(
            body["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with self._policy.at_step(step):
            logits = network(**prompt).logits[0, -1].float()
        best = logits.log_softmax(-1).topk(body["top_logprobs"])
        return {
            f"token_id:{token}": logprob
            for token, logprob in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        }


def _group(sent: dict[str, Any], number: int) -> Group:
    """A group as it travelled, for the trainer."""
    members = (
        Member(f"{number}-{n}", one["reward"], tuple(map(_call, _histories(one))))
        for n, one in enumerate(sent["trajectories"])
    )
    return Group("2026-01-31T09:00", str(number), tuple(members))


def _answered(messages: list[dict[str, str]], number: int) -> Group:
    """An uploaded answer, for the trainer."""
    *asked, answer = ((one["role"], one["content"]) for one in messages)
    call = LlmCall(model="", messages=tuple(asked), response=answer[1], temperature=1.0)
    member = Member(f"{number}-0", 1.0, (call,))
    return Group("2026-01-31T09:00", str(number), (member,))


def _histories(trajectory: dict[str, Any]) -> list[list[dict[str, Any]]]:
    more = trajectory.get("additional_histories") or []
    return [trajectory["messages_and_choices"], *(one["messages_and_choices"] for one in more)]


def _call(history: list[dict[str, Any]]) -> LlmCall:
    *messages, choice = history
    tokens = choice["logprobs"]["content"]
    return LlmCall(
        model=f"{NAME}@0",
        messages=tuple((one["role"], one["content"]) for one in messages),
        response=choice["message"]["content"],
        temperature=1.0,
        token_ids=tuple(int(one["token"].removeprefix("token_id:")) for one in tokens),
        logprobs=tuple(one["logprob"] for one in tokens),
        prompt_ids=tuple(choice["prompt_token_ids"]) if "prompt_token_ids" in choice else None,
    )
