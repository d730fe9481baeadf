"""Who leaves, and what becomes of the order that waits for it: every case is a row of one table.

An order that wins leased slots holds a reservation: the free part of its blocks is seated under it, its incumbents are
locked, its endowment stays held. From there it ends in FILLED or REFUSED, by one of the rows below and no other way.
"""

from enum import Enum
from typing import NamedTuple

from tegcore.economics.fixed import prorated_ucr
from tegcore.wire.records import Evicting, Notice, Op, Reason, Refused, Withdrawn
from zone_ledger.clearing import Won
from zone_ledger.leases import Lease, LeaseState, Order, Pays, charge_ucr
from zone_ledger.placement import reservation_number, reserve
from zone_ledger.settlement import end, spare
from zone_ledger.state import State

TAKEN_BACK = frozenset({Reason.CHALLENGED, Reason.DRAINED})
"""Why a lease has a notice that can be taken back; any other reason stands, and takes the place of these."""


class Situation(Enum):
    """What can happen while an order waits for incumbents to leave."""

    ALL_CLEAR = "every incumbent has left"
    DEADLINE = "the deadline passed, an incumbent has not left"
    SURE_END = "the deadline, moved to the sure end of the terms, passed as well"
    STAYS = "an incumbent cannot leave"
    CHALLENGER_GONE = "the order was cancelled, or its host started anew"
    TAKEN = "every incumbent has left, and others hold shares of its slots that were free beside them"


class Ruling(NamedTuple):
    """What follows.

    Attributes:
        order: `filled`, `refused`, or `waits`.
        incumbents: `gone`, `ended` (their terms are over), `stay` (held again, unless it must leave anyway), `leave`
            (notice stands), or `held` (notice is taken back, unless it must leave anyway or has left in part: under
            rule set 1 it stands).
        reason: Of the refusal.
    """

    order: str
    incumbents: str
    reason: Reason = Reason.OK


OUTCOMES: dict[Situation, Ruling] = {
    Situation.ALL_CLEAR: Ruling("filled", "gone"),
    Situation.DEADLINE: Ruling("waits", "leave"),
    Situation.SURE_END: Ruling("filled", "ended"),
    Situation.STAYS: Ruling("refused", "stay", Reason.STAYED),
    Situation.CHALLENGER_GONE: Ruling("refused", "held", Reason.CANCELLED),
    Situation.TAKEN: Ruling("refused", "gone", Reason.BUSY),
}


def begin(state: State, won: Won) -> None:
    """Give notice to the incumbents of an order that has won leased slots."""
    order, incumbents = won.order, [state.leases[number] for number in won.placement.displaced]
    order.blocks, order.price_ucr = won.placement.blocks, won.price_ucr
    order.rule = won.rule
    order.incumbents = [lease.number for lease in incumbents]
    order.protected_until = max(
        (lease.protected_until for lease in incumbents if lease.number == order.leaves), default=0
    )
    save_ticks = min(max(lease.traits.save_ticks for lease in incumbents), state.term_ticks)
    deadline = state.tick + max(state.genesis.notice_ticks, save_ticks)
    if state.rules.named_displace:
        _hold_notice(state, order, incumbents, deadline)
    state.await_exit(order, deadline)
    state.counters.evicting += 1
    for lease in incumbents:
        lease.challenger = order.key
        lease.noticed = state.tick if state.rules.named_displace and lease.number != order.leaves else 0
        state.counters.evictions += 1
        give_notice(state, lease, Reason.CHALLENGED, order.deadline)
    state.emit(order.key.host, Op.EVICTING, Evicting(order.ref, order.deadline, order.price_ucr))


def set_aside(state: State, order: Order, amount_ucr: int) -> None:
    """Escrow what an order pays for a notice: from its account, and what that does not have from its purse."""
    from_account_ucr = min(amount_ucr, state.accounts.balances[order.tenant])
    state.accounts.hold(order.tenant, from_account_ucr)
    order.held_ucr -= amount_ucr - from_account_ucr
    order.notice_ucr = amount_ucr


def take_back(state: State, order: Order) -> None:
    """What was set aside for a notice returns to where it came from."""
    of_purse_ucr = order.endow_ucr - order.held_ucr if order.pays is Pays.PURSE else 0
    order.held_ucr += of_purse_ucr
    state.accounts.give_back(order.tenant, order.notice_ucr - of_purse_ucr)
    order.notice_ucr = 0


def _hold_notice(state: State, order: Order, incumbents: list[Lease], deadline: int) -> None:
    """Escrow what those that an order displaces cost until the deadline.

    What was set aside reaches for the price that it won at; memory that they hold beyond that is paid as far as it has
    money.
    """
    period, ticks = state.genesis.period_ticks, deadline - state.tick
    spans = 1 + ticks // period
    others = [lease for lease in incumbents if lease.number != order.leaves]
    wanted_ucr = sum(prorated_ucr(lease.charge_ucr, ticks, period) + spans for lease in others)
    if others:
        wanted_ucr = max(wanted_ucr, prorated_ucr(charge_ucr(order.price_ucr, order.shape), ticks, period))
    take_back(state, order)
    purse_ucr = max(0, order.held_ucr - order.bid_ucr) if order.pays is Pays.PURSE else 0
    set_aside(state, order, min(wanted_ucr, state.accounts.balances[order.tenant] + purse_ucr))
    if order.pays is Pays.PURSE:
        order.endow_ucr = order.held_ucr
    order.won = state.tick


