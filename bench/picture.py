"""The demo's own output as docs/pictures/demo.svg, its middle windows left out.

make demo ARGS="--seed 3" | tee demo.txt && python -m bench.picture demo.txt "--seed 3"
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "demo.svg"
_FIRST, _LAST, _WIDTH = 6, 8, 104
_WINDOW = re.compile(r"\d{4}-\d\d-\d\dT")


def draw(output: str, arguments: str) -> str:
    """Draw an SVG that loads no font from another server."""
    lines = [line.rstrip() for line in output.splitlines()]
    begin = next(number for number, line in enumerate(lines) if line.startswith("window "))
    windows = [line for line in lines if _WINDOW.match(line)]
    rest = lines[begin + 1 + len(windows) :]
    shown = [lines[begin], *windows[:_FIRST], "…", *windows[-_LAST:], *rest]
    console = Console(record=True, width=_WIDTH, file=io.StringIO())
    console.print(Text("\n".join(shown)))
    form = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    form = form.replace("Fira Code, monospace", "ui-monospace, Menlo, DejaVu Sans Mono, monospace")
    return console.export_svg(title=f'make demo ARGS="{arguments}"', code_format=form)


if __name__ == "__main__":
    output = Path(sys.argv[1]).read_text("utf-8")
    PICTURE.write_text(draw(output, " ".join(sys.argv[2:])), "utf-8")
