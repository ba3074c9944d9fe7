"""Check that hashes.txt pins what constraints.txt pins: ``python -m checks.pins [FOLDER]``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from checks.violations import Violation, end

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+?)( \\)?$", re.MULTILINE)
_HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")
_WRITE = "run `make constraints`"


def check(folder: Path) -> list[Violation]:
    """List every pin without a hash, or of another version."""
    text = (folder / "hashes.txt").read_text("utf-8")
    hashed = pins(text)
    wanted = pins((folder / "constraints.txt").read_text("utf-8"))
    found = [
        Violation("hashes.txt", f"has {hashed.get(name, 'no')} {name}, not {version}: {_WRITE}")
        for name, version in wanted.items()
        if hashed.get(name) != version
    ]
    found += [
        Violation("hashes.txt", f"has {name}, which constraints.txt does not pin: {_WRITE}")
        for name in sorted(set(hashed) - set(wanted))
    ]
    lines = text.splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if _PIN.match(line) and not _HASH.match(after):
            found.append(Violation("hashes.txt", f"{line.rstrip(' ')}: has no hash: {_WRITE}"))
    return found


def pins(text: str) -> dict[str, str]:
    """List versions by the normal form of a package's name."""
    return {re.sub(r"[-_.]+", "-", name).lower(): found for name, found, _ in _PIN.findall(text)}


def main() -> None:
    """Check the folder named by the first argument, the current one by default."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    end("Hashes", check(folder), "every pinned package has its hashes")


if __name__ == "__main__":
    main()
