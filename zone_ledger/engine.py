"""The engine: one command in, the state changed, events put in the hosts' outboxes.

It computes in integers only, draws nothing, asks no clock, and raises for nothing that a peer can send.

A TICK, in this order: (1) the count; (2) deadlines of evictions, and terms that have surely ended; (3) boundaries of
periods, and bankruptcy; (4) clearing of what has arrived. All that the state is follows from the records applied.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from typing import Any

from tegcore.errors import DecodeError, JournalError
from tegcore.units import PERMILLE, PRICE_UCR_MAX, UCR_MAX
from tegcore.wire.messages import EPOCH_MAX
from tegcore.wire.records import (
    GOVERNOR_OPS,
    OPERATOR_OPS,
    Answer,
    HostUp,
    Market,
    NameIs,
    NameKind,
    Notice,
    Op,
    Reason,
    Record,
    Refused,
    Region,
    Renewed,
    Synced,
    Traits,
    Withdrawn,
)
from tegcore.wire.session import Inbox, Outbox
from zone_ledger import orders, settlement, solvency, waiting
from zone_ledger.book.base import Book, HostShape
from zone_ledger.eviction import TAKEN_BACK, Situation, give_notice, left, refuse, rule, stay
from zone_ledger.leases import HostSession, Lease, LeaseState, OrderState, Pays, Rates
from zone_ledger.rules import LATEST, rule_set
from zone_ledger.shares import Shares
from zone_ledger.state import Due, Outcome, State

OPERATOR_KEYS_MAX = 1024
TENANTS_MAX = 100_000
HOSTS_MAX = 1 << 20
CAPS_MAX = 4096
TRANSFERS_MAX = 1 << 20
PEG_STEP_PERMILLE = 10
"""The peg moves by at most 1 % an epoch."""

_REFUSED_LEASE = Outcome(Reason.LEASE)
_OUT_OF_RANGE = Outcome(Reason.RANGE)


class Engine:
    """The ledger of one zone as a state machine.

    Args:
        book_of: Makes the book of a zone of 2^k x 2^k slots.
        rules: Number of the rule set that its journal begins under.

    Raises:
        JournalError: If this program does not know the rule set.
    """

    def __init__(self, book_of: Callable[[int], Book], rules: int = LATEST) -> None:
        self._book_of = book_of
        self._rules = rule_set(rules)
        self._state: State | None = None
        self._cases: dict[Op, Callable[[Record], Outcome]] = {
            Op.NAME_IS: self._name_is,
            Op.TICK: self._tick,
            Op.HOST_UP: self._host_up,
            Op.HOST_LOST: self._host_lost,
            Op.HOST_LEFT: self._host_left,
            Op.ACKED: self._acked,
            Op.FOK: lambda record: orders.arrive(self.state, record),
            Op.MOVE: lambda record: orders.arrive(self.state, record),
            Op.SET_CAP: self._set_cap,
            Op.TRANSFER_OUT: self._transfer_out,
            Op.TRANSFER_IN: self._transfer_in,
            Op.EXPAND: self._expand,
            Op.RENEW: self._renew,
            Op.RELEASE: self._release,
            Op.CANCEL: self._cancel,
            Op.TOP_UP: self._top_up,
            Op.STAY: self._stay,
            Op.SHORTEN: self._shorten,
            Op.SET_TIME: self._set_time,
            Op.MINT: self._mint,
            Op.CORDON: self._cordon,
            Op.DRAIN: self._drain,
            Op.PIN: self._pin,
            Op.MODE: self._mode,
            Op.SET_RATES: self._set_rates,
            Op.SET_RESERVE: self._set_reserve,
            Op.ADMIT: self._admit,
            Op.EVICT: self._evict,
            Op.INCOME: self._income,
            Op.RULES: self._later_rules,
            Op.SHARES: self._set_shares,
            Op.TENANT_USER: self._tenant_user,
            Op.TENANT_SET: self._tenant_set,
        }

    @property
    def state(self) -> State:
        """The state, once a GENESIS was applied.

        Raises:
            JournalError: Before.
        """
        if self._state is None:
            raise JournalError("the first record of a journal is its GENESIS", hint="is this a ledger's journal?")
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state

    def apply(self, record: Record) -> Outcome:
        """Carry out one command; what a peer asked amiss is an outcome, and changes nothing else.

        What could not be added up, hashed or kept afterwards is refused as RANGE, whoever journaled it.
        """
        if not record.headed:
            return _OUT_OF_RANGE
        if record.op is Op.GENESIS:
            return self._genesis(record)
        if record.op in OPERATOR_OPS | GOVERNOR_OPS:
            return self._once(record)
        if record.op in _SESSION_OPS and not self._next_in_session(record):
            return Outcome(Reason.STALE_BOOT)
        case = self._cases.get(record.op)
        if case is None:
            return self._answered(record, Outcome(Reason.UNOFFERED))
        return self._answered(record, case(record))

    def quote(self, record: Record) -> Record:
        """The answer to a virtual FOK."""
        return orders.quote(self.state, record)

    def check(self) -> None:
        """Assert all that must hold between commands, computed anew."""
        state = self.state
        state.accounts.check()
        state.book.check()
        held = sum(lease.purse_ucr + lease.escrow_ucr for lease in state.leases.values())
        assert state.accounts.escrow == held + sum(order.held_ucr + order.notice_ucr for order in state.orders.values())
        for order in state.orders.values():
            assert (order.state is OrderState.EVICTING) == bool(order.incumbents)
        assert state.running_hash() == state.running_hash_anew(), "something changed and was not marked"
        waiting = [key for key, order in state.orders.items() if order.state is OrderState.WAITING]
        assert list(state.waiting) == waiting
        awaited = {(order.deadline, order.key) for order in state.orders.values() if order.state is OrderState.EVICTING}
        assert awaited <= {(deadline, key) for deadline, _, key in state.deadlines}
        parties = {(host, lease.number) for lease in state.leases.values() for host in lease.parties}
        assert parties == {(host, number) for host, held in state.held_by.items() for number in held}
        assert state.save_ticks == Counter(lease.traits.save_ticks for lease in state.leases.values())
        assert state.rents.rent_ucr == sum(lease.rent_ucr for lease in state.leases.values())
        assert state.rents.used_ucr == sum(lease.used_rent_ucr for lease in state.leases.values())
        outgo_ucr = Counter[int]()
        for lease in state.leases.values():
            outgo_ucr[lease.tenant] += lease.outgo_ucr
            assert lease.pays is Pays.PURSE or lease.purse_ucr == 0, f"lease {lease.number} keeps what its account lent"
        asked_ucr = Counter[int]()
        for order in state.orders.values():
            asked_ucr[order.tenant] += order.held_ucr if order.pays is Pays.ACCOUNT else 0
        assert state.asked_ucr == asked_ucr
        assert state.rents.outgo_ucr == {tenant: amount for tenant, amount in outgo_ucr.items() if amount}
        changes = [terms.changed for terms in state.terms.by_tenant.values()]
        assert changes == sorted(set(changes))
        assert changes[-1:] in ([], [state.terms.changes])

    # --- sessions ---------------------------------------------------------------------------------------------------

    def _next_in_session(self, record: Record) -> bool:
        session = self.state.hosts.get(record.actor)
        if session is None or session.stale or session.boot != record.boot:
            return False
        if record.op is not Op.ACKED and record.seq != session.inbox.last_seq + 1:
            return False
        if record.op is not Op.ACKED:
            session.inbox.last_seq = record.seq
        self._is_here(session)
        return True

    def _is_here(self, session: HostSession) -> None:
        """A host was heard: what was withheld because it was lost is offered again."""
        self.state.rows.hosts.mark(session.number)
        session.up = True
        if session.lost:
            session.lost = False
            self.state.room = self.state.rules.named_displace
            self.state.book.drain(session.number, on=session.drained)

    def _answered(self, record: Record, outcome: Outcome) -> Outcome:
        """Commands whose outcome no event tells are answered."""
        if record.op in _ANSWERED_OPS or (outcome.reason is not Reason.OK and record.op in _ANSWERED_IF_REFUSED):
            answer = Answer(record.seq, outcome.reason, outcome.missing, outcome.subject)
            self.state.emit(record.actor, Op.ANSWER, answer)
        return outcome

    def _once(self, record: Record) -> Outcome:
        """Operators' commands carry a key: a repeat gets the first outcome and changes nothing."""
        keys = self.state.operator_keys
        if record.seq in keys:
            return keys[record.seq]
        outcome = self._cases[record.op](record) if record.op in self._cases else Outcome(Reason.UNOFFERED)
        keys[record.seq] = outcome
        while len(keys) > OPERATOR_KEYS_MAX:
            del keys[next(iter(keys))]
        return outcome

    def _genesis(self, record: Record) -> Outcome:
        if self._state is not None:
            return Outcome(Reason.STATE)
        genesis = record.body
        self._state = State(genesis, self._book_of(genesis.zone_k), Market(genesis.market), rules=self._rules)
        return Outcome()

    def _name_is(self, record: Record) -> Outcome:
        body: NameIs = record.body
        state = self.state
        try:
            name = body.text
        except DecodeError:
            return _OUT_OF_RANGE
        if body.kind == NameKind.ZONE:
            state.zone = name
        elif body.kind == NameKind.TENANT:
            if body.ident in state.tenants or len(state.tenants) >= TENANTS_MAX:
                return Outcome(Reason.LIMIT)
            state.tenants[body.ident] = name
            state.tenant_numbers[name] = body.ident
            state.accounts.open(body.ident)
        else:
            if body.ident in state.hosts or len(state.hosts) >= HOSTS_MAX:
                return Outcome(Reason.LIMIT)
            state.hosts[body.ident] = HostSession(body.ident, name)
            state.host_numbers[name] = body.ident
            state.rows.hosts.mark(body.ident)
        return Outcome(subject=body.ident)

    def _host_up(self, record: Record) -> Outcome:
        state, body = self.state, record.body
        session = state.hosts.get(record.actor)
        if session is None or record.boot < session.boot:
            return Outcome(Reason.STALE_BOOT)
        if not session.number:
            return _OUT_OF_RANGE
        if record.boot == session.boot and not session.stale:
            self._is_here(session)
            return Outcome(subject=session.number)
        outcome = self._place_host(session, body)
        if outcome.reason is not Reason.OK:
            return outcome
        for order in [order for order in state.orders.values() if order.key.host == session.number]:
            self._drop_order(order.key)
        session.boot, session.stale, session.rules = record.boot, False, body.rules
        state.last_lease, state.last_token = max(state.last_lease, body.lease), max(state.last_token, body.token)
        self._is_here(session)
        session.inbox, session.outbox = Inbox(), Outbox()
        self._tell_truth(session)
        waiting.host_is_back(state, session.number)
        return Outcome(subject=session.number)

    def _place_host(self, session: HostSession, body: HostUp) -> Outcome:
        state = self.state
        shape = HostShape(
            Region(body.base, body.log2_slots), body.slot_class, body.cpu_milli, body.mem_bytes, body.absent_mask
        )
        if session.boot and state.book.shape_of(session.number) == shape:
            return Outcome()
        if session.boot and state.book.leases_in(state.book.region_of(session.number)):
            return Outcome(Reason.STATE)
        if state.rules.accounts_pay and not shape.is_whole:
            return _OUT_OF_RANGE  # slots that it has not can be neither absent nor there
        if body.base & (1 << body.log2_slots) - 1 or shape.region.end > 1 << 2 * state.genesis.zone_k:
            return Outcome(Reason.REGION)
        own = [state.book.region_of(session.number)] if session.boot else []
        if set(state.runs.overlap(shape.region)).difference((run.base, run.end) for run in own):
            return Outcome(Reason.REGION)
        for run in own:
            state.book.remove_host(session.number)
            state.runs.remove(run)
        state.book.add_host(session.number, shape)
        state.runs.add(shape.region)
        state.book.drain(session.number, on=session.withheld)
        state.room = state.rules.named_displace
        return Outcome()

    def _tell_truth(self, session: HostSession) -> None:
        state, told = self.state, 0
        for lease in state.leases_of(session.number):
            told += 1
            state.emit(session.number, Op.FILLED, orders.filled_event(lease))
            if lease.state is LeaseState.EVICTING:
                notice = Notice(lease.number, lease.token, lease.deadline, lease.why)
                state.emit(session.number, Op.NOTICE, notice)
        state.emit(session.number, Op.SYNCED, Synced(told, 0))

    def _host_lost(self, record: Record) -> Outcome:
        session = self.state.hosts.get(record.body.host)
        if session is None:
            return Outcome(Reason.HOST_GONE)
        self.state.rows.hosts.mark(session.number)
        session.up = False
        waiting.host_is_silent(self.state, session.number)
        if record.body.withhold and session.boot:
            session.lost = True
            self.state.book.drain(session.number, on=True)
        return Outcome()

    def _host_left(self, record: Record) -> Outcome:
        state, session = self.state, self.state.hosts[record.actor]
        if state.held_by.get(record.actor):
            return Outcome(Reason.STATE)
        session.up = False
        return Outcome()

    def _acked(self, record: Record) -> Outcome:
        self.state.hosts[record.actor].outbox.ack(record.body.event_seq)
        return Outcome()

    # --- leases -----------------------------------------------------------------------------------------------------

    def _lease(self, record: Record) -> Lease | Outcome:
        """The lease that a host's command names, if the host has to do with it and the token is the latest."""
        lease = self.state.leases.get(record.body.lease)
        if lease is None or record.actor not in lease.parties:
            return _REFUSED_LEASE
        self.state.rows.leases.mark(lease.number)
        return lease if lease.token == record.body.token else Outcome(Reason.TOKEN)

    def _expand(self, record: Record) -> Outcome:
        lease, ask = self._lease(record), record.body
        if isinstance(lease, Outcome):
            return lease
        if ask.host not in lease.hosts or lease.state is not LeaseState.HELD:
            return Outcome(Reason.STATE)
        settlement.expand(self.state, lease, ask, record.seq)
        return Outcome()

    def _renew(self, record: Record) -> Outcome:
        lease, body = self._lease(record), record.body
        if isinstance(lease, Outcome):
            return lease
        if lease.state is LeaseState.EVICTING:
            return Outcome(Reason.STATE)
        lease.term_end = self.state.tick + self.state.term_ticks
        if body.own and record.actor in lease.hosts and len(lease.hosts) > 1:
            lease.heard[record.actor] = lease.term_end
        lease.next_limit_ucr = body.limit_ucr
        lease.use_sum += body.use_permille
        lease.use_count += 1
        self.state.changed(lease)
        self.state.emit(record.actor, Op.RENEWED, Renewed(lease.number, lease.token, record.seq, lease.term_end))
        return Outcome()

    def _release(self, record: Record) -> Outcome:
        lease = self._lease(record)
        if isinstance(lease, Outcome):
            return lease
        lease.clear.add(record.actor)
        if lease.clear >= set(lease.hosts):
            why = lease.why or _reason(record.body.why) or Reason.DONE
            self._end(lease, why)
        return Outcome()

    def _end(self, lease: Lease, why: Reason) -> None:
        order = left(self.state, lease, why)
        if order is not None and rule(self.state, order, Situation.ALL_CLEAR):
            orders.fill(self.state, order)

    def _cancel(self, record: Record) -> Outcome:
        for order in self.state.orders.values():
            if (order.key.host, order.ref) == (record.actor, record.body.ref):
                self._drop_order(order.key)
                waiting.waits_no_more(self.state, record.actor, record.body.ref)
                return Outcome()
        waiting.waits_no_more(self.state, record.actor, record.body.ref)
        lease = self.state.leases.get(record.body.lease)
        if lease is None or (lease.origin, lease.ref) != (record.actor, record.body.ref):
            return Outcome(Reason.STATE)
        if lease.state is LeaseState.HELD:
            give_notice(self.state, lease, Reason.CANCELLED)
        self._leaves_anyway(lease, Reason.CANCELLED)
        return Outcome(subject=lease.number)

    def _leaves_anyway(self, lease: Lease, why: Reason) -> None:
        """A lease that has notice must leave for another reason, too: nobody takes that back."""
        weaker = {Reason.CHALLENGED} if why is Reason.DRAINED else TAKEN_BACK
        if self.state.rules.named_displace and lease.why in weaker:
            self.state.rows.leases.mark(lease.number)
            lease.why = why

    def _drop_order(self, key: Any) -> None:
        order = self.state.orders[key]
        if order.state is OrderState.EVICTING:
            rule(self.state, order, Situation.CHALLENGER_GONE)
        else:
            refuse(self.state, order, Refused(order.ref, Reason.CANCELLED, 0, 0, 0))

    def _top_up(self, record: Record) -> Outcome:
        lease, body = self._lease(record), record.body
        if isinstance(lease, Outcome):
            return lease
        if body.tenant != lease.tenant:
            return Outcome(Reason.TENANT)
        if 0 < body.number <= lease.last_top_up:
            return Outcome(subject=lease.number)
        outcome = self._added(lease, body.amount_ucr)
        if outcome.reason is Reason.OK:
            lease.last_top_up = max(lease.last_top_up, body.number)
        return outcome

    def _added(self, lease: Lease, amount_ucr: int) -> Outcome:
        """More for a lease, once."""
        if lease.pays is Pays.ACCOUNT:
            return self._raise_budget(lease, amount_ucr)
        balance = self.state.accounts.balances[lease.tenant]
        if amount_ucr > balance:
            return Outcome(Reason.FUNDS, amount_ucr - balance)
        if self.state.rules.accounts_pay and (missing := solvency.short_ucr(self.state, lease.tenant, amount_ucr)):
            return Outcome(Reason.FUNDS, missing)
        self.state.accounts.hold(lease.tenant, amount_ucr)
        lease.purse_ucr += amount_ucr
        if self.state.rules.accounts_pay:
            solvency.look_at_lease(self.state, lease)
        return Outcome(subject=lease.number)

    def _raise_budget(self, lease: Lease, amount_ucr: int) -> Outcome:
        if lease.budget_ucr < 0:
            return Outcome(Reason.STATE)
        if amount_ucr > UCR_MAX - lease.budget_ucr:
            return Outcome(Reason.RANGE)
        lease.budget_ucr += amount_ucr
        solvency.look_at_lease(self.state, lease)
        return Outcome(subject=lease.number)

    def _stay(self, record: Record) -> Outcome:
        lease = self._lease(record)
        if isinstance(lease, Outcome):
            return lease
        order = self.state.orders.get(lease.challenger) if lease.challenger else None
        if order is None:
            return Outcome(Reason.STATE)
        rule(self.state, order, Situation.STAYS)
        return Outcome()

    def _shorten(self, record: Record) -> Outcome:
        """A holder gives back a part of the time that it declared; it cannot take more."""
        lease = self._lease(record)
        if isinstance(lease, Outcome):
            return lease
        declared = lease.traits.time_ticks
        if declared and record.body.time_ticks > declared:
            return Outcome(Reason.TIME)
        return self._runs_for(lease, record.body.time_ticks)

    def _set_time(self, record: Record) -> Outcome:
        lease = self.state.leases.get(record.body.lease)
        return _REFUSED_LEASE if lease is None else self._runs_for(lease, record.body.time_ticks)

    def _runs_for(self, lease: Lease, time_ticks: int) -> Outcome:
        """Another declared time, as an order would say it; what was promised by the old one is looked at anew."""
        state = self.state
        if lease.state is LeaseState.EVICTING:
            return Outcome(Reason.STATE)
        state.rows.leases.mark(lease.number)
        lease.traits = Traits.unpacked(lease.traits._replace(time_ticks=time_ticks).packed())
        end_tick = lease.granted + lease.traits.time_ticks
        state.appoint(max(state.tick + 1, end_tick), Due.TIME_OVER, lease.number)
        waiting.ends_otherwise(state)
        return Outcome(subject=lease.number)

    # --- operators and the governor ---------------------------------------------------------------------------------

    def _mint(self, record: Record) -> Outcome:
        if record.body.tenant not in self.state.tenants:
            return Outcome(Reason.TENANT)
        if record.body.amount_ucr > self.state.room_ucr:
            return Outcome(Reason.RANGE, record.body.amount_ucr - self.state.room_ucr)
        self.state.accounts.mint(record.body.tenant, record.body.amount_ucr)
        return Outcome(subject=record.body.tenant)

    def _cordon(self, record: Record) -> Outcome:
        slot = Region(record.body.slot, 0)
        if slot.end > 1 << 2 * self.state.genesis.zone_k or not self.state.book.hosts_of(slot):
            return Outcome(Reason.REGION)
        self.state.book.cordon(record.body.slot, on=bool(record.body.on))
        self.state.room = self.state.rules.named_displace
        return Outcome(subject=record.body.slot)

    def _drain(self, record: Record) -> Outcome:
        state, session = self.state, self.state.hosts.get(record.body.host)
        if session is None or not session.boot:
            return Outcome(Reason.HOST_GONE)
        state.rows.hosts.mark(session.number)
        session.drained = bool(record.body.on)
        state.book.drain(session.number, on=session.withheld)
        state.room = state.rules.named_displace
        if session.drained:
            for lease in state.leases_of(session.number):
                if session.number in lease.hosts and lease.state is LeaseState.HELD:
                    give_notice(state, lease, Reason.DRAINED)
                elif session.number in lease.hosts:
                    self._leaves_anyway(lease, Reason.DRAINED)
        elif state.rules.named_displace:
            for lease in state.leases_of(session.number):
                self._stays_after_all(lease)
        return Outcome(subject=session.number)

    def _stays_after_all(self, lease: Lease) -> None:
        """The drain is over before a lease has left: its notice is taken back, where nothing else stands behind it."""
        drained = any(self.state.hosts[host].drained for host in lease.hosts)
        if lease.why is not Reason.DRAINED or lease.clear or drained:
            return
        if lease.challenger is not None:
            self.state.rows.leases.mark(lease.number)
            lease.why = Reason.CHALLENGED
        else:
            stay(self.state, lease)
            withdrawn = Withdrawn(lease.number, lease.token, lease.term_end)
            self.state.tell(lease, Op.WITHDRAWN, withdrawn)

    def _pin(self, record: Record) -> Outcome:
        lease = self.state.leases.get(record.body.lease)
        if lease is None:
            return _REFUSED_LEASE
        self.state.rows.leases.mark(lease.number)
        lease.pinned = bool(record.body.on)
        self.state.refresh_threshold(lease)
        return Outcome(subject=lease.number)

    def _mode(self, record: Record) -> Outcome:
        self.state.market = Market(record.body.market)
        return Outcome()

    def _set_rates(self, record: Record) -> Outcome:
        state, peg, before = self.state, record.body.peg, self.state.rates.peg
        if record.body.epoch <= state.rates.epoch:
            return Outcome(Reason.STATE)
        if state.rules.accounts_pay and record.body.epoch > EPOCH_MAX:
            return _OUT_OF_RANGE
        if before and abs(peg - before) * PERMILLE > before * PEG_STEP_PERMILLE:
            return Outcome(Reason.RANGE)
        state.rates = Rates(*record.body)
        state.subsidy_epoch_ucr = 0
        if peg != before:
            self._anchor()
        return Outcome(subject=record.body.epoch)

    def _set_reserve(self, record: Record) -> Outcome:
        state, body = self.state, record.body
        state.anchors[body.slot_class] = (body.reserve_ucr, state.rates.peg)
        state.reserves[body.slot_class] = body.reserve_ucr
        state.book.set_reserve(body.slot_class, body.reserve_ucr)
        return Outcome()

    def _anchor(self) -> None:
        """A slot's energy costs what it costs: with another peg its reserve is another amount (DESIGN 3)."""
        state = self.state
        for slot_class, (reserve_ucr, peg) in sorted(state.anchors.items()):
            if peg and state.rates.peg:
                anchored_ucr = min(PRICE_UCR_MAX, -(-reserve_ucr * peg // state.rates.peg))
                state.reserves[slot_class] = anchored_ucr
                state.book.set_reserve(slot_class, anchored_ucr)

    def _set_cap(self, record: Record) -> Outcome:
        try:
            region = Region.unpacked(record.body.region)
        except DecodeError:
            return Outcome(Reason.REGION)
        caps = self.state.caps
        if region.end > 1 << 2 * self.state.genesis.zone_k:
            return Outcome(Reason.REGION)
        if len(caps) >= CAPS_MAX and region.packed() not in caps:
            return Outcome(Reason.LIMIT)
        caps[region.packed()] = record.body.cap_ucr
        self.state.rows.caps.mark(region.packed())
        return Outcome()

    def _transfer_out(self, record: Record) -> Outcome:
        tenant, amount_ucr = record.body.tenant, record.body.amount_ucr
        if tenant not in self.state.tenants:
            return Outcome(Reason.TENANT)
        balance = self.state.accounts.balances[tenant]
        if amount_ucr > balance:
            return Outcome(Reason.FUNDS, amount_ucr - balance)
        self.state.accounts.transfer_out(tenant, amount_ucr)
        return Outcome(subject=record.body.transfer)

    def _transfer_in(self, record: Record) -> Outcome:
        """A transfer is known by the zone that it comes from and its number there, and credited once."""
        name = (record.body.zone, record.body.transfer)
        if record.body.tenant not in self.state.tenants:
            return Outcome(Reason.TENANT)
        if name in self.state.transfers:
            return Outcome(Reason.STATE)
        if record.body.amount_ucr > self.state.room_ucr:
            return Outcome(Reason.RANGE, record.body.amount_ucr - self.state.room_ucr)
        if len(self.state.transfers) >= TRANSFERS_MAX:
            return Outcome(Reason.LIMIT)
        self.state.transfers.add(name)
        self.state.rows.transfers.mark(name)
        self.state.accounts.transfer_in(record.body.tenant, record.body.amount_ucr)
        return Outcome(subject=record.body.transfer)

    def _admit(self, record: Record) -> Outcome:
        self.state.admission = record.body
        return Outcome()

    def _evict(self, record: Record) -> Outcome:
        lease = self.state.leases.get(record.body.lease)
        if lease is None:
            return _REFUSED_LEASE
        if lease.state is LeaseState.HELD:
            give_notice(self.state, lease, Reason.OPERATOR)
        elif self.state.rules.named_displace and lease.why in TAKEN_BACK:
            self._leaves_anyway(lease, Reason.OPERATOR)
        else:
            return Outcome(Reason.STATE)
        return Outcome(subject=lease.number)

    def _income(self, record: Record) -> Outcome:
        tenant, rate_ucr = record.body
        if tenant and tenant not in self.state.tenants:
            return Outcome(Reason.TENANT)
        self.state.incomes[tenant] = rate_ucr
        return Outcome(subject=tenant)

    def _tenant_user(self, record: Record) -> Outcome:
        tenant, uid, on = record.body
        if tenant not in self.state.tenants:
            return Outcome(Reason.TENANT)
        kept = self.state.terms.set_user(tenant, uid, on=bool(on))
        return Outcome(Reason.OK if kept else Reason.LIMIT, subject=tenant)

    def _tenant_set(self, record: Record) -> Outcome:
        tenant, weight, closed = record.body
        if tenant not in self.state.tenants:
            return Outcome(Reason.TENANT)
        kept = self.state.terms.set(tenant, weight, closed=bool(closed))
        if kept and closed:
            waiting.tenant_is_closed(self.state, tenant)
        return Outcome(Reason.OK if kept else Reason.LIMIT, subject=tenant)

    def _later_rules(self, record: Record) -> Outcome:
        """From here on another rule set holds; what is there goes on as it was paid for."""
        state = self.state
        if record.body.rules <= state.rules.number:
            return Outcome(Reason.STATE)
        state.rules = rule_set(record.body.rules)
        state.rows = state.all_rows()
        return Outcome(subject=state.rules.number)

    def _set_shares(self, record: Record) -> Outcome:
        state = self.state
        shares = Shares(record.body.half_life_ticks)
        for lease in state.leases.values():
            shares.begins(lease, state.tick)
        state.wait_by(shares)
        state.room = state.rules.named_displace
        return Outcome()

    # --- time -------------------------------------------------------------------------------------------------------

    def _tick(self, record: Record) -> Outcome:
        state = self.state
        if record.body.tick != state.tick + 1:
            return _OUT_OF_RANGE
        state.tick, state.tau = record.body.tick, max(state.tau + 1, record.body.tau)
        state.shares.passes(state.tick)
        for order in state.orders_due():
            situation = Situation.SURE_END if order.extended else Situation.DEADLINE
            if rule(state, order, situation):
                orders.fill(state, order)
        while state.due and state.due[0][0] <= state.tick:
            _, due, number = heapq.heappop(state.due)
            lease = state.leases.get(number)
            if lease is not None:
                self._keep_appointment(lease, Due(due))
        if state.rules.accounts_pay and state.tick % state.genesis.period_ticks == 0:
            solvency.pay_incomes(state)
            solvency.look_at_accounts(state)
            waiting.forget_silent(state)
        if state.rules.named_displace:
            waiting.wake(state)  # what came free in this tick is held for who waits before new orders are looked at
        orders.clear(state)
        if state.rules.named_displace and state.market is Market.AUCTION:
            waiting.wake(state)  # after: nothing is held, and who waits bids for what this tick has left
        return Outcome(subject=state.tick)

    def _keep_appointment(self, lease: Lease, due: Due) -> None:
        state = self.state
        if due is Due.BOUNDARY:
            carried = settlement.cross_boundary(state, lease)
            if not carried and lease.state is LeaseState.HELD and settlement.is_own_money(lease):
                state.counters.bankruptcies += 1
                give_notice(state, lease, Reason.BANKRUPT)
            elif state.rules.accounts_pay:
                solvency.look_at_lease(state, lease)
        elif due is Due.TERM_OVER:
            lease.protected_until = 0
            state.room = state.room or state.market is Market.AUCTION
            state.rows.leases.mark(lease.number)
            state.refresh_threshold(lease)
        elif due is Due.TIME_OVER and lease.granted + lease.traits.time_ticks > state.tick:
            pass  # it was given more time since; what is due then stands for itself
        elif due is Due.TIME_OVER:
            if lease.state is LeaseState.HELD:
                give_notice(state, lease, Reason.TIME)
            self._leaves_anyway(lease, Reason.TIME)
        else:
            self._end_of_terms(lease)

    def _end_of_terms(self, lease: Lease) -> None:
        """A lease ends once the terms of all its hosts have surely ended; the first that ends is notice to the rest."""
        state = self.state
        ends = {host: state.sure_end_of(lease, host) for host in lease.hosts if host not in lease.clear}
        over = {host for host, tick in ends.items() if tick <= state.tick}
        lease.clear |= over
        state.rows.leases.mark(lease.number)
        if lease.clear >= set(lease.hosts):
            self._end(lease, Reason.EXPIRED)
            return
        if over and lease.state is LeaseState.HELD:
            give_notice(state, lease, Reason.EXPIRED)
        state.appoint(min(tick for host, tick in ends.items() if host not in over), Due.SURE_END, lease.number)


_SESSION_OPS = frozenset(
    {
        *(Op.FOK, Op.MOVE, Op.EXPAND, Op.RENEW, Op.RELEASE, Op.CANCEL),
        *(Op.TOP_UP, Op.STAY, Op.SHORTEN, Op.ACKED, Op.HOST_LEFT),
    }
)
_ANSWERED_OPS = frozenset({Op.CANCEL, Op.TOP_UP, Op.STAY, Op.HOST_LEFT})
_ANSWERED_IF_REFUSED = frozenset({Op.EXPAND, Op.RENEW, Op.RELEASE, Op.SHORTEN})


def _reason(code: int) -> Reason:
    return Reason(code) if code in Reason._value2member_map_ else Reason.OK
