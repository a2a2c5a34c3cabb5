"""Stand-ins for real cameras, each a process of its own, for tests and the benchmark of faults."""
