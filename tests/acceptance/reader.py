"""Somebody who types what a document says, block by block, into one shell."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from acceptance.harness import PATIENCE, until
from documents import Block, says

# Where the code under test is, where files may lie, which clock it lives by (`make test-clock`).
INHERITED = ("PYTHONPATH", "TMPDIR", "LD_PRELOAD")
_END = "--- end of block, code "


class Reader:
    """A bash in a folder of its own; a context manager that leaves none of its jobs behind."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], programs: Sequence[Path] = ()
    ) -> None:
        self.folder = folder
        self.given = dict(environment)
        programs = [str(Path(sys.executable).parent), *(str(path) for path in programs)]
        own = {
            "PATH": os.pathsep.join([*programs, os.environ["PATH"]]),
            "HOME": str(folder),
            "LANG": "C.UTF-8",
        }
        inherited = {k: v for k, v in os.environ.items() if k in INHERITED}
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={**inherited, **own, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGTERM)
            time.sleep(0.1 if kind is None else 3)
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait(60)
        for pipe in (self._shell.stdin, self._shell.stdout):
            assert pipe is not None
            pipe.close()

    def type(self, text: str) -> str:
        """Type something that no document says; it must succeed."""
        return self._typed(Block("the test itself", 0, "sh", text, "", None, None))

    def follow(self, block: Block) -> str:
        """Type a block in and see what was promised; returns what was printed."""
        if block.marker.startswith("again"):
            tried: list[str] = []

            def as_promised() -> bool:
                tried[:] = [self._typed(block)]
                return says(tried[0], block.expected or "")

            try:
                until(f"{block.where} prints what it promises", as_promised, PATIENCE)
            except AssertionError as error:
                raise AssertionError(f"{error}; it printed:\n{tried[0]}") from None
            return tried[0]
        output = self._typed(block)
        if block.expected is not None:
            assert says(output, block.expected), (
                f"{block.where} promises\n{block.expected}\nand printed\n{output}"
            )
        return output

    def _typed(self, block: Block) -> str:
        script = self.folder / ".block.sh"
        script.write_text(block.text, "utf-8")
        expected = re.search(r"exit code (\d+)", block.marker)
        code = 0 if expected is None else int(expected[1])
        stop = "set -eo pipefail;" if code == 0 else "set +e;"
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(
            f"{stop} source {script} </dev/null; code=$?; set +e; echo; echo '{_END}'$code\n"
        )
        lines: list[str] = []
        for line in self._shell.stdout:
            if line.startswith(_END):
                ended = int(line.removeprefix(_END))
                break
            lines.append(line)
        else:
            ended = self._shell.wait(60)
        output = "".join(lines[:-1] if lines and lines[-1] == "\n" else lines)
        assert ended == code, f"{block.where} ended with {ended}:\n{block.text}\n{output}"
        return output
