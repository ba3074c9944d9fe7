"""Which checkpoint serves again where the anchor is a model of another server. Pure.

That model keeps most agents after harm, but those of the floor's share would still be answered by
what has done it. So what served before the harm serves again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from babylon_tasks.comparison.conclusion import Compared, Conclusion
from babylon_tasks.comparison.ramp import RampStage


class ServedSince(Struct, frozen=True):
    """A checkpoint that has served since a moment, None: from the first on.

    ``usable``: neither dead nor pruned.
    """

    step: int
    since: datetime | None
    usable: bool


def last_quiet(compared: Compared, began: str) -> str | None:
    """Return the last window without a hint at harm; None where no checkpoint is to be taken out.

    At the floor being worse is tuition. And where the detectors are quiet and the window itself is
    no collapse, harm is shown by all windows since the floor together, or the budget was spent in
    hours that show nothing: no checkpoint has done it. ``began``: the comparison's first window,
    which stands in where none was quiet.
    """
    ramp = compared.evidence.ramp
    match compared.conclusion:
        case Conclusion.TO_FLOOR | Conclusion.ROLLBACK | Conclusion.ROLLBACK_AND_PAUSE:
            pass
        case Conclusion.WITHDRAW if ramp is not None and ramp.stage is not RampStage.FLOOR:
            pass
        case _:
            return None
    if compared.evidence.detectors_are_quiet and not compared.collapsed:
        return None
    return compared.evidence.quiet or began


def quiet_checkpoint(served: Sequence[ServedSince], began: datetime) -> int | None:
    """Find the newest checkpoint that served from the beginning of a quiet hour on, or before it.

    ``served``: in their order. One that came later in the hour was hardly seen in it. None: none
    of these can serve.
    """
    return next(
        (
            one.step
            for one in reversed(served)
            if one.usable and (one.since is None or one.since <= began)
        ),
        None,
    )
