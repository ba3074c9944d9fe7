"""Everything that `demo` and `up` run on this machine: servers, stack, agents."""
