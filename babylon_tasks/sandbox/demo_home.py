"""The folder of a demo's data and logs: removed at its end, unless wanted or something failed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from babylon_tasks.owned_folder import make_owned_folder
from babylon_tasks.sandbox.server_user import temporary_folder

_PREFIX = "babylon-demo-"


@contextmanager
def demo_home(keep: Path | None, news: Callable[[str], None]) -> Iterator[Path]:
    """Provide ``keep``, or a folder that is removed; where something fails, the news names it.

    What a failed demo has left goes with the next one.
    """
    home = keep or _temporary_home()
    try:
        yield home
    except KeyboardInterrupt:
        if keep is None:
            shutil.rmtree(home)
            news("stopped; nothing of it remains, --keep DIR would have kept data and logs")
        raise
    except BaseException:
        until = "" if keep else ", until the next demo"
        news(f"the data and logs remain in {home}{until}")
        raise
    if keep is None:
        shutil.rmtree(home)


def _temporary_home() -> Path:
    # As root, the servers run as another user, who must be able to reach it: otherwise their data
    # would go to another folder and remain.
    home = make_owned_folder(_PREFIX, temporary_folder())
    home.chmod(0o711)
    return home