def _pay_for_blocking(state: State, order: Order) -> None:
    """Who won slots and goes pays what it won them at, for the time in which nobody else could have them.

    Else one's own lease is kept from every rival by winning it again and again, at no more than its rent.
    """
    ticks, price = state.tick - order.won, charge_ucr(order.price_ucr, order.shape)
    due_ucr = prorated_ucr(price, ticks, state.genesis.period_ticks) - order.spared_ucr
    amount_ucr = max(0, min(due_ucr, order.notice_ucr))
    order.notice_ucr -= amount_ucr
    state.accounts.evaporate(amount_ucr)


def give_notice(state: State, lease: Lease, why: Reason, deadline: int | None = None) -> None:
    """A lease must leave: RENEW is refused from now on, its limit is fixed, nothing else can challenge it."""
    if deadline is None:
        deadline = state.tick + max(state.genesis.notice_ticks, min(lease.traits.save_ticks, state.term_ticks))
    lease.state, lease.deadline, lease.why = LeaseState.EVICTING, deadline, why
    state.changed(lease)
    state.refresh_threshold(lease)
    state.tell(lease, Op.NOTICE, Notice(lease.number, lease.token, deadline, why))


def left(state: State, lease: Lease, why: Reason) -> Order | None:
    """End a lease; the order that waited for it and has all its slots now, if there is one.

    While other incumbents are still there, what this one has freed of the order's blocks is reserved at once.
    """
    end(state, lease, why)
    order = state.orders.get(lease.challenger) if lease.challenger else None
    if order is None:
        return None
    order.incumbents.remove(lease.number)
    state.rows.orders.mark(order.key)
    if not order.incumbents:
        return order
    release_reservation(state, order)
    for part, block in enumerate(order.blocks):
        reserve(state.book, order, part, block, order.incumbents)
    return None


def rule(state: State, order: Order, situation: Situation) -> bool:
    """Apply the row of a situation; True if the order is to be filled now."""
    ruling = OUTCOMES[situation]
    incumbents = [state.leases[number] for number in order.incumbents]
    state.rows.leases.mark_all(order.incumbents)
    if ruling.order == "waits":
        order.extended = True
        state.await_exit(order, max(state.sure_end(lease) for lease in incumbents))
    for lease in incumbents:
        match ruling.incumbents:
            case "ended":
                end(state, lease, Reason.EXPIRED)
            case "stay" if lease.why is Reason.CHALLENGED or not state.rules.named_displace:
                stay(state, lease)
                lease.challenge_ucr = max(lease.challenge_ucr, order.limit_ucr)
            case "held" if state.rules.named_displace and lease.why is Reason.CHALLENGED and not lease.clear:
                stay(state, lease)
                state.counters.withdrawn += 1
                state.tell(lease, Op.WITHDRAWN, Withdrawn(lease.number, lease.token, lease.term_end))
            case _ if ruling.order == "refused":
                spare(state, lease)
                lease.challenger = None
    if ruling.order == "filled":
        order.incumbents.clear()
        return not _taken(state, order) or rule(state, order, Situation.TAKEN)
    if situation is Situation.CHALLENGER_GONE:
        _pay_for_blocking(state, order)
    if ruling.order == "refused":
        dissolve(state, order, ruling.reason)
    return False


def _taken(state: State, order: Order) -> bool:
    """Whether others hold a part of the blocks: a share of a slot that an incumbent leaves free is let meanwhile."""
    own = {reservation_number(order.serial, part) for part in range(len(order.blocks))}
    return any(not own.issuperset(state.book.leases_in(block)) for block in order.blocks)


def stay(state: State, lease: Lease) -> None:
    """A lease that had notice is held again, until the term that its last RENEW gave it."""
    spare(state, lease)
    lease.noticed = 0
    lease.state, lease.deadline, lease.why, lease.challenger = LeaseState.HELD, 0, Reason.OK, None
    state.refresh_threshold(lease)
    state.changed(lease)


def dissolve(state: State, order: Order, reason: Reason) -> None:
    """End an order that held a reservation, without a lease."""
    release_reservation(state, order)
    state.room = state.rules.named_displace
    refuse(state, order, Refused(order.ref, reason, 0, order.price_ucr, 0))


def release_reservation(state: State, order: Order) -> None:
    """Take an order's reserved blocks out of the book."""
    for part in range(len(order.blocks)):
        state.book.unseat(reservation_number(order.serial, part))


def refuse(state: State, order: Order, body: Refused) -> None:
    """End an order without a lease: what it held returns whole, and its host is told why."""
    if order.key in state.orders:
        state.let_go(order)
        state.refs.discard((order.key.host, order.ref))
        state.accounts.give_back(order.tenant, order.held_ucr + order.notice_ucr)
    outcomes = state.counters.outcomes
    outcomes[body.reason] = outcomes.get(body.reason, 0) + 1
    state.emit(order.key.host, Op.REFUSED, body)
