"""How many a list shows at most, and the largest number that an option takes."""

from __future__ import annotations

from typing import Annotated

import typer

MOST = 1_000_000_000  # Postgres' integer has room for it, and for one more

Limit = Annotated[int, typer.Option(min=1, max=MOST, help="At most this many.")]
