"""What goes into a step and into the held-out set. Pure."""
