"""Check that all packages are pinned by version and hash: ``python -m checks.pins [FOLDER]``.

hashes.txt pins what constraints.txt pins; typescript/ names no range, and its lock no registry.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from checks.violations import Violation, end, folder

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+?)( \\)?$", re.MULTILINE)
_EXACT = re.compile(r"\d+\.\d+\.\d+")
_HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")
_WRITE = "run `make constraints`"


def check(root: Path) -> list[Violation]:
    """List every pin without a hash, or of another version."""
    text = (root / "hashes.txt").read_text("utf-8")
    hashed = pins(text)
    wanted = pins((root / "constraints.txt").read_text("utf-8"))
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


def check_npm(root: Path) -> list[Violation]:
    """List every package of npm that is not pinned by version and hash, or names its registry."""
    wanted = json.loads((root / "package.json").read_text("utf-8"))
    lock = json.loads((root / "package-lock.json").read_text("utf-8"))["packages"]
    found = []
    for kind in ("dependencies", "devDependencies"):
        for name, version in wanted[kind].items():
            if not _EXACT.fullmatch(version):
                found.append(Violation("package.json", f"{name}: {version} is a range: pin one"))
        if lock[""].get(kind) != wanted[kind]:
            found.append(Violation("package-lock.json", f"has other {kind}: run `npm install`"))
    for name, package in lock.items():
        if name and not str(package.get("integrity", "")).startswith("sha512-"):
            found.append(Violation("package-lock.json", f"{name}: has no hash"))
        if "resolved" in package:
            found.append(Violation("package-lock.json", f"{name}: names a registry"))
    return found


def pins(text: str) -> dict[str, str]:
    """List versions by the normal form of a package's name."""
    return {re.sub(r"[-_.]+", "-", name).lower(): found for name, found, _ in _PIN.findall(text)}


if __name__ == "__main__":
    found = check(folder()) + check_npm(folder() / "typescript")
    end("Hashes", found, "every pinned package has its hashes")
