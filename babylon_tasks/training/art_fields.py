"""Every field that ART's client and W&B send each other.

Tests compare them with what travels between ART's client and the tests' peer. ``docs/art.md`` is
made from this file by `make docs`.
"""

from __future__ import annotations

from msgspec import Struct


class Field(Struct, frozen=True):
    """A field that travels: ``path`` in the JSON of ``call``, ``[]`` for each of a list.

    ``only`` is the release of ART that knows it, None if all that we support do. ``read``: what we
    or ART's client make of it; empty where it is only passed on. ``without``: what comes of an
    answer that lacks it, because W&B calls it otherwise; empty where that changes nothing.
    """

    call: str
    path: str
    read: str = ""
    only: str | None = None
    without: str = ""


_REGISTER, _JOB = "POST /preview/models", "POST /preview/training-jobs"
_LIST, _EVENTS = "GET …/checkpoints", "GET …/events"
_DELETE, _CHAT = "DELETE …/checkpoints", "POST /chat/completions"
_SUPERVISED = "POST /preview/sft-training-jobs"
_OLD, _NEW = "0.5.18", "0.5.23"
_TRAJECTORY = "trajectory_groups[].trajectories[]."
_CHOICE = f"{_TRAJECTORY}messages_and_choices[]."
_CONFIG = "experimental_config."
_TOP = "choices[].logprobs.content[].top_logprobs[]."
# What comes of an answer without a field.
START_REFUSED = "the trainer does not start"
STEP_WAITS = "the step waits, with its job"
SET_ASIDE = "the checkpoint is set aside"

