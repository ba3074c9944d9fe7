"""Liveness, readiness and metrics of one process."""
