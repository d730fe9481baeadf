"""Mass (11), by the ledger's own law, and charge (12) of an agent, as numbers for its motion."""

from tegcore.economics.fixed import mass_micro

MICRO = 1e6


def mass(mem_bytes: int, endow_ucr: int, slots: int) -> float:
    """Inertial mass (11), never below 1: a ghost's declared mass is its inertia in flight."""
    return max(1.0, mass_micro(mem_bytes, endow_ucr, slots) / MICRO)


def charge(sla_priority: float, risk: float) -> float:
    """Q = sla_priority (1 + risk) (12); risk is the predicted chance of missing the SLA, in [0, 1]."""
    return sla_priority * (1.0 + min(1.0, max(0.0, risk)))
