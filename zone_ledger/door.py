"""The door: bytes from outside in, commands for the engine out; everything else is counted, kept and answered.

A frame is bounded, its signature checked, the whole message decoded, its records checked one by one. Only what is next
in its host's session passes. A tenant's token becomes the tenant's number; a token that nobody has becomes 0, which the
engine refuses with a reason, so that the session goes on.
"""

from collections import Counter, deque
from typing import NamedTuple

from tegcore.errors import DecodeError
from tegcore.ids import is_name
from tegcore.wire import topics
from tegcore.wire.codec import RejectedFrameError, decode
from tegcore.wire.messages import PEERS_ASKED_MAX, Ask, Hello, Orders, Rates, Status
from tegcore.wire.records import (
    GOVERNOR_OPS,
    HOST_OPS,
    RECORD_BYTES,
    WORD_MAX,
    Acked,
    HostLost,
    HostUp,
    NameIs,
    NameKind,
    Op,
    Reason,
    Record,
    seq_of,
    unpack_all,
)
from tegcore.wire.signing import Key, ledger_keyring, tenant_token
from zone_ledger.state import State

QUARANTINE_MAX = 64
TAU_JUMP_MAX = 20
"""A merged time further ahead than this is refused and reported (DESIGN 3)."""

UNFORESEEN = "UNFORESEEN"
"""What is counted, beside the reason, where an error was none of those that are refused: a fault of this program."""

TWIN_TICKS = 300
"""A machine that was heard within so many ticks keeps its name against another."""

_WITH_TENANT = frozenset({Op.FOK, Op.MOVE, Op.TOP_UP})


class _Machine(NamedTuple):
    """Which machine has a name, and the tick in which it was heard last."""

    number: int
    tick: int


class Quarantined(NamedTuple):
    """Input that was not taken in: where it came, why, and its first bytes."""

    topic: str
    reason: Reason
    detail: str
    head: bytes


class Entry(NamedTuple):
    """What a message asks of the ledger.

    Attributes:
        commands: To be applied and journaled, in order.
        quotes: Virtual orders, to be answered from the state after the tick.
        host: Whom to answer, if anyone.
        greeted: A Hello: answer with a Welcome.
        rejected: Why the message was not taken in, if it was not.
        asked: A question about peers, to be answered from the state after the tick.
        status: What a host said of its presence.
        boot: Of the host that sent what was rejected, where that is known.
    """

    commands: tuple[Record, ...] = ()
    quotes: tuple[Record, ...] = ()
    host: str = ""
    greeted: bool = False
    rejected: tuple[Reason, str] | None = None
    asked: Ask | None = None
    status: Status | None = None
    boot: int = 0


def host_of(topic_text: str) -> str:
    """The host that a topic is of; empty where it is of none, or no topic."""
    try:
        return topics.parse(topic_text).host
    except (DecodeError, ValueError):
        return ""


def _unseen(raw: bytes, last: int) -> bytes:
    """Records without those at their head that are known: sessions send again what is not acknowledged."""
    if len(raw) < RECORD_BYTES or len(raw) % RECORD_BYTES:
        return raw
    known = last + 1 - seq_of(raw)
    return raw[max(0, known) * RECORD_BYTES :]


def _here_again(state: State, number: int) -> list[Record]:
    """The command that takes back that a host was lost, under the boot that it had."""
    session = state.hosts[number]
    if not session.lost:
        return []
    shape = state.book.shape_of(number)
    up = HostUp(
        shape.region.base,
        shape.region.log2,
        shape.slot_class,
        shape.cpu_milli,
        shape.mem_bytes,
        shape.absent_mask,
        session.rules,
    )
    return [Record(Op.HOST_UP, number, session.boot, 0, up)]


