"""ART training in a process of its own, and the supervisor that watches it."""
