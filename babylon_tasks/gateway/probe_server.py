"""Ask the checkpoints' server once how it reports what it sampled, and remember the answer.

At the start and whenever its address changes, beside the requests: these are asked as its backend
suggests until it is known. Servers of one kind differ by release, and some ignore what they do not
know: only an answer whose ids and log-probabilities agree shows that it gives them.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

import msgspec
import structlog

from babylon_tasks.gateway import metrics
from babylon_tasks.gateway.answer_json import decoded
from babylon_tasks.gateway.away import Away
from babylon_tasks.gateway.pointer import Served
from babylon_tasks.gateway.profiles import PROFILES, TEXT_ONLY, UNKNOWN, Profile, first_profile
from babylon_tasks.gateway.request import GatewayRequest
from babylon_tasks.gateway.server_keys import ServerKeys
from babylon_tasks.gateway.servers import ServerAnswer, Servers
from babylon_tasks.gateway.trainer_body import trainer_body
from babylon_tasks.gateway.trainer_reply import SampleState, read_sample
from babylon_tasks.gateway.wait import Wait

_LOOK_SECONDS = 0.5
_ANSWER_SECONDS = 60.0
_AWAY_SECONDS = 30.0  # until one that gave no answer is asked again
_TEXT_SECONDS = 600.0  # and one that gave text only: it may have been replaced
_QUESTION = GatewayRequest(
    b'{"model":"probe","messages":[{"role":"user","content":"Say a word."}],"max_tokens":2}'
)
log = structlog.get_logger(__name__)


class ServerProbe:
    """The profile of the server that ``now`` names; used in one event loop."""

    def __init__(
        self, servers: Servers, keys: ServerKeys, now: Callable[[], Served | None]
    ) -> None:
        self._servers = servers
        self._keys = keys
        self._now = now
        self._address: str | None = None
        self._profile: Profile | None = None
        self._again_at = 0.0
        self._show(UNKNOWN)

    def profile(self, base_url: str, backend: str) -> Profile:
        """Choose how a server is asked; waits for nothing."""
        if self._profile is None or base_url != self._address:
            return first_profile(backend)
        return self._profile

    async def watch(self) -> None:
        """Ask whenever the address has changed, for ever."""
        while True:
            try:
                await self._look()
            except Exception:  # logged with its traceback, and tried again: nothing else asks
                self._again_at = time.monotonic() + _AWAY_SECONDS
                log.exception("server_probe.failed")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self) -> None:
        now = self._now()
        if now is None or now.base_url is None:
            return
        if now.base_url != self._address:
            self._address, self._profile, self._again_at = now.base_url, None, 0.0
            self._show(UNKNOWN)
        if time.monotonic() >= self._again_at:
            self._again_at = time.monotonic() + _AWAY_SECONDS
            try:
                await self._ask(now, now.base_url)
            except Away as away:
                log.warning("server_probe.unanswered", address=now.base_url, why=away.reason)

    async def _ask(self, now: Served, base_url: str) -> None:
        accepted: Profile | None = None
        lacks: dict[str, str] = {}
        for profile in PROFILES:
            answer = await self._servers.ask(
                base_url,
                self._keys.of_trainer(now.backend),
                trainer_body(_QUESTION, now.names.get(now.step, ""), profile),
                _ANSWER_SECONDS,
                Wait(),
            )
            if answer.status in (400, 422):
                lacks[profile.name] = "refused"
                continue
            if answer.status != 200:
                log.warning("server_probe.unanswered", address=base_url, why=answer.status)
                return
            state = _state(answer)
            if state is SampleState.COMPLETE:
                self._profile, self._again_at = profile, math.inf
                self._show(profile.name)
                log.info("server_probe.succeeded", address=base_url, profile=profile.name)
                return
            lacks[profile.name] = state.value
            accepted = accepted or profile
        self._profile, self._again_at = accepted, time.monotonic() + _TEXT_SECONDS
        self._show(TEXT_ONLY)
        log.warning("server_probe.ids_missed", address=base_url, lacks=lacks)

    def _show(self, current: str) -> None:
        for name in (*(one.name for one in PROFILES), TEXT_ONLY, UNKNOWN):
            metrics.PROFILE.labels(name).set(name == current)


def _state(answer: ServerAnswer) -> SampleState:
    try:
        return read_sample(decoded(answer.content, _QUESTION))[0]
    except (msgspec.MsgspecError, LookupError, TypeError, AttributeError, ValueError):
        return SampleState.MALFORMED
