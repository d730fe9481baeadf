"""One run of a load: jobs come for their time, then all is let come to its end."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from tegsim.load.jobs import Load
from tegsim.load.zone import Setting, Zone

OnBatch = Callable[[int, bytes, bytes], None]


def run(
    setting: Setting, load: Load, seed: int, drain_s: float = 0.0, on_batch: OnBatch | None = None
) -> dict[str, Any]:
    """What came of a load, as JSON has it.

    Args:
        setting: Of the zone.
        load: What comes.
        seed: Of all draws.
        drain_s: How long at most all that came is let come to its end.
        on_batch: An auditor; see `Zone`.

    Returns:
        Inputs; `slots`, shares of the slot-seconds in which jobs came; the rest as it was at the end. Credits were
        conserved after every movement, by the ledger's own assertions, or there is no result.
    """
    zone = Zone(setting, load, seed, on_batch)
    zone.run(load.seconds)
    shares = zone.seen.shares()
    zone.drain(drain_s)
    zone.ledger.engine.check()
    money = zone.state.accounts
    booked = {
        "minted": money.minted,
        "balances": sum(money.balances.values()),
        "escrow": money.escrow,
        "evaporated": money.evaporated,
    }
    inputs = {"setting": asdict(setting), "load": asdict(load), "seed": seed, "drain_s": drain_s}
    return {**inputs, **zone.seen.summary(), "slots": shares, "ucr": booked, "state": zone.state.hash().hex()}
