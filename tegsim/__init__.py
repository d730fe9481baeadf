"""The simulator: the cores of ledger, agents and governor, unchanged, on a virtual clock and a network in memory."""
