"""Changing what a workload asks for while it waits or runs.

Who waits asks anew at once. Who runs on this host has a new bid in force with its next renewal, which is sent at once,
and more memory as soon as the ledger promises it; less is given back as use allows. Work that sits on other hosts, or
whose order is out, has what is changed from its next order on: what its seats hold was agreed there.

A time limit is also changed where it runs, at once, but only to less: others were promised slots by what was declared.
More is an operator's to give, who tells the ledger so first.
"""

from typing import NamedTuple

import msgspec

from tegcore.errors import RefusedError
from tegcore.units import credits_text
from tegcore.wire.control import UpdateWorkload
from tegcore.wire.records import Reason
from tegd.effects import Effect, Keep
from tegd.node import Node
from tegd.possible import demand_possible, gib
from tegd.reasons import price_text
from tegd.submission import price_by_hour
from tegd.workload import Life, Waits, Workload


class Updated(NamedTuple):
    """What is to be done, and what it comes to in words."""

    effects: list[Effect]
    text: str


_MORE_TIME = (Life.SEATED, Life.AWAY, Life.LEAVING)
_ON_ITS_WAY = (Life.ORDERED, Life.WAITING)


def update(node: Node, work: Workload, wanted: UpdateWorkload, now_ns: int) -> Updated:
    """Change what a workload asks for.

    Raises:
        RefusedError: If it is over, is another host's, could never have what it would ask for, or runs and would have
            more time than it declared.
    """
    _demand_own(work)
    limit_ucr = _limit(node, wanted)
    if (limit_ucr, wanted.mem_bytes, wanted.budget_ucr, wanted.time_s) == (None, None, None, None):
        raise RefusedError("nothing is to be changed", "name --bid, --budget, --mem or --time")
    if wanted.budget_ucr is not None and work.has_purse:
        raise RefusedError(
            f"{work.name} has credits set aside (--endow), which are all that it pays: it has no --budget to change",
            f"add to them from its tenant's account: `tegctl top-up {work.name} {credits_text(wanted.budget_ucr)}`",
        )
    if wanted.time_s is not None:
        _demand_time(work, wanted.time_s, told=wanted.told)
    asked = {"mem_bytes": wanted.mem_bytes, "limit_ucr": limit_ucr, "budget_ucr": wanted.budget_ucr}
    changes = {name: value for name, value in (asked | {"time_s": wanted.time_s}).items() if value is not None}
    spec = msgspec.structs.replace(work.spec, **changes)
    if wanted.mem_bytes is not None:
        demand_possible(spec, node.known_stock(), node.offers if work.stays_home else None)
    said, effects = [], []
    if wanted.budget_ucr is not None:
        said.append(
            f"budget {credits_text(wanted.budget_ucr)}" if wanted.budget_ucr else "no budget of its own any more"
        )
        effects = _budget(node, work, wanted.budget_ucr)
    work.spec = spec
    if wanted.time_s is not None:
        said.append(_time(node, work, now_ns, told=wanted.told))
    if limit_ucr is not None:
        said.append(_bid(node, work, limit_ucr, wanted.limit_hour_ucr))
    if wanted.mem_bytes is not None:
        said.append(_memory(node, work, now_ns))
    if work.life is Life.PARKED:
        work.become(Life.SEEKING, node.tick, "changed: seeks again")
    if work.life is Life.SEEKING:
        work.waits = Waits()
        node.seek_again(work)
    work.note(node.tick, f"changed: {', '.join(said)}")
    return Updated([*effects, Keep(work)], f"{', '.join(said)}; {_from_when(work)}")


def _demand_own(work: Workload) -> None:
    """Refuse what is not this host's to change, or over.

    Raises:
        RefusedError: Says which.
    """
    if work.home:
        raise RefusedError(
            f"{work.name} runs here for host {work.home}, where it was submitted: it is changed there only",
            f"the same with --on: `tegctl --on {work.home} update {work.name} …`",
        )
    if work.life is Life.ENDED or work.cancelled:
        raise RefusedError(
            f"{work.name} is over (ended or cancelled): nothing of it can be changed",
            "submit it again, with the new numbers: `tegctl run … -- COMMAND`",
        )


