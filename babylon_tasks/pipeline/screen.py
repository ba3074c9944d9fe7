"""Screen a checkpoint: it and what serves answer held-out questions, and the rule compares them.

A screen is a row that is begun before anything is asked, and its answers are rows as they come. One
that broke off has decided nothing, and whoever comes next asks for the rest.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import structlog
from msgspec import Struct, structs

from babylon_tasks.dataset.questions import (
    HeldOutQuestion,
    ScreenedAnswer,
    kinds_with_actions,
    read,
    set_hash,
)
from babylon_tasks.db import promotions, screens
from babylon_tasks.db.screens import KnownSample, Screen, ScreenSample, ScreenSubject
from babylon_tasks.db.session import session
from babylon_tasks.errors import CheckpointNotFound
from babylon_tasks.pipeline.held_out_questions import answered_by_others, held_out_questions
from babylon_tasks.policy_names import policy_name
from babylon_tasks.registry import screen_rule
from babylon_tasks.registry.screen_rule import Against, Pair, ScreenTerms
from babylon_tasks.settings import Settings
from babylon_tasks.training.ask_policies import (
    PolicyAnswer,
    PolicyServer,
    Prompt,
    ask_policies,
)
from babylon_tasks.training.protocol import OnProgress, RequestProgress

ANSWERS = "answers"  # what the progress of a screen counts

log = structlog.get_logger(__name__)


class _Plan(Struct, frozen=True):
    """What is asked whom: ``policies`` are names at the server, the candidate's first."""

    subject: ScreenSubject
    questions: tuple[HeldOutQuestion, ...]
    policies: tuple[str, ...]


def screen(
    settings: Settings,
    server: PolicyServer,
    step: int,
    *,
    actor: str,
    on_progress: OnProgress | None = None,
    again: bool = False,
) -> Screen:
    """Screen a checkpoint against what serves now; decides nothing about it.

    The same questions are not asked twice, unless ``again``, or where other settings of what is
    enough apply and nothing was decided without them. Raises CheckpointNotFound, and TrainingError
    where the endpoint does not answer: its answers so far are kept.
    """
    plan = _plan(settings, step)
    terms = ScreenTerms(settings.min_screen_questions, settings.min_screen_valid)
    bounds = structs.asdict(terms)
    with session(settings) as connection:
        known = None if again else screens.ended(connection, plan.subject, bounds)
        if known is not None:
            return known
        begun = screens.begin(
            connection,
            plan.subject,
            questions=len(plan.questions),
            terms=bounds,
            actor=actor,
        )
    against, refused = Against(plan.subject.against), dict[int, str]()
    enough = len(plan.questions) >= terms.min_questions
    if enough:
        refused = _ask(settings, server, plan, begun, on_progress or (lambda _: None))
    with session(settings) as connection:
        found = (
            screen_rule.screen(_pairs(plan, screens.samples(connection, begun.id)), against, terms)
            if enough
            else screen_rule.too_few(len(plan.questions), against, terms)
        )
        figures = found.figures | {"left_out": len(refused)}
        reason = found.reason
        if refused:
            why = next(iter(refused.values()))
            reason = f"{reason}; the server refused {len(refused)} more questions: {why[:200]}"
        ended = screens.end(
            connection, begun.id, result=found.result.value, reason=reason, figures=figures
        )
    log.info("screen.ended", screen=ended.id, result=ended.result, why=ended.reason)
    return ended


def _plan(settings: Settings, step: int) -> _Plan:
    lineage = settings.lineage
    with session(settings) as connection:
        serves = promotions.serving(connection, lineage)
        names = promotions.servable(connection, lineage)
        if step not in names:
            raise CheckpointNotFound(
                f"{policy_name(lineage, step)} is not a checkpoint that can be asked, so nothing "
                "was screened; `babylon-tasks models list` lists the checkpoints"
            )
        questions = held_out_questions(connection, settings)
        others = serves.step == 0 and answered_by_others(connection, settings, questions)
    against = Against.RECORDED if others else Against.SERVING
    subject = ScreenSubject(
        lineage=lineage,
        step=step,
        serving_step=serves.step,
        against=against.value,
        set_hash=set_hash(questions),
    )
    asked = (names[step],) if others else (names[step], serves.inference_name)
    return _Plan(subject, questions, asked)


def _ask(
    settings: Settings,
    server: PolicyServer,
    plan: _Plan,
    begun: Screen,
    on_progress: OnProgress,
) -> dict[int, str]:
    """Ask what is not answered yet; returns the questions that the server refused, and why."""
    with session(settings) as connection:
        answered = {one.place for one in screens.samples(connection, begun.id)}
    todo = [
        (place, _prompt(question))
        for place, question in enumerate(plan.questions)
        if place not in answered
    ]
    readable = kinds_with_actions(plan.questions)
    refused: dict[int, str] = {}
    done = len(plan.questions) - len(todo)

    def keep(place: int, answers: Sequence[PolicyAnswer]) -> None:
        nonlocal done
        done += 1
        why = next((one.refused for one in answers if one.refused is not None), None)
        if why is not None:
            refused[place] = why
        else:
            question = plan.questions[place]
            if len(answers) == 1:  # beside the one that agents recorded
                recorded = question.answered
                answers = [
                    *answers,
                    PolicyAnswer(
                        recorded.response, recorded.completion_tokens, recorded.finish_reason
                    ),
                ]
            samples = [
                _sample(place, question, answer, readable, candidate=number == 0)
                for number, answer in enumerate(answers)
            ]
            with session(settings) as connection:
                screens.add_samples(connection, begun.id, samples)
        on_progress(RequestProgress(done=done, total=len(plan.questions), counted=ANSWERS))

    on_progress(RequestProgress(done=done, total=len(plan.questions), counted=ANSWERS))
    if todo:
        ask_policies(
            server,
            plan.policies,
            todo,
            concurrency=settings.screen_concurrency,
            seconds=settings.screen_seconds,
            on_answers=keep,
        )
    return refused


def _prompt(question: HeldOutQuestion) -> Prompt:
    call = question.answered
    return Prompt(call.messages, call.temperature, call.top_p, question.max_tokens)


def _sample(
    place: int,
    question: HeldOutQuestion,
    answer: PolicyAnswer,
    readable: frozenset[str],
    *,
    candidate: bool,
) -> ScreenSample:
    known = read(question, answer.text, readable)
    return ScreenSample(
        place=place,
        candidate=candidate,
        window_id=question.window,
        trajectory_id=question.trajectory_id,
        call_number=question.place,
        prompt_hash=question.prompt_hash,
        answer=answer.text,
        answer_hash=hashlib.sha256(answer.text.encode("utf-8", "replace")).digest(),
        tokens=answer.tokens,
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        **structs.asdict(known),
    )


def _pairs(plan: _Plan, samples: Sequence[KnownSample]) -> list[Pair]:
    by_place: dict[int, dict[bool, ScreenedAnswer]] = defaultdict(dict)
    for one in samples:
        by_place[one.place][one.candidate] = ScreenedAnswer(
            one.decides, one.valid, one.rightness, one.length, one.repeats
        )
    return [
        (both[True], both[False])
        for place, both in sorted(by_place.items())
        if len(both) == 2 and place < len(plan.questions)
    ]
