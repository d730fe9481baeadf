"""What a ledger says of its state to programs: the welcome of a host, its peers, the digest of a tick."""

from collections.abc import Mapping

from tegcore.units import UCR_MAX
from tegcore.wire.messages import (
    PEERS_TOLD_MAX,
    SCHEMA,
    TENANTS_TOLD_MAX,
    Ask,
    Digest,
    Party,
    PeerHost,
    Peers,
    TenantIs,
    Tenants,
    Welcome,
)
from tegcore.wire.records import Region
from tegcore.wire.signing import Key, host_key, peer_key, sealed, sealed_token, tenant_token
from zone_ledger.leases import Counters
from zone_ledger.placement import slots_on
from zone_ledger.state import State
from zone_ledger.terms import Terms


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


def peers(state: State, ask: Ask, addresses: Mapping[str, str], secret: Key) -> Peers:
    """Who a host shares the leases with that it asks about, and how it reaches them and the hosts that it names.

    Args:
        state: Of the ledger.
        ask: The question; a lease that the asker has nothing to do with is passed over.
        addresses: By name of the host, as its status said.
        secret: The zone's.
    """
    number, parties = state.host_numbers[ask.host], []
    for lease in (state.leases[asked] for asked in ask.leases if asked in state.leases):
        if number not in lease.parties:
            continue
        names = [state.hosts[host].name for host in lease.hosts]
        slots = [sum(slots_on(state.book, block, host) for block in lease.blocks) for host in lease.hosts]
        parties.append(Party(lease.number, lease.token, state.hosts[lease.origin].name, names, slots))
    wanted = dict.fromkeys(name for party in parties for name in (party.home, *party.seats))
    wanted |= dict.fromkeys(name for name in ask.hosts if name in state.host_numbers)
    told = [_peer(state, ask.host, name, addresses, secret) for name in list(wanted)[:PEERS_TOLD_MAX]]
    return Peers(SCHEMA, ask.host, ask.boot, parties, told)


def _peer(state: State, asker: str, name: str, addresses: Mapping[str, str], secret: Key) -> PeerHost:
    key = sealed(peer_key(host_key(secret, name), asker), host_key(secret, asker), name)
    session = state.hosts[state.host_numbers[name]]
    return PeerHost(name, addresses.get(name, ""), session.up, key)


def tenants(state: State, ask: Ask, secret: Key) -> Tenants:
    """Tenants that changed after what the asker knows, the first of them."""
    own_key, later = host_key(secret, ask.host), state.terms.after(ask.tenants_after)
    told = [_tenant(state.tenants[number], terms, own_key, secret) for number, terms in later[:TENANTS_TOLD_MAX]]
    upto = later[len(told) - 1][1].changed if len(told) < len(later) else state.terms.changes
    return Tenants(SCHEMA, ask.host, ask.boot, ask.tenants_after, upto, told)


def _tenant(name: str, terms: Terms, own_key: Key, secret: Key) -> TenantIs:
    token = sealed_token(tenant_token(secret, name), own_key, name)
    users = [uid for uid, on in terms.users.items() if on]
    return TenantIs(name, token, terms.closed, users, [uid for uid, on in terms.users.items() if not on])


def digest(state: State, before: Counters) -> Digest:
    """What a zone tells its governor of a tick; what is counted since `before`."""
    now = state.counters
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
        min(state.rents.rent_ucr, UCR_MAX),
        min(state.rents.used_ucr, UCR_MAX),
        min(reserve_ucr, UCR_MAX),
        now.attempts - before.attempts,
        now.refused - before.refused,
        now.refused_span - before.refused_span,
        state.rates.epoch,
    )
