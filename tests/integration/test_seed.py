"""The Job of k8s/seed puts the base model where the offline trainer and `doctor` find it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from copies import ROOT
from hub_peer import hub

from checks.renderings import render_all
from checks.stages import environments
from checks.workloads import workloads

FILES = {
    "config.json": json.dumps(
        {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 1}
    ).encode(),
    "model.safetensors": b"\0" * 1024,
}
# As the trainer's child, which is offline, and as doctor beside it.
FOUND = """
import sys
from transformers import AutoConfig
from babylon_tasks.cli.backend_checks import cached_model
assert AutoConfig.from_pretrained(sys.argv[1]).hidden_size == 64
print(cached_model(sys.argv[1]), cached_model("nobody/nothing"), cached_model("no name at all"))
"""


def test_the_trainer_finds_offline_what_the_job_has_fetched(tmp_path: Path) -> None:
    ((rendering,), _) = render_all(ROOT, [("seed",)])
    (seed,) = (one for load in workloads(rendering) for one in load.containers)
    model = seed.environment["BABYLON_BASE_MODEL"]
    home = seed.environment["HF_HOME"].replace("/data", str(tmp_path), 1)
    cache = environments(ROOT / "Dockerfile")["trainer"]["XDG_CACHE_HOME"]
    program, *arguments = seed.arguments
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    base = {"PATH": path, "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "HOME": str(tmp_path)}

    with hub(model, FILES) as endpoint:
        done = subprocess.run(
            [program, *(word.replace("$(BABYLON_BASE_MODEL)", model) for word in arguments)],
            env={**base, **seed.environment, "HF_HOME": home, "HF_ENDPOINT": endpoint},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr

    worker = {"XDG_CACHE_HOME": cache.replace("/data", str(tmp_path), 1), "HF_HUB_OFFLINE": "1"}
    found = subprocess.run(
        [sys.executable, "-c", FOUND, model],
        env={**base, **worker},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.split() == ["True", "False", "False"], found.stderr
