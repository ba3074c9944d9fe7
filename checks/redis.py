"""What our own Redis needs, in Compose and in k8s/ alike."""

from __future__ import annotations

from collections.abc import Iterator

_NEEDED = {
    "--appendonly yes": "messages must outlive a restart",
    "--maxmemory-policy noeviction": "every other policy drops messages",
    "requirepass $(cat ": "no access without the password, which is read from its file",
}


def missing(command: str) -> Iterator[str]:
    """Find what the server's command lacks."""
    for option, why in _NEEDED.items():
        if option not in command.replace("$$", "$"):
            yield f"needs {option.strip()}…: {why}"
