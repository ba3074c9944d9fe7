"""The use cases: one file for each, over `db` and the pure layers."""
