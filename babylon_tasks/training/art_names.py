"""Every name that we take from ART, and every field that ART and W&B send each other.

``missing`` looks for the names in the ART that is installed: the trainer does so at its start
(``art_interface.py``), and a test for every backend. The fields are compared with what travels
between ART's client and the tests' peer. ``docs/art.md`` is made from this file by `make docs`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from babylon_tasks import step_metrics

CPU, LOCAL, SERVERLESS, JUDGE = "cpu", "local", "serverless", "judge"
BACKENDS = (CPU, LOCAL, SERVERLESS)
_DISK = (CPU, LOCAL)


class ArtName(Struct, frozen=True):
    """A module, class or function: ``module:path``.

    ``takes`` are the parameters that we pass, by name; where ``whole``, ART may require no other.
    ``has`` are the fields and attributes that we read or set.
    """

    name: str
    used_by: tuple[str, ...]
    takes: tuple[str, ...] = ()
    has: tuple[str, ...] = ()
    whole: bool = False


NAMES = (
    ArtName("art.model:TrainableModel.register", BACKENDS, ("backend", "_openai_client_config")),
    ArtName(
        "art.model:TrainableModel",
        BACKENDS,
        has=("get_inference_name", "inference_base_url", "id", "entity", "base_model", "name"),
    ),
    ArtName("art.model:TrainableModel", (SERVERLESS,), has=("inference_api_key",)),
    ArtName("art.model:TrainableModel.log", BACKENDS, ("metrics", "split", "step"), whole=True),
    ArtName("art.model:TrainableModel", BACKENDS, has=("_get_output_dir", "_wandb_run")),
    ArtName("art:TrajectoryGroup.__init__", BACKENDS, ("trajectories",), whole=True),
    ArtName(
        "art:Trajectory",
        BACKENDS,
        has=("messages_and_choices", "additional_histories", "reward", "metadata"),
    ),
    ArtName("art.metrics_taxonomy:TRAIN_GRADIENT_STEPS_KEY", BACKENDS),
    ArtName("art:ServerlessBackend.__init__", (SERVERLESS,), ("api_key", "base_url"), whole=True),
    ArtName("art:ServerlessBackend", (SERVERLESS,), has=("_client", "_train_model", "close")),
    ArtName(
        "art.serverless.client:Checkpoints.list", (SERVERLESS,), ("model_id", "limit", "order")
    ),
    ArtName("art.serverless.client:Checkpoints.delete", (SERVERLESS,), ("model_id", "steps")),
    ArtName(
        "art:ServerlessBackend._train_sft",
        (SERVERLESS,),
        ("model", "trajectories", "config", "dev_config", "verbose"),
        whole=True,
    ),
    ArtName(
        "art.local:LocalBackend._train_sft",
        (LOCAL,),
        ("model", "trajectories", "config", "dev_config", "verbose"),
        whole=True,
    ),
    ArtName("art.types:TrainSFTConfig", (LOCAL, SERVERLESS), has=("learning_rate", "batch_size")),
    ArtName(
        "art.serverless.client:Client", (SERVERLESS,), has=("training_jobs", "sft_training_jobs")
    ),
    ArtName("art.serverless.client:SFTTrainingJobs", (SERVERLESS,), has=("create", "events")),
    ArtName(
        "art.serverless.backend:_canonicalize_upstream_metrics",
        (SERVERLESS,),
        ("metrics",),
        whole=True,
    ),
    ArtName("art.serverless.client:Checkpoint", (SERVERLESS,), has=("id", "step")),
    ArtName("art.local:LocalBackend.__init__", _DISK, ("in_process", "path"), whole=True),
    ArtName(
        "art.local:LocalBackend.train",
        _DISK,
        (
            "learning_rate",
            "scale_rewards",
            "max_negative_advantage_importance_sampling_weight",
            "kl_penalty_coef",
            "packed_sequence_length",
        ),
    ),
    ArtName("art.local:LocalBackend", _DISK, has=("_train_model", "_get_service", "close")),
    ArtName(
        "art.local:LocalBackend.prune_model_adapters",
        (LOCAL,),
        ("model", "retain_steps"),
        whole=True,
    ),
    ArtName("art.utils.output_dirs:get_model_dir", _DISK, ("model", "art_path"), whole=True),
    ArtName(
        "art.preprocessing.tokenize:tokenize_trajectory",
        _DISK,
        (
            "tokenizer",
            "image_processor",
            "history",
            "advantage",
            "allow_training_without_logprobs",
            "trajectory",
        ),
        whole=True,
    ),
    ArtName(
        "art.preprocessing.tokenize:TokenizedResult", _DISK, has=("token_ids", "assistant_mask")
    ),
    ArtName(
        "art.local:LocalBackend",
        (CPU,),
        has=(
            "_path",
            "_services",
            "_tokenizers",
            "_image_processors",
            "_get_packed_tensors",
            "_supports_result_packing",
            "_packed_sequence_length_requires_chunk_alignment",
        ),
    ),
    ArtName("art.preprocessing.pack:packed_tensors_from_dir", (CPU,)),
    ArtName(
        "art.preprocessing.pack:DiskPackedTensors",
        (CPU,),
        has=("dir", "num_sequences", "sequence_length"),
    ),
    ArtName(
        "art.preprocessing.pack:PackedTensors",
        (CPU,),
        has=("tokens", "input_pos", "group_ids", "parent_ids", "assistant_mask", "logprobs"),
    ),
    ArtName(
        "art.preprocessing.inputs:create_train_inputs",
        (CPU,),
        ("packed_tensors", "offset", "config", "_config", "warmup"),
        whole=True,
    ),
    ArtName(
        "art.loss:loss_fn",
        (CPU,),
        ("inputs", "new_logprobs", "ref_logprobs", "entropies", "experimental_config"),
        whole=True,
    ),
    ArtName("art.loss:Loss", (CPU,), has=("policy_loss", "kl_policy_ref")),
    ArtName("art.types:TrainConfig", (CPU,), has=("learning_rate", "kl_penalty_coef")),
    ArtName("art.dev:TrainConfig", (CPU,)),
    ArtName("art.dev:OpenAIServerConfig", (CPU,)),
    ArtName("art.transformers.patches:_preprocess_mask_arguments", (CPU,)),
    ArtName(
        "art.rewards:ruler",
        (JUDGE,),
        ("message_lists", "judge_model", "extra_litellm_params", "rubric"),
        whole=True,
    ),
)


class Field(Struct, frozen=True):
    """A field that travels: ``path`` in the JSON of ``call``, ``[]`` for each of a list.

    ``only`` is the release of ART that knows it, None if all that we support do. ``read``: what we
    or ART's client make of it; empty where it is only passed on.
    """

    call: str
    path: str
    read: str = ""
    only: str | None = None


_REGISTER, _JOB = "POST /preview/models", "POST /preview/training-jobs"
_LIST, _EVENTS = "GET …/checkpoints", "GET …/events"
_DELETE, _CHAT = "DELETE …/checkpoints", "POST /chat/completions"
_SUPERVISED = "POST /preview/sft-training-jobs"
_OLD, _NEW = "0.5.18", "0.5.23"
_TRAJECTORY = "trajectory_groups[].trajectories[]."
_CHOICE = f"{_TRAJECTORY}messages_and_choices[]."
_CONFIG = "experimental_config."

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
            "advantage_balance",
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
    Field(_REGISTER, "id", "the model's, in every later call"),
    Field(_REGISTER, "entity", "a part of the policy's name"),
    *(Field(_REGISTER, name) for name in ("project", "name", "base_model", "run_id")),
    Field(_LIST, "data[].id", "identifies the checkpoint; no release has a digest of its adapter"),
    Field(_LIST, "data[].step", "the checkpoint's number"),
    Field(_LIST, "data[].metrics", "of a job whose reference was lost"),
    Field(_LIST, "has_more"),
    Field(_JOB, "id", "the reference, stored before the job is waited for"),
    Field(_SUPERVISED, "id", "the reference, stored before the job is waited for"),
    Field(_EVENTS, "data[].id", "the next page begins after it"),
    Field(_EVENTS, "data[].type", "training_started, gradient_step, training_ended or _failed"),
    Field(_EVENTS, "data[].data.num_sequences", "the number of gradient steps"),
    Field(_EVENTS, "data[].data.num_trainable_tokens", "trained tokens; ART renames it"),
    Field(_EVENTS, "data[].data.loss", "`loss/train`"),
    Field(_EVENTS, "data[].data.error_message", "why a job failed"),
    Field(_EVENTS, "has_more"),
    Field(_DELETE, "deleted_count"),
    Field(_DELETE, "not_found_steps"),
    *(
        Field(_CHAT, f"choices[].logprobs.content[].top_logprobs[].{name}", "of the first token")
        for name in ("token", "bytes", "logprob")
    ),
)


class Figure(Struct, frozen=True):
    """A figure of a step: its ``name``, the other names that it is ``sent`` by, and what it is.

    ``source``: who calls it so; empty where the name is ours.
    """

    name: str
    text: str
    source: str = ""
    sent: tuple[str, ...] = ()


# By every backend whose ART or service reports them; on cpu all of them, on the others those that
# come from ours or from there. What is not reported is absent.
FIGURES = (
    Figure(
        step_metrics.RATIO_MEAN,
        "mean ratio of the policy in training to the one that answered; about 1",
        "ART 0.5.23",
        ("importance_ratio_mean",),
    ),
    Figure(
        step_metrics.RATIO_MAX,
        "the largest of these ratios, at most e^20",
        "TRL, verl: max",
    ),
    Figure(
        step_metrics.CLIPPED_SHARE,
        "share of tokens whose ratio ART's loss clips",
        "ART 0.5.23",
        ("clipped_token_fraction",),
    ),
    Figure(
        step_metrics.MISMATCH_KL,
        "KL divergence from the policy that answered, k3, in nats per token",
        "prime-rl",
    ),
    Figure(
        step_metrics.LARGEST_MISMATCH_KL,
        "the same over the step, or before that gradient step of 64 tokens or more where it is "
        "largest; BABYLON_MAX_MISMATCH_KL bounds it",
    ),
    Figure(
        step_metrics.SAMPLE_SHARE,
        "effective sample size, as a share of the tokens",
        "verl: rollout_is_eff_sample_size",
    ),
    Figure(step_metrics.ENTROPY, "entropy of the policy, in nats per token", "ART", ("entropy",)),
    Figure(step_metrics.LEARNING_RATE, "learning rate of the step", "ART", ("learning_rate",)),
    Figure(step_metrics.REWARD, "mean reward", "ART 0.5.23", ("reward",)),
    Figure(
        step_metrics.REWARD_DEVIATION,
        "mean of the groups' standard deviations of reward",
        "ART 0.5.23",
        ("reward_std_dev",),
    ),
    Figure(step_metrics.ANSWER_TOKENS, "mean length of a trajectory's answers, in tokens"),
    Figure(step_metrics.BETTER_ANSWER_TOKENS, "the same of those above their group's mean reward"),
    Figure(step_metrics.WORSE_ANSWER_TOKENS, "the same of those below it"),
    Figure(
        step_metrics.LENGTH_CORRELATION,
        "correlation of reward and length inside the groups, from -1 to 1",
    ),
)
_ONE_NAME = {sent: figure.name for figure in FIGURES for sent in figure.sent}


def under_one_name(metrics: Mapping[str, float]) -> dict[str, float]:
    """Name the figures of a step as ours are, whichever release of ART sends them."""
    return {_ONE_NAME.get(name, name): float(value) for name, value in metrics.items()}


def missing(names: Sequence[ArtName]) -> list[str]:
    """List what the installed ART lacks of these, and what it requires beside what we pass."""
    return [problem for name in names for problem in _problems(name)]


def _problems(wanted: ArtName) -> list[str]:
    module, path = wanted.name.split(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return [wanted.name]
    problems = [f"{wanted.name}.{one}" for one in wanted.has if not _has(found, one)]
    if wanted.takes:
        parameters = inspect.signature(found).parameters
        problems += [f"{wanted.name}({one})" for one in wanted.takes if one not in parameters]
        if wanted.whole:
            problems += [
                f"{wanted.name} requires {one.name}, which is not passed"
                for one in parameters.values()
                if one.default is one.empty
                and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
                and one.name not in ("self", *wanted.takes)
            ]
    return problems


def _has(owner: Any, name: str) -> bool:
    if hasattr(owner, name) or name in getattr(owner, "model_fields", ()):
        return True
    kinds = inspect.getmro(owner)
    # Of a TypedDict or a dataclass; or set by a method, which only the source shows.
    return any(name in vars(kind).get("__annotations__", ()) for kind in kinds) or any(
        f"self.{name}" in inspect.getsource(kind) for kind in kinds if kind.__module__[:4] == "art."
    )
