"""The types that all layers share; frozen, typed, without behaviour."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from babylon_tasks.reasons import Reason, Stage
from babylon_tasks.states import WindowState

TokenIds = tuple[int, ...]


class RawTrajectory(Struct, frozen=True, gc=False):
    """A row of Babylon's ``trajectories`` as read, undecoded.

    ``steps_json`` is None where the row exceeds the size limit; ``steps_bytes`` is its size.
    """

    trajectory_id: str
    agent_id: str
    scenario_id: str | None
    steps_json: str | None
    steps_bytes: int
    final_pnl: float | None
    is_evaluation: bool
    is_training_data: bool
    already_used: bool = False
    archetype: str | None = None
    window_id: str | None = None  # as stored in the row; None: the hour of its start counts


class LlmCall(Struct, frozen=True, gc=False):
    """One LLM call, verbatim as the agent made it.

    ``messages`` are (role, content) pairs up to, not including, the response.
    ``logprobs`` has one natural-log probability per response token, ``token_ids`` its ids,
    ``tokens`` and ``token_bytes`` its text. ``prompt_tokens`` and ``completion_tokens`` are the
    server's counts, ``prompt_ids`` the prompt's token ids. ``carries`` names what the messages
    cannot express: ``tools`` or ``images``. ``shaped``: by parameters that change what is sampled
    without showing in the log-probabilities.
    """

    model: str
    messages: tuple[tuple[str, str], ...]
    response: str
    temperature: float
    policy_step: int | None = None
    logprobs: tuple[float, ...] | None = None
    token_ids: TokenIds | None = None
    tokens: tuple[str, ...] | None = None
    token_bytes: tuple[bytes, ...] | None = None
    top_p: float = 1.0
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    purpose: str = ""  # the kind of question, where recorded: "action", "multi_step_…"
    carries: str | None = None
    prompt_ids: TokenIds | None = None
    # Only in the JSON of calls that are: members of planned steps are compared by their hash.
    shaped: bool | UnsetType = UNSET


class TextHashes(Struct, frozen=True, gc=False):
    """SHA-256 of a call's texts, of their UTF-8 as it is: nothing is trimmed or made equal."""

    system: bytes
    user: bytes
    answer: bytes


class CallPlace(Struct, frozen=True, gc=False):
    """A recorded call: its index among the calls of a trajectory."""

    trajectory_id: str
    place: int


class JoinResult(StrEnum):
    """How the search for a recorded call's capture ended."""

    EXACT = "exact"
    INEXACT = "inexact"  # which checkpoint answered is known, its tokens are not
    OTHER_MODEL = "other_model"  # another server's answered, whose name is known
    AMBIGUOUS = "ambiguous"
    NOT_FOUND = "not_found"


class CapturedSample(Struct, frozen=True, kw_only=True, gc=False):
    """How the gateway saw an answer being sampled, to be joined to the recorded call.

    ``step`` is the checkpoint's, or else ``model`` the name of another server's model. ``exact``:
    ``token_ids`` (int32) and ``logprobs`` (float32, both little-endian) are those of the
    policy itself, ``prompt_ids`` (int32) those of the prompt where they are kept. ``shaped``: the
    request had a parameter that makes them those of no policy. ``trajectory_id`` and ``place`` are
    the recorded call that it is joined to. ``from_prompt``: a pattern found ``agent`` in the system
    prompt.
    """

    capture_id: UUID
    asked_at: datetime
    window_id: str
    agent: str | None
    lineage: str
    step: int | None
    system_hash: bytes
    user_hash: bytes
    answer_hash: bytes
    exact: bool
    token_ids: bytes | None
    logprobs: bytes | None
    temperature: float | None
    top_p: float | None
    with_tools: bool
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    trajectory_id: str | None = None
    place: int | None = None
    from_prompt: bool = False
    prompt_ids: bytes | None = None
    model: str | None = None
    shaped: bool = False


class AgentAction(Struct, frozen=True, gc=False):
    """What one step did: the facts that scoring needs."""

    action_type: str
    success: bool
    market_id: str | None = None
    ticker: str | None = None
    side: str | None = None
    correct: bool | None = None  # as recorded in action.correctness; None: unknown
    price: float | None = None  # of a share that pays 1 if right, in (0, 1)
    staked: float | None = None


