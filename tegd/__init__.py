"""The host daemon: the agent side (network, telemetry, agents) and the airlock side (the only one with rights)."""
