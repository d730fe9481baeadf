"""What a ledger says of its state to programs: the welcome of a host, the digest of a tick."""

from tegcore.wire.messages import SCHEMA, Digest, Welcome
from tegcore.wire.records import Region
from zone_ledger.leases import Counters
from zone_ledger.state import State


def welcome(state: State, number: int) -> Welcome:
    """What a host is told when it has come up: its place, and the zone's times."""
    session, genesis = state.hosts[number], state.genesis
    return Welcome(
        SCHEMA,
        session.name,
        session.boot,
        number,
        state.book.region_of(number).base,
        genesis.zone_k,
        state.tick,
        genesis.period_ticks,
        state.term_ticks,
        genesis.renew_ticks,
        genesis.grace_ticks,
        genesis.notice_ticks,
        genesis.epoch_ticks,
    )


def digest(state: State, before: Counters) -> Digest:
    """What a zone tells its governor of a tick; what is counted since `before`."""
    now, rents = (
        state.counters,
        [(lease.price_ucr * lease.shape.slots, lease.use_permille) for lease in state.leases.values()],
    )
    present, reserve_ucr = state.book.zone_totals()
    return Digest(
        SCHEMA,
        state.zone,
        state.tick,
        state.tau,
        present,
        state.book.free_slots(Region(0, 2 * state.genesis.zone_k)),
        len(state.leases),
        now.demand_slots - before.demand_slots,
        sum(rent for rent, _ in rents),
        sum(rent * use // 1000 for rent, use in rents),
        reserve_ucr,
        now.attempts - before.attempts,
        now.refused - before.refused,
        now.refused_span - before.refused_span,
        state.rates.epoch,
    )
