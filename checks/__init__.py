"""What `make check` asks of everything that is not Python; drift/ compares it with the code."""
