"""Pure scoring: a trajectory and the known outcomes in, a reward in [0, 1] or a reason out."""
