"""The way agents reach a policy: ART's own OpenAI client, pointed at where it is served."""

from __future__ import annotations

import os
from typing import Any


def openai_client(lineage: str, base_model: str, project: str, base_url: str, api_key: str) -> Any:
    """ART's ``model.openai_client()`` (an ``AsyncOpenAI``) for a lineage that is served elsewhere.

    Ask it for ``Serving.inference_name``. Imports ART, about 2.5 s.
    """
    # Else `import art` asks the network for litellm's price list, and warns when refused.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from art import TrainableModel

    model: Any = TrainableModel(name=lineage, project=project, base_model=base_model)
    # What model.register() would fill in; the trainer process has registered the model.
    model.inference_base_url = base_url
    model.inference_api_key = api_key
    return model.openai_client()
