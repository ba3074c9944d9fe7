"""Nearly the same answer to everything, more often than what serves gives it. Pure.

For the screen, which sees answers, and for the gate, which knows their probabilities and what
pays, and so needs less. The bounds are not relative: a policy that collapses in small steps would
pass each of them (seen after a reversal of the demo's signal: five steps to the same answer to
everything, and nothing to learn from after them).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import compress

from babylon_tasks.dataset.diversity import Diversity, GroupAnswers, Says, by_kind, in_short

OF_ANSWERS = 0.95  # a share of them that come to the same
# At .95 two of five groups of 16 have no dissenter, and teach nothing; at .90 one.
_OF_PROBABILITY = 0.90
_PAYS_LESS = 0.10
_NEARLY = 0.85  # of what serves: steps that teach it more of the same are refused from there on
_LESS_CONSTANT = 0.15
_SETTLED = 0.02  # nats: of two answers one is given 1 time in 300
_KNOWN = 0.5  # of its probability: the entropy of answers that were never recorded is not known
_FEWEST = 8  # groups of a kind of question

Answers = Mapping[str, Mapping[str, Diversity]]  # by kind of question, by who gives them


def is_near_constant(share: float, other: float, least: float) -> bool:
    """Check whether ``least`` or more come to the same, and fewer of the others do."""
    return share >= least and other < share


def compare_answers(
    candidate: Sequence[Says], serving: Sequence[Says], recorded: Sequence[GroupAnswers]
) -> Answers:
    """Sum up, by kind of question, what both would say to each group, what was sampled there, and
    what paid best.

    Of a kind with enough groups in which members acted differently, these alone count: where all
    did the same it is not known what else a policy would do there, nor whether that pays better.
    """
    contested = Counter(one.kind for one in recorded if one.contested)
    counted = [one.contested or contested[one.kind] < _FEWEST for one in recorded]
    recorded = list(compress(recorded, counted))
    kinds = [one.kind for one in recorded]
    of = {
        "candidate": by_kind(kinds, list(compress(candidate, counted))),
        "serving": by_kind(kinds, list(compress(serving, counted))),
        "sampled": by_kind(kinds, [one.sampled for one in recorded]),
        "best": by_kind(kinds, [{one.best: 1.0} for one in recorded]),
    }
    return {kind: {who: found[kind] for who, found in of.items()} for kind in of["candidate"]}


def leads_out(answers: Answers) -> bool:
    """Check whether the candidate says more than one thing where what serves says nearly the same
    to everything though it pays much less often, in a kind of question."""
    return any(_leads_out(given) for given in answers.values())


def _leads_out(given: Mapping[str, Diversity]) -> bool:
    ours, theirs = given["candidate"], given["serving"]
    return (
        ours.groups >= _FEWEST
        and theirs.share >= _NEARLY
        and _pays(theirs, given["best"]) <= theirs.share - _PAYS_LESS
        and ours.share <= theirs.share - _LESS_CONSTANT
    )


def _pays(given: Diversity, best: Diversity) -> float:
    """Return how often their commonest answer pays best."""
    return best.share if best.commonest == given.commonest else 0.0


def collapse(answers: Answers, *, better: bool) -> str | None:
    """Say in which kind of question a candidate's answers have collapsed; None: in none.

    Nearly constant is no collapse where the same answer pays best nearly always; and with its
    answers to each question settled, a candidate may serve if it is ``better`` beyond doubt.
    """
    for kind, given in sorted(answers.items()):
        ours, theirs, best = given["candidate"], given["serving"], given["best"]
        if ours.groups < _FEWEST:
            continue
        where = f"{kind}: " if kind else ""
        pays_less = _pays(ours, best) <= ours.share - _PAYS_LESS
        if is_near_constant(ours.share, theirs.share, _OF_PROBABILITY) and pays_less:
            now, before = in_short(ours.commonest), in_short(theirs.commonest)
            return (
                f"{where}{ours.share:.0%} of what it would say comes to {now}, of what serves "
                f"{theirs.share:.0%} to {before}"
            )
        settled = ours.entropy < _SETTLED and ours.known >= _KNOWN
        if settled and theirs.entropy > ours.entropy and not better:
            return (
                f"{where}the entropy of what it would say is {ours.entropy:.3f} nats, that of "
                f"what serves {theirs.entropy:.3f}"
            )
    return None
