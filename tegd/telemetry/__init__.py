"""Telemetry of the real host: raw samples, and rates made from two of them."""
