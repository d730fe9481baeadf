"""Changing what a workload asks for while it waits or runs.

Who waits asks anew at once. Who runs on this host has a new bid in force with its next renewal, which is sent at once,
and more memory as soon as the ledger promises it; less is given back as use allows. Work that sits on other hosts, or
whose order is out, has what is changed from its next order on: what its seats hold was agreed there.
"""

from typing import NamedTuple

import msgspec

from tegcore.errors import RefusedError
from tegcore.units import PRICE_UCR_MAX, credits_text
from tegcore.wire.control import UpdateWorkload
from tegcore.wire.records import Expand, Op
from tegd.effects import Effect, Keep
from tegd.node import Node
from tegd.possible import demand_possible, gib
from tegd.reasons import period_ucr, price_text
from tegd.workload import ENDOW_PERIODS, Life, Waits, Workload


class Updated(NamedTuple):
    """What is to be done, and what it comes to in words."""

    effects: list[Effect]
    text: str


def update(node: Node, work: Workload, wanted: UpdateWorkload, now_ns: int) -> Updated:
    """Change what a workload asks for.

    Raises:
        RefusedError: If it is over, is another host's, or could never have what it would ask for.
    """
    if work.home:
        raise RefusedError(f"{work.name} was submitted on {work.home}", f"change it there: `tegctl --on {work.home} …`")
    if work.life is Life.ENDED or work.cancelled:
        raise RefusedError(f"{work.name} is over: nothing of it can be changed", "submit it again")
    limit_ucr = _limit(node, wanted)
    if limit_ucr is None and wanted.mem_bytes is None:
        raise RefusedError("nothing is to be changed", "name --bid or --mem")
    spec = work.spec
    if wanted.mem_bytes is not None:
        spec = msgspec.structs.replace(spec, mem_bytes=wanted.mem_bytes)
        demand_possible(spec, node.known_stock(), node.offers if work.stays_home else None)
    if limit_ucr is not None:
        spec = msgspec.structs.replace(spec, limit_ucr=limit_ucr)
    work.spec = spec
    said = []
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
    return Updated([Keep(work)], f"{', '.join(said)}; {_from_when(work)}")


def _limit(node: Node, wanted: UpdateWorkload) -> int | None:
    if wanted.limit_hour_ucr is None:
        return wanted.limit_ucr
    if node.zone is None:
        raise RefusedError("the ledger has not said yet how long a period is", "try again when it is heard")
    limit_ucr = period_ucr(wanted.limit_hour_ucr, node.zone.period_ticks)
    if not 1 <= limit_ucr <= PRICE_UCR_MAX:
        raise RefusedError(f"{credits_text(wanted.limit_hour_ucr)} credits per GPU-hour is out of range", "bid another")
    return limit_ucr


def _bid(node: Node, work: Workload, limit_ucr: int, hour_ucr: int | None) -> str:
    agent = node.agents[work.ref]
    if not work.lease and not work.spec.endow_ucr:
        work.endow_ucr = ENDOW_PERIODS * work.charge_ucr(limit_ucr)
    if limit_ucr:
        work.limit_ucr = limit_ucr
        if not work.lease:
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


def _memory(node: Node, work: Workload, now_ns: int) -> str:
    agent, wanted = node.agents[work.ref], work.spec.mem_bytes * work.slots_here
    more = wanted - work.held_bytes
    if work.life is Life.SEATED and more > 0 and not agent.expand_seq and node.zone is not None:
        ask = Expand(work.lease, work.token, node.zone.host_id, more, max(1, work.purse_ucr))
        agent.expand_seq = node.link.put(Op.EXPAND, ask, now_ns)
    return f"memory {gib(work.spec.mem_bytes)} GiB a slot"


def _from_when(work: Workload) -> str:
    match work.life:
        case Life.SEATED:
            return "asked of the ledger; `why` says if it is refused"
        case Life.ORDERED | Life.WAITING:
            return "from its next order on: one is out already"
        case Life.AWAY:
            return "from its next start on: it runs on other hosts"
        case Life.LEAVING:
            return "from its next start on"
        case _:
            return "it asks anew"
