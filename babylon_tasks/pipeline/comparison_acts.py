"""What a comparison's conclusions ask for: pointer, branch, arms, anchor, pause, end.

In the transaction that records the conclusion, under the lineage's lock. What the window compared
may have been changed by hand since it began; then that stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, structs

from babylon_tasks.arms import Arms
from babylon_tasks.comparison import rule
from babylon_tasks.comparison.conclusion import Compared, Conclusion
from babylon_tasks.comparison.fall_back import last_quiet, quiet_checkpoint
from babylon_tasks.comparison.next_arms import Anchor, anchor_of, has_trials, next_arms
from babylon_tasks.comparison.parameters import ComparisonParameters, Proof
from babylon_tasks.dataset.checkpoint_tree import path
from babylon_tasks.db import arms, comparisons, lineages, pauses, promotions
from babylon_tasks.db.comparisons import Comparison
from babylon_tasks.db.session import Connection
from babylon_tasks.decisions import RefusalKind
from babylon_tasks.pipeline.choose_examinee import choose_examinee
from babylon_tasks.pipeline.promotion_outlook import backend_of
from babylon_tasks.pipeline.start_comparison import ACTOR, begin, end
from babylon_tasks.policy_names import policy_name
from babylon_tasks.registry import serving
from babylon_tasks.registry.promotion_modes import PromotionMode, chosen
from babylon_tasks.settings import Settings
from babylon_tasks.training.backends import can_branch
from babylon_tasks.windows import WINDOW, window_id, window_start


class Concluded(Struct, frozen=True):
    """What is acted upon.

    ``tried``: the examinee of the window's arms. ``moment``: the conclusion's on record; the arms
    that follow from it count from the hour after, those of a fall to the floor at once.
    """

    comparison: Comparison
    parameters: ComparisonParameters
    window: str
    compared: Compared
    tried: int | None
    moment: datetime


class Acts:
    """The acts of one window; ``done``: in words."""

    def __init__(self, connection: Connection, settings: Settings, on: Concluded) -> None:
        self._connection = connection
        self._lineage = settings.lineage
        self._on = on
        self._reason = on.compared.evidence.reason
        row = lineages.get(connection, settings.lineage)
        assert row is not None  # noqa: S101  # its comparison refers to it
        backend = backend_of(settings, row.backend)
        self._branches = can_branch(backend)
        self._mode = chosen(settings, backend)[0]
        self._serving = row.serving_step
        self._parameters, self._state = on.parameters, on.compared.state
        self._over = False
        self.done: list[str] = []
        self._drawn = self._newest_arms()
        anchor = anchor_of(self._drawn)
        assert anchor is not None  # noqa: S101  # a comparison without one has ended
        self._anchor = anchor

    def roll_back(self) -> None:
        """Let the anchor serve, and discard the branch; an external one answers all agents."""
        to = self._anchor.step
        if to is None:
            self.serve_what_was_quiet()
            self.leave_agents_to_anchor()
            return
        if self._rolled_back_since():
            return
        if to == self._serving:
            self.done.append(f"{self._name(to)}, the anchor, serves already")
            return
        self._roll_back_to(to, keep=self._trial_goes_on())

    def _roll_back_to(self, to: int, keep: int | None = None) -> None:
        serving.rollback(
            self._connection,
            self._lineage,
            reason=f"the comparison of {self._on.window}: {self._reason}",
            actor=ACTOR,
            to=to,
            figures=self._figures(),
            keep=() if keep is None else (keep,),
        )
        self.done.append(f"{self._name(self._serving)} was rolled back to {self._name(to)}")
        self._serving = to
        self._drawn = self._newest_arms()

    def pause(self) -> None:
        """Stop planning until somebody has looked."""
        pauses.begin(
            self._connection,
            self._lineage,
            comparison_id=self._on.comparison.id,
            window=self._on.window,
            reason=self._reason,
            actor=ACTOR,
        )
        self.done.append("training is paused until `babylon-tasks compare resume --reason TEXT`")

    def move_anchor(self) -> None:
        """Make what is proven the anchor; after a ramp, of a comparison that begins without one."""
        proven = self._proven()
        if proven is None:
            return
        self._anchor = Anchor(proven)
        self.done.append(f"{self._name(proven)} is the anchor")
        if self._mode is PromotionMode.PROVEN and proven != self._serving:
            serving.promote(
                self._connection,
                self._lineage,
                proven,
                reason=f"the comparison of {self._on.window}: {self._reason}",
                figures=self._figures(),
                actor=ACTOR,
            )
            self.done.append(f"{self._name(proven)} serves")
            self._serving = proven
            self._drawn = self._newest_arms()
        if self._parameters.ramp is not None:
            self._begin_without_ramp()

    def refuse_examinee(self) -> None:
        """Refuse an examinee that does not lead to what serves: nothing trains on from it."""
        step = self._on.tried
        if step is None or step != self._drawn.examinee_step or self._leads_to_serving(step):
            return
        spent = self._on.compared.evidence.trial_windows >= self._parameters.max_windows
        kind = RefusalKind.NO_BETTER if spent else RefusalKind.HARM
        serving.hold(
            self._connection,
            self._lineage,
            step,
            reason=f"the comparison of {self._on.window}: {self._reason}",
            figures={**self._figures(), "refused": kind},
            actor=ACTOR,
        )
        self.done.append(f"{self._name(step)} is refused")

    def serve_what_was_quiet(self) -> None:
        """Let serve again what did before there was harm; an external anchor never can."""
        since = last_quiet(self._on.compared, self._on.comparison.began_window)
        if self._anchor.step is not None or since is None or self._rolled_back_since():
            return
        served = promotions.served(self._connection, self._lineage)
        to = quiet_checkpoint(served, window_start(since))
        if to is None:
            self.done.append(
                f"{self._name(self._serving)} serves on: all that served before it is discarded or "
                "pruned; see `babylon-tasks models list`"
            )
            return
        if to == self._serving:
            self.done.append(f"{self._name(self._serving)} serves on, as before there was harm")
            return
        self._roll_back_to(to)

    def leave_agents_to_anchor(self) -> None:
        """Let the anchor answer all agents, at once, and end the comparison."""
        self._end(f"all agents get {self._name_of_anchor()}: {self._reason}")
        all_of_them = Arms(
            from_window=window_id(self._on.moment),
            salt=self._drawn.salt,
            control_share=1.0,
            control_step=self._anchor.step,
            control_model=self._anchor.model,
        )
        arms.begin(self._connection, self._lineage, all_of_them)
        self.done.append(f"all agents get {self._name_of_anchor()}, and the comparison is over")

    def draw(self) -> None:
        """Draw up the arms of the hours to come, if they are others than those drawn last.

        A fall to the floor counts at once, as a rollback does.
        """
        if self._over:
            return
        falls = self._on.compared.conclusion is Conclusion.TO_FLOOR
        wanted = next_arms(
            self._parameters,
            self._state,
            self._drawn,
            self._anchor,
            self._examinee(),
            window_id(self._on.moment if falls else self._on.moment + WINDOW),
        )
        if structs.replace(wanted, from_window=self._drawn.from_window) == self._drawn:
            return
        arms.begin(self._connection, self._lineage, wanted)
        shares = f"{wanted.control_share:.0%} with {self._name_of_anchor()}"
        if wanted.examinee_step is not None:
            shares = f"{shares}, {wanted.examinee_share:.0%} try {self._name(wanted.examinee_step)}"
        self.done.append(f"from {wanted.from_window} on: {shares}")

    def _begin_without_ramp(self) -> None:
        self._end(f"{self._name_of_anchor()} is proven, and the ramp is over")
        self._parameters = structs.replace(self._parameters, ramp=None)
        self._state = rule.begin(self._parameters)
        begin(
            self._connection,
            self._lineage,
            self._parameters,
            anchor_step=self._anchor.step,
            anchor_model=None,
            examinee_step=self._examinee(),
            actor=ACTOR,
        )
        self.done.append("a comparison without a ramp begins")

    def _end(self, reason: str) -> None:
        end(self._connection, self._lineage, self._on.comparison, reason=reason, actor=ACTOR)
        self._over = True

    def _proven(self) -> int | None:
        """Return what becomes the anchor, unless it was taken away meanwhile."""
        if self._parameters.proof is Proof.AVERAGE:
            if self._rolled_back_since():
                return None
            return None if self._serving == self._anchor.step else self._serving
        if self._on.tried is None or self._on.tried != self._drawn.examinee_step:
            self.done.append("its arm was ended meanwhile")
            return None
        return self._on.tried

    def _examinee(self) -> int | None:
        """Return who is on trial in the hours to come: the same, or the next one."""
        if not has_trials(self._parameters, self._state):
            return None
        now = self._drawn.examinee_step
        if now is not None and self._goes_on(now) and now != self._anchor.step:
            return now
        return choose_examinee(
            self._connection,
            self._lineage,
            # On a ramp what passes its screen serves in every mode, and goes on trial as it does.
            PromotionMode.SCREENED if self._anchor.step is None else self._mode,
            serving=self._serving,
            anchor=self._anchor.step,
            ended=self._state.ended,
        )

    def _goes_on(self, examinee: int) -> bool:
        return examinee != self._on.tried or not self._on.compared.ends_trial

    def _trial_goes_on(self) -> int | None:
        """Return the examinee that stays when what serves is rolled back.

        Where the backend cannot branch none does: it trains on from its newest checkpoint.
        """
        step = self._drawn.examinee_step
        if step is None or step == self._serving or not self._branches:
            return None
        return step if self._goes_on(step) else None

    def _rolled_back_since(self) -> bool:
        """Check whether what the window showed was taken out of service since it began."""
        began = window_start(self._on.window)
        by = promotions.rolled_back_since(self._connection, self._lineage, began)
        if by is not None:
            self.done.append(f"it was rolled back by {by} meanwhile")
        return by is not None

    def _leads_to_serving(self, step: int) -> bool:
        return step in path(self._serving, lineages.parents(self._connection, self._lineage))

    def _figures(self) -> Mapping[str, Any]:
        evidence = self._on.compared.evidence
        comparison = self._on.comparison.id
        windows = comparisons.windows_after(
            self._connection, comparison, evidence.quiet, self._on.window
        )
        # As they are recorded: infinity is no JSON.
        figures = msgspec.json.decode(rule.canonical(evidence), type=dict[str, Any])
        return {**figures, "comparison": comparison, "windows": windows}

    def _newest_arms(self) -> Arms:
        return arms.since(self._connection, self._lineage, window_id(self._on.moment))[-1]

    def _name(self, step: int) -> str:
        return policy_name(self._lineage, step)

    def _name_of_anchor(self) -> str:
        return self._anchor.model or self._name(self._anchor.step or 0)
