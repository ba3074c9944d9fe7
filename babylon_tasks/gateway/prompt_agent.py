"""The agent's id in its system prompt: where one process hosts many agents, nothing else has it.

With RE2, whose time grows with the length of a text and no faster, whatever the pattern and whoever
wrote the prompt; Python's own ``re`` may take for ever.
"""

from __future__ import annotations

import re2

from babylon_tasks.errors import SettingsError
from babylon_tasks.gateway.request import GatewayRequest

# Of a prompt that are searched: it says at its beginning who is meant.
SEARCHED = 4096


class PromptAgent:
    """Finds agents by ``BABYLON_GATEWAY_AGENT_PATTERN``; raises SettingsError if RE2 refuses it."""

    def __init__(self, pattern: str | None) -> None:
        options = re2.Options()
        options.log_errors = False  # they are raised
        try:
            self._pattern = None if pattern is None else re2.compile(pattern, options)
        except re2.error as error:
            raise SettingsError(
                "BABYLON_GATEWAY_AGENT_PATTERN is not a regular expression of RE2, which has no "
                f"look-around and no back-references: {error}"
            ) from error

    def find(self, asked: GatewayRequest) -> str | None:
        """Find the agent in the first characters of a request's system prompt."""
        if self._pattern is None:
            return None
        found = self._pattern.search(asked.system_prompt[:SEARCHED])
        return None if found is None else found.group("agent")
