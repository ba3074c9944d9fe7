"""The programs inside the servers' wheels, made executable for the servers' user."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from babylon_tasks.errors import SandboxError
from babylon_tasks.sandbox.server_user import child_options, hand_over


class Programs:
    """Programs by package and path; copied into ``home`` where the servers' user needs that."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._found: dict[str, Path] = {}

    def find(self, package: str, path: str) -> Path:
        """Find a program by its path in the package (a glob); raises SandboxError."""
        if path not in self._found:
            self._found[path] = self._runnable(package, path)
        return self._found[path]

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program to its end as the servers' user, within a minute."""
        return subprocess.run(
            [str(part) for part in command],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            **child_options(self._home),
        )

    def _runnable(self, package: str, path: str) -> Path:
        spec = find_spec(package)  # not imported: some of these packages run code at import
        if spec is None or not spec.submodule_search_locations:
            raise SandboxError(
                f"the sandbox needs the package {package.replace('_', '-')}; "
                "install babylon-tasks[sandbox]"
            )
        origin = Path(spec.submodule_search_locations[0])
        program = next(origin.glob(path), None)
        if program is None:
            raise SandboxError(f"{origin} has no {path}; reinstall babylon-tasks[sandbox]")
        if self._runs(program):
            return program
        copies = self._home / "programs"
        copy = copies / program.relative_to(origin.parent)
        if not self._runs(copy):
            shutil.rmtree(copies, ignore_errors=True)
            # A repaired wheel has its libraries in a folder beside the package.
            for folder in (origin, origin.with_name(f"{package}.libs")):
                if folder.exists():
                    shutil.copytree(folder, copies / folder.name, symlinks=True)
            hand_over(copies)
        if not self._runs(copy):
            raise SandboxError(
                f"{program} cannot be run by the servers' user, nor its copy "
                f"{copy}; is {self._home} on a file system mounted noexec?"
            )
        return copy

    def _runs(self, program: Path) -> bool:
        try:
            return self.run(program, "--version").returncode == 0
        except (PermissionError, FileNotFoundError):
            return False
