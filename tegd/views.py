"""What people are shown of this host's work: built-in types only, every amount in ucr, in sentences in credits."""

from typing import Any

from tegcore.units import TICK_NS, credits_text
from tegcore.wire.records import Reason
from tegd.ghosts import RUNNING_MAX
from tegd.modes import Mode
from tegd.node import Node
from tegd.workload import Life, Workload


def row(node: Node, work: Workload, now_ns: int) -> dict[str, Any]:
    """One workload."""
    left_ticks = max(0, work.term_end_ns - now_ns) // TICK_NS if work.term_end_ns else 0
    return {
        "name": work.name,
        "ref": work.ref,
        "tenant": work.tenant,
        "life": work.life.value,
        "slots": work.shape.slots,
        "share_permille": work.spec.share_permille,
        "limit_ucr": work.limit_ucr,
        "price_ucr": work.price_ucr,
        "purse_ucr": work.purse_ucr,
        "lease": work.lease,
        "token": work.token,
        "blocks": [list(block) for block in work.blocks],
        "mem_bytes": work.held_bytes,
        "mass": work.mass_micro / 1e6,
        "run": node.runs.get(work.airlock_id, "") if work.token else "",
        "term_left_ticks": left_ticks,
        "rounds": node.agents[work.ref].search.rounds,
        "exit_code": work.exit_code,
        "outcome": work.outcome,
        "home": work.home,
        "rank": work.rank,
        "stay": work.stay.value,
        "trip": work.trip.value,
        "seats": list(work.seats) if work.life is Life.AWAY or work.home else [],
        "saves": max([work.saves, *(word.saves for word in work.words.values())]),
        "argv": list(work.spec.argv),
    }


_EXPLAINED = {
    "NO_FIT": "no block of {missing} slots fits where it looked",
    "PRICE": "its limit is {credits} credits per slot and period short of the price, {price}",
    "FUNDS": "its account is {credits} credits short of the endowment",
    "ENDOWMENT": "its endowment is {credits} credits short of one period at its limit",
    "TENANT": "the ledger knows no such tenant: `tegctl accounts` opens the account",
    "REGION": "the region that it asked for does not exist in this zone",
    "SHAPE": "no block can have the shape that it asks for",
    "BUSY": "more bids than a tick clears; it tries again after tick {until}",
    "ADMISSION": "the governor has closed admission; it tries again after tick {until}",
    "EVICTING": "it has won its block; the holders must leave by tick {until}",
    "BANKRUPT": "its purse ran out: `tegctl top-up` with at least {credits} credits",
    "STAYED": "the holders of its block could not leave",
}


def why(node: Node, work: Workload, now_ns: int) -> dict[str, Any]:
    """Every reason that a workload waits, with the number that is missing, and what has happened to it."""
    reasons = []
    if work.life not in {Life.SEATED, Life.ENDED}:
        waits = work.waits
        if text := _EXPLAINED.get(waits.reason):
            amounts = {"credits": credits_text(waits.missing), "price": credits_text(waits.price_ucr)}
            text = text.format(missing=waits.missing, until=waits.until_tick, **amounts)
            reasons.append({"reason": waits.reason.lower(), "missing": waits.missing, "text": text})
        if node.mode is not Mode.RUN:
            silent_s = (now_ns - node.beat_ns) / 1e9 if node.beat_ns else 0.0
            heard = f"was last heard {silent_s:.1f} s ago" if node.beat_ns else "has not been heard yet"
            text = f"tegd is in mode {node.mode.value}: the ledger {heard}; do broker and ledger run?"
            reasons.append({"reason": "mode", "missing": round(silent_s), "text": text})
        for host, (_, _, cause) in work.avoided.items():
            reasons.append(
                {"reason": "avoided", "missing": 0, "text": f"it avoids {host}, which cannot run it: {cause}"}
            )
        if work.tenant not in node.tokens:
            text = f"this host holds no token of tenant {work.tenant!r}"
            reasons.append({"reason": "token", "missing": 1, "text": text})
        if work.life is Life.SEEKING and node.busy >= RUNNING_MAX:
            text = f"this host runs {node.busy} jobs, the most that it holds: it waits until one ends"
            reasons.append({"reason": "host_full", "missing": node.busy - RUNNING_MAX + 1, "text": text})
        search = node.agents[work.ref].search
        if work.life is Life.SEEKING and search.next_cycle > node.cycle:
            pause = search.next_cycle - node.cycle
            text = f"it asks again in {pause} ticks, after {search.rounds} rounds"
            reasons.append({"reason": "pause", "missing": pause, "text": text})
    elif work.waits.reason.startswith("EXPAND"):
        text = f"its last expansion was refused: {work.waits.reason.removeprefix('EXPAND ').lower()}"
        reasons.append({"reason": work.waits.reason.lower(), "missing": work.waits.missing, "text": text})
    if work.life is Life.LEAVING:
        leaving = Reason(work.why_leaving).name.lower()
        reasons.append({"reason": leaving, "missing": 0, "text": f"it is leaving its seat: {leaving}"})
    history = [{"tick": tick, "text": text} for tick, text in work.history]
    return row(node, work, now_ns) | {"reasons": reasons, "history": history}