class Trajectory(Struct, frozen=True, gc=False):
    """A decoded trajectory. ``first_pnl``/``last_pnl``: cumulative, taken before the action.

    ``calls`` are those that were acted upon, one for each step; ``passed_over`` counts the others:
    answers that were rejected and asked for again, or that prepared the action.
    """

    trajectory_id: str
    agent_id: str
    scenario_id: str | None
    first_pnl: float | None
    last_pnl: float | None
    final_pnl: float | None
    actions: tuple[AgentAction, ...]
    calls: tuple[LlmCall, ...]
    archetype: str | None = None
    balance: float | None = None  # before the first step
    passed_over: int = 0


class Facts(Struct, frozen=True, gc=False):
    """What scoring reads of a trajectory, without its conversations.

    ``purpose`` and ``question`` are of the first call: its kind, and the user's last message.
    """

    trajectory_id: str
    agent_id: str
    scenario_id: str | None
    first_pnl: float | None
    last_pnl: float | None
    final_pnl: float | None
    actions: tuple[AgentAction, ...]
    purpose: str
    question: str
    archetype: str | None = None
    balance: float | None = None


class Outcome(Struct, frozen=True, gc=False):
    """How a market ended: ``yes`` for a prediction market, ``change`` (percent) for a stock.

    Neither: not known yet.
    """

    yes: bool | None = None
    change: float | None = None


class Outcomes(Struct, frozen=True):
    """What is known of how markets ended, by prediction market id and by stock ticker."""

    markets: dict[str, Outcome]
    tickers: dict[str, Outcome]


class Evidence(Struct, frozen=True, gc=False):
    """The facts of one trajectory, before it is compared with others.

    ``profit`` is in Babylon's money; None: not known. ``right`` and ``wrong`` count bets whose
    outcome is known, ``unknown`` the others; ``failed`` counts actions that failed or could not
    be parsed, ``waited`` choices to do nothing, ``taken`` the actions really taken.
    ``merit`` is the mean over the known bets of what each earned, in [-1, 1]: stake or prize,
    whichever is larger, counts as 1; without a price only its sign counts; None: no such bet.
    ``earned`` and ``staked`` are sums over the known bets with price and stake, each bet's
    stake times what it earned.
    """

    profit: float | None
    right: int
    wrong: int
    unknown: int
    failed: int
    waited: int
    taken: int
    merit: float | None
    earned: float
    staked: float


class Score(Struct, frozen=True, gc=False):
    """A reward in [0, 1] and the components it was made from (missing: no evidence)."""

    reward: float
    components: dict[str, float]


class Rejection(Struct, frozen=True, gc=False):
    """Why a trajectory is not used; ``detail`` is for people, bounded in length.

    None where it is written: as that of the last one before it of this stage and reason.
    """

    trajectory_id: str
    stage: Stage
    reason: Reason
    detail: str | None = None


class Member(Struct, frozen=True, gc=False):
    """One trajectory inside a group. Each call is a conversation of its own.

    ``places``: the indexes of these calls in the trajectory; None: they are all of it.
    """

    trajectory_id: str
    reward: float
    calls: tuple[LlmCall, ...]
    places: tuple[int, ...] | None = None


class Group(Struct, frozen=True, gc=False):
    """The trajectories that GRPO compares with each other: same window, same key."""

    window_id: str
    key: str
    members: tuple[Member, ...]


class PackedMember(Struct, frozen=True, gc=False):
    """A member's canonical JSON, compressed; ``content``: the SHA-256 of that JSON."""

    content: bytes
    member: bytes


class ScoringResult(Struct, frozen=True):
    """What one scoring run found in a window, and the state that follows.

    ``used`` counts those of ``scored`` that steps took under an earlier reward version,
    ``waits_for`` the markets whose outcome the window waits for before it is trained.
    """

    state: WindowState
    reason: str | None = None
    trajectories: int = 0
    agents: int = 0
    scored: int = 0
    used: int = 0
    rejected: dict[str, int] = {}
    reward_mean: float | None = None
    reward_std: float | None = None
    profit_mean: float | None = None
    right_share: float | None = None
    waits_for: int = 0