def _time(node: Node, work: Workload, now_ns: int, *, told: bool) -> str:
    """What runs is to end as it now declares."""
    if work.lease and not told:
        node.shorten(work, work.lease, work.token, now_ns)
    return f"time limit {work.spec.time_s} s"


def _demand_time(work: Workload, time_s: int, *, told: bool) -> None:
    """Refuse what would run past what it declared.

    Raises:
        RefusedError: If it runs, or is about to, and it would have more time; or its time is over.
    """
    if work.life is Life.LEAVING and work.why_leaving == Reason.TIME:
        raise RefusedError(
            f"the time limit of {work.name} is over, and it is being ended",
            f"submit it again with a larger --time; `tegctl logs {work.name}` shows what it wrote",
        )
    more = 0 < work.spec.time_s < time_s
    if more and work.life in _ON_ITS_WAY:
        raise RefusedError(
            f"slots are being taken for {work.name} right now, for {work.spec.time_s} s: it can only have less",
            "give the same command again in a few seconds, or --time with less",
        )
    if more and work.life in _MORE_TIME and not told:
        raise RefusedError(
            f"{work.name} runs, for {work.spec.time_s} s at most: while it runs that can only become less, as others "
            "were promised slots by it",
            f"ask an operator to run `tegctl update {work.name} --time {time_s}s`, or submit it again with a larger "
            "--time",
        )


def _limit(node: Node, wanted: UpdateWorkload) -> int | None:
    if wanted.limit_hour_ucr is None:
        return wanted.limit_ucr
    return price_by_hour(wanted.limit_hour_ucr, node.zone.period_ticks if node.zone else 0)


def _bid(node: Node, work: Workload, limit_ucr: int, hour_ucr: int | None) -> str:
    agent = node.agents[work.ref]
    if limit_ucr:
        work.bid_up_to(limit_ucr)
    if work.life is Life.SEATED and node.zone is not None:
        agent.renew_cycle = node.cycle - node.zone.renew_ticks
    period = node.zone.period_ticks if node.zone else 0
    if not limit_ucr:
        return "no bid of its own any more"
    if hour_ucr is None and not period:
        return f"bid {credits_text(limit_ucr)}"
    hourly = price_text(limit_ucr, period) if hour_ucr is None else credits_text(hour_ucr)
    return f"bid {hourly} per GPU-hour"


def _budget(node: Node, work: Workload, budget_ucr: int) -> list[Effect]:
    """More of a budget goes to its lease as a top-up does; less, or a first one, holds from its next start on."""
    more_ucr = budget_ucr - work.budget_ucr
    if work.expects_money and work.has_budget and more_ucr > 0:
        return node.top_up(work, more_ucr, min([0, *work.top_ups]) - 1)
    work.budget_ucr = budget_ucr
    return []


def _memory(node: Node, work: Workload, now_ns: int) -> str:
    agent, wanted = node.agents[work.ref], work.spec.mem_bytes * work.slots_here
    more = wanted - work.held_bytes
    if work.life is Life.SEATED and more > 0 and not agent.expand_seq and node.zone is not None:
        node.ask_memory(work, more, now_ns)
    return f"memory {gib(work.spec.mem_bytes)} GiB a slot"


def _from_when(work: Workload) -> str:
    match work.life:
        case Life.SEATED:
            return f"asked of the scheduler (zone-ledger); `tegctl why {work.name}` says if it is refused"
        case Life.ORDERED | Life.WAITING:
            return "it holds from its next start on: slots are being taken for it already"
        case Life.AWAY:
            return "it holds from its next start on: it runs on other hosts"
        case Life.LEAVING:
            return "it holds from its next start on"
        case _:
            return "it asks anew"
