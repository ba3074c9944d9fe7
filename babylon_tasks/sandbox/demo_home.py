"""The folder of a demo's data and logs: removed at its end, unless wanted or something failed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def demo_home(keep: Path | None, news: Callable[[str], None]) -> Iterator[Path]:
    """Provide ``keep``, or a folder that is removed; where something fails, the news names it."""
    home = keep or _temporary_home()
    try:
        yield home
    except BaseException:
        news(f"the data and logs remain in {home}")
        raise
    if keep is None:
        shutil.rmtree(home)


def _temporary_home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="babylon-demo-"))
    # As root, the servers run as another user, who must be able to traverse it: otherwise their
    # data would go to another folder and remain.
    home.chmod(0o711)
    return home
