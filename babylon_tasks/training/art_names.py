"""Every name that we take from ART.

``missing`` looks for the names in the ART that is installed: the trainer does so at its start
(``art_interface.py``), and a test for every backend. ``docs/art.md`` is made from this file by
`make docs`.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

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
            "advantage_balance",
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
        re.search(rf"\bself\.{name}\b", inspect.getsource(kind))
        for kind in kinds
        if kind.__module__[:4] == "art."
    )
