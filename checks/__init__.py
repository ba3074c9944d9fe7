"""The checks of `make check` on everything that is not Python; drift/ compares it with the code."""
