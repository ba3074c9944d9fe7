"""The use cases: one file for each, over `db` and the layers that do no I/O."""
