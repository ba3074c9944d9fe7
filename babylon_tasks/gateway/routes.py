"""Where a request goes: its model's name, resolved once, to one checkpoint or another server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import Struct

from babylon_tasks.arms import Arm, assign, in_force
from babylon_tasks.gateway.pointer import Served
from babylon_tasks.gateway_settings import server_of
from babylon_tasks.http_server.limits import RETRY_AFTER_SECONDS
from babylon_tasks.http_server.refusals import Refused
from babylon_tasks.policy_names import policy_name, step_number
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_id


class ToCheckpoint(Struct, frozen=True):
    """One checkpoint, whatever is promoted meanwhile.

    ``model`` is its name at its server. ``pinned``: the request named it, so nothing else may
    answer. ``committed``: it is a checkpoint that its server has, or will have soon. Without
    ``base_url`` no trainer has served, or Postgres was never read. ``arm``: the one that the agent
    was drawn for.
    """

    name: str
    model: str
    base_url: str | None
    backend: str
    pinned: bool
    committed: bool = False
    arm: Arm | None = None


class ToUpstream(Struct, frozen=True):
    """Another server, and the name of the model there."""

    server: str
    model: str
    arm: Arm | None = None


class Routes:
    """The names that the gateway answers to; ``now`` gives the last pointer."""

    def __init__(self, settings: Settings, now: Callable[[], Served | None]) -> None:
        self._lineage = settings.lineage
        self._servers = settings.gateway_upstreams
        self.now = now
        server, _, model = (settings.gateway_fallback or "").partition("/")
        self.fallback = ToUpstream(server, model) if model else None

    def route(self, model: str, agent: str | None, asked_at: datetime) -> ToCheckpoint | ToUpstream:
        """Resolve a name; raises Refused for one that nothing answers to."""
        name, at, text = model.partition("@")
        if name == self._lineage and (not at or step_number(text) is not None):
            return self._pinned(step_number(text)) if at else self._assigned(agent, asked_at)
        server = server_of(self._servers, model)
        if server is not None:
            return ToUpstream(server, model)
        raise Refused(
            404,
            f"no model {model[:200]!r} here: {self._lineage} is the serving checkpoint, "
            f"{self._lineage}@STEP a given one; BABYLON_GATEWAY_UPSTREAMS names the servers of "
            "other models; GET /v1/models lists them",
            code="model_not_found",
            param="model",
        )

    def listed(self) -> dict[str, Any]:
        """List what can be asked, as OpenAI does; ``serves`` is the checkpoint that serves now."""
        now = self.now()
        checkpoints: list[dict[str, Any]] = []
        if now is not None:
            serves = policy_name(self._lineage, now.step)
            checkpoints = [{"id": self._lineage, "owned_by": "babylon-tasks", "serves": serves}]
            checkpoints += [
                {"id": policy_name(self._lineage, step), "owned_by": "babylon-tasks"}
                for step in now.names
            ]
        others = [
            {"id": model, "owned_by": server}
            for server, about in self._servers.items()
            for model in about.models
            if not model.endswith("*")
        ]
        data = [{"object": "model", "created": 0, **one} for one in [*checkpoints, *others]]
        return {"object": "list", "data": data}

    def _pinned(self, step: int | None) -> ToCheckpoint:
        now = self.now()
        if now is None:
            raise self._unknown()
        return self._checkpoint(now, step, pinned=True)

    def _assigned(self, agent: str | None, asked_at: datetime) -> ToCheckpoint | ToUpstream:
        """Choose what answers an agent this hour: the serving checkpoint, or that of its arm."""
        now = self.now()
        if now is None:
            if self.fallback is not None:
                return ToCheckpoint(self._lineage, self._lineage, None, "", pinned=False)
            raise self._unknown()
        window = window_id(asked_at)
        arms = in_force(now.arms, window)
        if arms is None:
            return self._checkpoint(now, None)
        assigned = assign(arms, agent, window)
        if assigned.model is None:
            return self._checkpoint(now, assigned.step, assigned.arm)
        server = server_of(self._servers, assigned.model)
        if server is None:
            raise Refused(
                503,
                f"{assigned.model[:200]!r} is to answer in the control arm of {self._lineage}, and "
                "no server of BABYLON_GATEWAY_UPSTREAMS lists it",
            )
        return ToUpstream(server, assigned.model, assigned.arm)

    def _checkpoint(
        self, now: Served, step: int | None, arm: Arm | None = None, *, pinned: bool = False
    ) -> ToCheckpoint:
        chosen = now.step if step is None else step
        name = policy_name(self._lineage, chosen)
        # One that is newer than the pointer is left to its server, which knows.
        return ToCheckpoint(
            name,
            now.names.get(chosen, name),
            now.base_url,
            now.backend,
            pinned=pinned,
            committed=chosen in now.names,
            arm=arm,
        )

    def _unknown(self) -> Refused:
        return Refused(
            503,
            f"it is not known which checkpoint of {self._lineage} serves: Postgres has not "
            "answered since this gateway started, or no trainer has served the lineage; its log "
            "says which",
            headers={"retry-after": str(RETRY_AFTER_SECONDS)},
        )
