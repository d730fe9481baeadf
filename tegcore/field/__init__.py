"""The potential field: dual numbers, kernels, geometry of the zone, entropy of a host."""
