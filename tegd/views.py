"""What people are shown of this host's work: built-in types only, every amount in ucr, in sentences in credits."""

from typing import Any

from tegcore.units import NS_PER_S, TICK_NS
from tegcore.wire.records import Reason
from tegd import reasons, submission
from tegd.node import Node
from tegd.workload import Life, Workload


def row(node: Node, work: Workload, now_ns: int) -> dict[str, Any]:
    """One workload."""
    left_ticks = max(0, work.term_end_ns - now_ns) // TICK_NS if work.term_end_ns else 0
    reason, text = reasons.brief(node, work, now_ns)
    seats = list(work.seats) if work.life is Life.AWAY or work.home else []
    return {
        "name": work.name,
        "ref": work.ref,
        "tenant": work.tenant,
        "uid": work.uid,
        "life": work.life.value,
        "state": reasons.state_of(node, work),
        "reason": reason,
        "reason_text": text,
        "age_s": max(0, node.tick - work.submitted_tick) * TICK_NS // NS_PER_S if work.submitted_tick else None,
        "host": node.host,
        "hosts": seats or ([node.host] if work.lease else []),
        "slots": work.shape.slots,
        "share_permille": work.spec.share_permille,
        "limit_ucr": work.limit_ucr,
        "price_ucr": work.price_ucr,
        "purse_ucr": work.purse_ucr,
        "period_ticks": node.zone.period_ticks if node.zone else 0,
        "time_s": work.spec.time_s,
        "requeue": work.spec.requeue,
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
        "seats": seats,
        "saves": max([work.saves, *(word.saves for word in work.words.values())]),
        "argv": list(work.spec.argv),
        "minds_money": node.minds_money(work),
        "market": node.market.name.lower() if node.beat_ns else "",
        "named": work.named,
        "budget_ucr": work.budget_ucr,
        "spent_ucr": work.spent_ucr + work.paid_ucr,
        "low": _low(work),
        "hook_failed": work.hook_failed,
        "note": _note(work),
    }


def _low(work: Workload) -> dict[str, Any]:
    low = work.low
    if not low.until_tick:
        return {}
    return {"reason": Reason(low.reason).name.lower(), "until_tick": low.until_tick, "missing_ucr": low.missing_ucr}


def _note(work: Workload) -> str:
    """What of a workload somebody may have to do something about: a word or two for the list."""
    if work.life is Life.ENDED:
        return ""
    marks = [
        ("money runs out", bool(work.low.until_tick)),
        ("top up", work.life is Life.PARKED),
        ("hook failed", bool(work.hook_failed)),
    ]
    return ", ".join(text for text, there in marks if there)


def why(node: Node, work: Workload, now_ns: int) -> dict[str, Any]:
    """Every reason that a workload waits, with the number that is missing, and what has happened to it."""
    found = [reason.told() for reason in reasons.reasons(node, work, now_ns)]
    history = [{"tick": tick, "ago_ticks": max(0, node.tick - tick), "text": text} for tick, text in work.history]
    said = row(node, work, now_ns) | {"reasons": found, "history": history}
    return said | ({"warnings": warned} if (warned := submission.warned(work.spec)) else {})
