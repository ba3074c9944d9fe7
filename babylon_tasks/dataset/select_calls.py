"""Select the calls of a trajectory that a step may use, with reasons against the others. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from msgspec import Struct, structs

from babylon_tasks.dataset.eligibility import Policies, UnfitCall, label
from babylon_tasks.reasons import Reason, Stage
from babylon_tasks.records import LlmCall, Member, Rejection, Trajectory

_MODELS = 120  # the longest list of model names in a rejection, in characters


class CallTerms(Struct, frozen=True):
    """Which calls a step uses: those of one ``label``, one of the ``allowed``.

    ``window`` is their hour; None where no name of a policy has come again.
    """

    policies: Policies
    label: str
    allowed: tuple[str, ...]
    max_staleness_steps: int
    window: str | None = None


class SelectedCalls(Struct, frozen=True):
    """The indexes of the calls that fit, the reasons against others, and whether a step of another
    allowed label could use some of them."""

    places: tuple[int, ...]
    reasons: tuple[Reason, ...]
    other_label: bool


def select_calls(
    trajectory: Trajectory, terms: CallTerms, ambiguous: Collection[int] = ()
) -> SelectedCalls:
    """Sort the calls of a trajectory by whether a step under these terms may use them.

    ``ambiguous``: the indexes of the calls whose possible captures differ.
    """
    places, reasons, other_label = [], [], False

    def fits(call: LlmCall, allowed: Sequence[str]) -> str | UnfitCall:
        limit = terms.max_staleness_steps
        return label(call, terms.policies, allowed, max_staleness_steps=limit, window=terms.window)

    for place, call in enumerate(trajectory.calls):
        fitting = fits(call, (terms.label,))
        if not isinstance(fitting, UnfitCall):
            places.append(place)
            continue
        fitting = fits(call, terms.allowed)
        if isinstance(fitting, UnfitCall):
            reasons.append(Reason.AMBIGUOUS_CAPTURE if place in ambiguous else fitting.reason)
        else:
            other_label = True
    return SelectedCalls(tuple(places), tuple(reasons), other_label)


def refuse(trajectory: Trajectory, reasons: Sequence[Reason]) -> Rejection:
    """Reject a trajectory without a fitting call, for the most common reason; names the models."""
    reason, count = Counter(reasons).most_common(1)[0]
    models = ", ".join(sorted({call.model for call in trajectory.calls}))[:_MODELS]
    detail = f"{count} of {len(trajectory.calls)} calls; models: {models}"
    return Rejection(trajectory.trajectory_id, Stage.DATASET, reason, detail)


def member(trajectory: Trajectory, reward: float, places: Sequence[int] | None = None) -> Member:
    """Build the group's member with the calls at these indexes; raises IndexError."""
    whole = places is None or len(places) == len(trajectory.calls)
    calls = trajectory.calls if places is None else tuple(trajectory.calls[n] for n in places)
    # + 0.0: minus zero does not survive jsonb.
    return Member(
        trajectory.trajectory_id, reward + 0.0, calls, None if whole else tuple(places or ())
    )


def without(one: Member, refused: Collection[int]) -> Member:
    """Remove some calls of a member, by their index in it."""
    left = [n for n in range(len(one.calls)) if n not in refused]
    places = one.places if one.places is not None else range(len(one.calls))
    return structs.replace(
        one,
        calls=tuple(one.calls[n] for n in left),
        places=tuple(places[n] for n in left),
    )