class Door:
    """Reads messages against the state as it is when they are read.

    Args:
        zone: Name of the zone.
        secret: The zone's secret; all keys derive from it.

    Attributes:
        counts: Messages not taken in, by name of the reason.
        quarantine: The latest of them.
        failures: By host, how often something of it was not taken in, by name of the reason.
        notes: By host, the tick in which something was noticed of it last, and what people are told.
    """

    def __init__(self, zone: str, secret: Key) -> None:
        self._zone = zone
        self._secret = secret
        self._keyring = ledger_keyring(secret, zone)
        self._tenants: dict[int, int] = {}
        self._heard_tau = 0
        self._machines: dict[str, _Machine] = {}
        self.counts: Counter[str] = Counter()
        self.failures: dict[str, Counter[str]] = {}
        self.notes: dict[str, tuple[int, str]] = {}
        self.quarantine: deque[Quarantined] = deque(maxlen=QUARANTINE_MAX)

    def read(self, state: State, topic_text: str, frame: bytes) -> Entry:
        """What a frame asks for; never raises: what nobody foresaw is a refusal, and counted as such."""
        host = ""
        try:
            topic = topics.parse(topic_text)
            if topic.zone != self._zone:
                raise DecodeError(f"{topic_text!r} is of another zone")
            host = topic.host
            message = decode(topic, frame, self._keyring.key_of)
            match message:
                case Hello():
                    return self._greet(state, message)
                case Orders():
                    return self._order(state, message)
                case Ask():
                    return self._ask(state, message)
                case Status():
                    return self._presence(state, message)
                case Rates():
                    self._hear_tau(state, topic_text, message.tau)
                    return Entry(tuple(self._checked(message.records, GOVERNOR_OPS)))
                case _:
                    return Entry()
        except RejectedFrameError as error:
            return self._reject(topic_text, frame, error.reason, str(error), "")
        except DecodeError as error:
            if host in state.host_numbers:
                self._failed(host, Reason.UNDECODABLE)
            return self._reject(topic_text, frame, Reason.UNDECODABLE, str(error), host)
        except Exception as error:
            self.counts[UNFORESEEN] += 1
            return self._reject(topic_text, frame, Reason.UNDECODABLE, f"{type(error).__name__}: {error}", host)

    def _presence(self, state: State, status: Status) -> Entry:
        number = state.host_numbers.get(status.host, 0)
        if number not in state.hosts or state.hosts[number].boot != status.boot:
            return Entry(status=None if self._is_twin(state, status) else status)
        if status.machine:
            self._machines[status.host] = _Machine(status.machine, state.tick)
        if status.up:
            return Entry(tuple(_here_again(state, number)), host=status.host, status=status)
        return Entry((Record(Op.HOST_LOST, 0, 0, 0, HostLost(number, 1)),), status=status)

    def _ask(self, state: State, ask: Ask) -> Entry:
        number = state.host_numbers.get(ask.host, 0)
        if number not in state.hosts or state.hosts[number].boot != ask.boot:
            return Entry(host=ask.host, rejected=(Reason.STALE_BOOT, "introduce yourself again"), boot=ask.boot)
        if len(ask.leases) > PEERS_ASKED_MAX or len(ask.hosts) > PEERS_ASKED_MAX:
            raise DecodeError(f"{len(ask.leases)} leases and {len(ask.hosts)} hosts: at most {PEERS_ASKED_MAX} of each")
        return Entry(host=ask.host, asked=ask)

    def heard_tau(self, state: State) -> int:
        """The greatest merged time that was heard, at most `TAU_JUMP_MAX` ahead of the ledger's."""
        return min(self._heard_tau, state.tau + TAU_JUMP_MAX)

    def _hear_tau(self, state: State, topic: str, tau: int) -> None:
        if tau > state.tau + TAU_JUMP_MAX:
            self.counts["TAU_JUMP"] += 1
            detail = f"merged time {tau} is more than {TAU_JUMP_MAX} ahead of {state.tau}"
            self.quarantine.append(Quarantined(topic[:256], Reason.RANGE, detail, b""))
        else:
            self._heard_tau = max(self._heard_tau, tau)

    def _reject(self, topic: str, frame: bytes, reason: Reason, detail: str, host: str) -> Entry:
        self.counts[reason.name] += 1
        self.quarantine.append(Quarantined(topic[:256], reason, detail, frame[:64]))
        return Entry(host=host, rejected=(reason, detail))

    def _greet(self, state: State, hello: Hello) -> Entry:
        number, commands = state.host_numbers.get(hello.host), []
        if not is_name(hello.host) or hello.boot <= 0 or not 0 <= hello.log2_slots <= 16:
            raise DecodeError(f"{hello.host!r} introduces itself with what no host has")
        if number is None:
            number = len(state.hosts) + 1
            commands.append(Record(Op.NAME_IS, 0, 0, 0, NameIs.of(NameKind.HOST, number, hello.host)))
        session = state.hosts.get(number)
        if self._is_twin(state, hello):
            self.notes[hello.host] = state.tick, f"another machine says that it is {hello.host}: rename it"
            detail = f"two machines say that they are {hello.host}: the one that was here first keeps the name"
            return self._turn_away(hello.host, Reason.TWIN, detail, hello.boot)
        if session is not None and hello.boot < session.boot:
            detail = f"{hello.host} has come up since under boot {session.boot}"
            return self._turn_away(hello.host, Reason.STALE_BOOT, detail, hello.boot)
        if hello.machine:
            self._machines[hello.host] = _Machine(hello.machine, state.tick)
        base = hello.base if hello.base >= 0 else self._base_for(state, number, hello.log2_slots)
        if base < 0:
            return Entry(host=hello.host, rejected=(Reason.REGION, f"the zone has no free run of 2^{hello.log2_slots}"))
        offered = hello.slot_class, hello.cpu_milli, hello.mem_bytes, hello.absent_mask
        up = HostUp(base, hello.log2_slots, *offered, hello.rules, hello.lease, hello.token)
        checked = next(unpack_all(Record(Op.HOST_UP, number, hello.boot, 0, up).packed()))
        if session is None or hello.boot > session.boot or session.stale:
            commands.append(checked)
        return Entry(tuple(commands), host=hello.host, greeted=True)

    def _is_twin(self, state: State, said: Hello | Status) -> bool:
        """Whether a machine speaks under the name of another that is here."""
        session = state.hosts.get(state.host_numbers.get(said.host, 0))
        known = self._machines.get(said.host)
        if session is None or not session.up or known is None or said.machine in (0, known.number):
            return False
        return state.tick - known.tick < TWIN_TICKS

    def _turn_away(self, host: str, reason: Reason, detail: str, boot: int) -> Entry:
        self.counts[reason.name] += 1
        self._failed(host, reason)
        return Entry(host=host, rejected=(reason, detail), boot=boot)

    def _failed(self, host: str, reason: Reason) -> None:
        self.failures.setdefault(host, Counter())[reason.name.lower()] += 1

    def _base_for(self, state: State, number: int, log2_slots: int) -> int:
        if number in state.hosts and state.hosts[number].boot:
            region = state.book.region_of(number)
            if region.log2 == log2_slots:
                return region.base
        return state.runs.first_free(log2_slots)

    def _order(self, state: State, orders: Orders) -> Entry:
        number = state.host_numbers.get(orders.host, 0)
        session = state.hosts.get(number)
        if session is None or session.stale or session.boot != orders.boot:
            return self._turn_away(orders.host, Reason.STALE_BOOT, "introduce yourself under a new boot", orders.boot)
        if orders.event_ack > session.outbox.last_seq:
            detail = f"{orders.host} knows more than this ledger: its history went back (was a copy put back?)"
            self.notes[orders.host] = state.tick, "it knows more than this ledger: was a copy put back?"
            return self._turn_away(orders.host, Reason.HISTORY, detail, orders.boot)
        if orders.host in self._machines:
            self._machines[orders.host] = self._machines[orders.host]._replace(tick=state.tick)
        commands = _here_again(state, number)
        if session.outbox.acked < orders.event_ack <= session.outbox.last_seq:
            commands.append(Record(Op.ACKED, number, orders.boot, 0, Acked(orders.event_ack)))
        last = session.inbox.last_seq
        for record in self._checked(_unseen(orders.records, last), HOST_OPS):
            if record.seq == last + 1:
                last = record.seq
                commands.append(self._named(state, record, number, orders.boot))
        quotes = [self._named(state, record, number, orders.boot) for record in self._checked(orders.quotes, {Op.FOK})]
        return Entry(tuple(commands), tuple(quotes), orders.host)

    def _checked(self, raw: bytes, ops: frozenset[Op] | set[Op]) -> list[Record]:
        records = list(unpack_all(raw))
        for record in records:
            if record.op not in ops:
                raise DecodeError(f"{record.op.name} may not come this way")
            if not record.headed:
                raise DecodeError(f"{record.op.name}: boot {record.boot}, number {record.seq}: at most {WORD_MAX}")
        return records

    def _named(self, state: State, record: Record, number: int, boot: int) -> Record:
        body = record.body
        if record.op in _WITH_TENANT:
            body = body._replace(tenant=self._tenant_of(state, body.tenant))
        return record._replace(actor=number, boot=boot, body=body)

    def _tenant_of(self, state: State, token: int) -> int:
        if len(self._tenants) < len(state.tenants):
            self._tenants = {tenant_token(self._secret, name): number for number, name in state.tenants.items()}
        return self._tenants.get(token, 0)
