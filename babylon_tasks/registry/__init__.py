"""Which checkpoint serves: the gate, and the pointer that promote and rollback move."""
