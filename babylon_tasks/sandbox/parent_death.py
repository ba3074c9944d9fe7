"""``python -m babylon_tasks.sandbox.parent_death PARENT PROGRAM...``: end with the parent.

A process killed by SIGKILL cannot stop its children. PR_SET_PDEATHSIG (see prctl(2)) makes the
kernel send this process SIGTERM when its parent dies, and it persists over exec: no polling, no
thread, and the program needs no change. It is set here, not in a preexec_fn, which is not safe
where the parent has threads. "Parent" is the thread that started this process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Bind this process to its parent, then exec the program."""
    parent, *command = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != int(parent):
        raise SystemExit(f"process {parent}, which started this one, has ended already")
    os.execv(command[0], command)  # noqa: S606  # deliberately without a shell


if __name__ == "__main__":
    main()
