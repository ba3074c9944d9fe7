"""Child processes of a process, at any depth, that run a module of ours."""

from __future__ import annotations

import psutil


def descendants(pid: int, module: str) -> list[psutil.Process]:
    """Those whose command line names ``module``; one that ends meanwhile does not count."""
    return [
        child
        for child in psutil.Process(pid).children(recursive=True)
        if module in _command_line(child)
    ]


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie too
        return []
