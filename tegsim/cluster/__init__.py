"""A cluster whose parts can fail: the cores of all programs behind simulated brokers, disks, clocks and processes."""
