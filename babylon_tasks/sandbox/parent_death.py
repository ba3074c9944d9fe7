"""``python -m babylon_tasks.sandbox.parent_death PARENT PROGRAM...``: it ends with its parent.

Whoever starts processes may be killed by SIGKILL and then stops nobody. PR_SET_PDEATHSIG (see
prctl(2)) makes the kernel send this process SIGTERM when its parent dies, and it holds over exec:
nothing to watch, no thread, and the program knows nothing of it. Set here, not in a preexec_fn,
which is not safe where the parent has threads. "Parent" is the thread that started this process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Bind this process to its parent, then become the program."""
    parent, *command = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != int(parent):
        raise SystemExit(f"process {parent}, which started this one, has ended already")
    os.execv(command[0], command)  # noqa: S606  # no shell is what is wanted


if __name__ == "__main__":
    main()
