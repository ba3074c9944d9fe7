"""What `make check` asks of everything that is not Python: one module a kind of file."""
