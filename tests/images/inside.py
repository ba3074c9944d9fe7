"""Run in a container: what its process is, what it may do, and what its image holds; as JSON.

Arguments: modules, programs and folders to look for, each a list with spaces.
"""

import importlib.util
import json
import os
import pathlib
import shutil
import sys


def writable(path: str) -> bool:
    """Whether a file can be made there."""
    try:
        file = pathlib.Path(path, "probe")
        file.write_text("x")
        file.unlink()
    except OSError:
        return False
    return True


import babylon_tasks.tasks.app  # noqa: E402, F401  # what each process imports
from babylon_tasks.db.migrate import migrations  # noqa: E402

modules, programs, folders = (argument.split() for argument in sys.argv[1:])
loaded = [name for name in modules if name in sys.modules]
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
print(
    json.dumps(
        {
            "user": [os.getuid(), os.getgid()],
            "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
            "no_new_privileges": status["NoNewPrivs"],
            "writable": [folder for folder in folders if writable(folder)],
            "modules": [name for name in modules if importlib.util.find_spec(name)],
            "loaded": loaded,
            "programs": [name for name in programs if shutil.which(name)],
            "pip.conf": pathlib.Path("/etc/pip.conf").exists(),
            "migrations": [one.name + one.checksum for one in migrations()],
        }
    )
)