# What ART's client sends, and nothing else.
SENT = (
    *(Field(_REGISTER, name) for name in ("entity", "project", "name", "base_model")),
    Field(_REGISTER, "return_existing", "true: one model for a lineage, however often it starts"),
    Field(_JOB, "model_id"),
    *(
        Field(_JOB, f"trajectory_groups[].{name}", only=_OLD)  # 0.5.23 leaves out what is empty
        for name in ("exceptions", "metadata", "metrics", "logs")
    ),
    Field(_JOB, f"{_TRAJECTORY}reward", "ours, of the group"),
    Field(_JOB, f"{_TRAJECTORY}metadata.trajectory_id", "ours, for people"),
    *(
        Field(_JOB, _TRAJECTORY + name, only=_OLD)
        for name in (
            "tools",
            "additional_histories",
            "initial_policy_version",
            "final_policy_version",
            "metrics",
            "logs",
        )
    ),
    Field(_JOB, f"{_CHOICE}role", "of the prompt"),
    Field(_JOB, f"{_CHOICE}content", "of the prompt"),
    *(Field(_JOB, _CHOICE + name) for name in ("index", "finish_reason")),
    Field(_JOB, f"{_CHOICE}message.role"),
    Field(_JOB, f"{_CHOICE}message.content", "the answer's text"),
    *(
        Field(_JOB, f"{_CHOICE}message.{name}")
        for name in ("refusal", "annotations", "audio", "function_call", "tool_calls")
    ),
    Field(_JOB, f"{_CHOICE}logprobs.content[].token", "`token_id:N`, as sampled"),
    Field(_JOB, f"{_CHOICE}logprobs.content[].logprob", "as sampled"),
    Field(_JOB, f"{_CHOICE}logprobs.content[].bytes", "only of a thought's first token"),
    Field(_JOB, f"{_CHOICE}logprobs.content[].top_logprobs"),
    Field(_JOB, f"{_CHOICE}logprobs.refusal"),
    Field(_JOB, f"{_CHOICE}token_ids", "as sampled, where the prompt's are recorded"),
    Field(_JOB, f"{_CHOICE}prompt_token_ids", "as recorded; 0.5.23 skips answers without them"),
    *(
        Field(_JOB, _CONFIG + name)
        for name in (
            "epsilon",
            "epsilon_high",
            "importance_sampling_level",
            "kimi_k2_tau",
            "mask_prob_ratio",
            "ppo",
            "precalculate_logprobs",
        )
    ),
    Field(
        _JOB,
        f"{_CONFIG}max_negative_advantage_importance_sampling_weight",
        "BABYLON_MAX_IMPORTANCE_RATIO",
    ),
    Field(_JOB, f"{_CONFIG}scale_rewards", "BABYLON_SCALE_REWARDS"),
    Field(_JOB, f"{_CONFIG}advantage_balance", "BABYLON_ADVANTAGE_BALANCE"),
    Field(_JOB, f"{_CONFIG}learning_rate", "BABYLON_LEARNING_RATE, as planned"),
    Field(_JOB, f"{_CONFIG}kl_penalty_coef", "BABYLON_KL_COEFFICIENT; 0.5.18 sends none", _NEW),
    *(
        Field(_JOB, _CONFIG + name, only=_NEW)
        for name in (
            "allow_training_without_logprobs",
            "kl_penalty_reference_step",
            "kl_penalty_source",
            "kl_penalty_step_lag",
            "kl_ref_adapter_path",
            "logprob_calculation_chunk_size",
            "loss_fn",
            "normalize_advantages",
            "num_trajectories_learning_rate_multiplier_power",
            "packed_sequence_length",
            "plot_tensors",
            "scale_learning_rate_by_reward_std_dev",
            "truncated_importance_sampling",
        )
    ),
    Field(_DELETE, "steps"),
    Field(_CHAT, "model", "parent and checkpoint in turn: have the weights moved?"),
    *(Field(_CHAT, f"messages[].{name}", "a prompt of the step") for name in ("role", "content")),
    Field(_CHAT, "max_tokens", "1"),
    Field(_CHAT, "temperature", "1"),
    *(Field(_CHAT, name) for name in ("logprobs", "top_logprobs")),
)
# The same for a supervised job; its answers travel before, as an artifact of W&B's library.
SENT_SUPERVISED = (
    Field(_SUPERVISED, "model_id"),
    Field(_SUPERVISED, "training_data_url", "the artifact: `messages` of each answer, a line each"),
    Field(_SUPERVISED, "config.batch_size", "BABYLON_SUPERVISED_CALLS_PER_GRADIENT_STEP"),
    Field(_SUPERVISED, "config.learning_rate[]", "of each gradient step"),
    Field(_SUPERVISED, "config.assistant_turns", "`last`: no answer inside a prompt", _NEW),
)
# What W&B answers, of which ART's client or we read these.
ANSWERED = (
    Field(_REGISTER, "id", "the model's, in every later call", without=START_REFUSED),
    Field(_REGISTER, "entity", "a part of the policy's name", without=START_REFUSED),
    *(Field(_REGISTER, name) for name in ("project", "name", "base_model", "run_id")),
    Field(
        _LIST,
        "data[].id",
        "identifies the checkpoint; no release has a digest of its adapter",
        without=STEP_WAITS,
    ),
    Field(_LIST, "data[].step", "the checkpoint's number", without=STEP_WAITS),
    Field(_LIST, "data[].metrics", "of a job whose reference was lost", without=SET_ASIDE),
    Field(_LIST, "has_more"),
    *(
        Field(call, "id", "the reference, stored before the job is waited for", without=STEP_WAITS)
        for call in (_JOB, _SUPERVISED)
    ),
    Field(_EVENTS, "data[].id", "the next page begins after it", without=STEP_WAITS),
    Field(
        _EVENTS,
        "data[].type",
        "training_started, gradient_step, training_ended or _failed",
        without=STEP_WAITS,
    ),
    Field(
        _EVENTS,
        "data[].data.num_sequences",
        "the number of gradient steps",
        without=STEP_WAITS,
    ),
    Field(
        _EVENTS,
        "data[].data.num_trainable_tokens",
        "trained tokens; ART renames it",
        without=SET_ASIDE,
    ),
    Field(_EVENTS, "data[].data.loss", "`loss/train`"),
    Field(_EVENTS, "data[].data.error_message", "why a job failed"),
    Field(_EVENTS, "has_more"),
    Field(_DELETE, "deleted_count"),
    Field(_DELETE, "not_found_steps"),
    *(Field(_CHAT, _TOP + name, "of the first token") for name in ("token", "bytes")),
    Field(_CHAT, f"{_TOP}logprob", "of the first token", without=STEP_WAITS),
)
