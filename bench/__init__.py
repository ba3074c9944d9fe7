"""Benchmarks on real parts; each prints what it measured, and on what."""
