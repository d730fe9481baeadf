"""Motion of agents: Langevin dynamics, mass and charge."""
