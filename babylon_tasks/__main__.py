"""``python -m babylon_tasks`` is the command line, where no script is on the PATH."""

from __future__ import annotations

from babylon_tasks.cli import main

if __name__ == "__main__":
    main()
