"""Faults: each strikes, waits where its effect must be seen, and ends what can be ended.

A generator: before ``yield`` it strikes, while the system is held at a point; after it the point
has been released.
"""
