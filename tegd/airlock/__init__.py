"""The airlock side: starts, freezes, thaws, signals and ends workloads; survives kill -9 at any instruction."""
