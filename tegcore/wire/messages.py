"""The messages of the zone, each with a tag, a schema version and a bound on its size.

Structs are encoded as arrays: new fields come last, with defaults, and a receiver passes over fields that it does not
know. Orders and events hold runs of `tegcore.wire.records`; grids and weights hold little-endian arrays.

Every number states its range where its type is stated, and decoding refuses what lies outside: what can be added up
and kept by whoever hears it (64-bit words), and no more than there can be.
"""

from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from tegcore.units import CLASS_COUNT_MAX, PERMILLE, ZONE_K_MAX

SCHEMA = 1
"""Version of the messages below; raised when a field changes its meaning."""

SAMPLES_PER_MESSAGE_MAX = 5
SOURCES_MAX = 64
PEERS_ASKED_MAX = 32
"""Leases, and hosts, that one `Ask` may name."""
PEERS_TOLD_MAX = 128
TENANTS_TOLD_MAX = 32
"""Tenants in one `Tenants`; a host asks again for more."""
HOST_KINDS_MAX = 16
HEAT_GRID = 16
"""Heat is sent at the cells of a 16 x 16 grid a zone (DESIGN 4)."""
HOST_LOG2_MAX = 16
AGENTS_MAX = 1_000_000
EPOCH_MAX = 2**48
"""Of a governor: its keys for the ledger have room for no more."""
_ZONE_SLOTS_MAX = 1 << 2 * ZONE_K_MAX


class OrNan(NamedTuple):
    """Inclusive range of a float that is NaN where there is no such source; checked after decoding."""

    low: float
    high: float


Version = Annotated[int, Meta(ge=0, le=2**31)]
Boot = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Machine = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Sequence = Annotated[int, Meta(ge=0, le=2**62)]
Count = Annotated[int, Meta(ge=0, le=2**62)]
Ucr = Annotated[int, Meta(ge=0, le=2**62)]
Tick = Annotated[int, Meta(ge=0, le=2**53)]
Ticks = Annotated[int, Meta(ge=0, le=2**41)]
"""A span of them."""
Epoch = Annotated[int, Meta(ge=0, le=EPOCH_MAX)]
Issued = Annotated[int, Meta(ge=0, le=2**53)]
"""A number that a ledger gives out: of a lease, of a token."""
Uid = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Slot = Annotated[int, Meta(ge=0, lt=_ZONE_SLOTS_MAX)]
SlotOrNone = Annotated[int, Meta(ge=-1, lt=_ZONE_SLOTS_MAX)]
Slots = Annotated[int, Meta(ge=0, le=_ZONE_SLOTS_MAX)]
Log2 = Annotated[int, Meta(ge=0, le=HOST_LOG2_MAX)]
Log2OrNone = Annotated[int, Meta(ge=-1, le=2 * ZONE_K_MAX)]
SlotClass = Annotated[int, Meta(ge=0, lt=CLASS_COUNT_MAX)]
Milli = Annotated[int, Meta(ge=0, le=2**62)]
"""Thousandths of a core."""
Bytes = Annotated[int, Meta(ge=0, le=1 << 50)]
Agents = Annotated[int, Meta(ge=0, lt=AGENTS_MAX)]
Displacement = Annotated[float, Meta(ge=0, le=1e9)]
"""Slots that a host's agents attempted to move by."""
Mass = Annotated[float, Meta(ge=0, le=1e15)]
Share = Annotated[float, OrNan(0.0, 1.0)]
Celsius = Annotated[float, OrNan(-300.0, 10_000.0)]
Watt = Annotated[float, OrNan(0.0, 1e9)]
Margin = Annotated[float, OrNan(-1e30, 1e30)]
Real = Annotated[float, Meta(ge=-1e30, le=1e30)]
Positive = Annotated[float, Meta(ge=0, le=1e30)]


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False, tag_field="t"):
    """What every message is."""


EVENTS_OF_RULES = 2
"""The latest rule set whose events this program reads."""


class Hello(Message, frozen=True, tag="hello"):
    """A host introduces itself, again and again until it is welcomed.

    Attributes:
        boot: Number of this start of tegd, greater than any before on this host.
        base: Morton base that the host asks for, or -1 for the first free aligned run.
        log2_slots: The host has 2^this slots.
        absent_mask: Which of them are absent, as `tegcore.wire.records.absent_bits` reads it.
        rules: The latest rule set whose events this host reads; 0: those of set 1.
        machine: Tells this machine from others of the same name; 0: it does not say.
        lease, token: The greatest numbers of leases that the host has seen.
    """

    v: Version
    host: str
    boot: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    base: SlotOrNone
    log2_slots: Log2
    slot_class: SlotClass
    cpu_milli: Milli
    mem_bytes: Bytes
    absent_mask: Annotated[int, Meta(ge=-(1 << HOST_LOG2_MAX), le=2**63 - 1)] = 0
    rules: Annotated[int, Meta(ge=0, le=PERMILLE)] = 0
    machine: Machine = 0
    lease: Issued = 0
    token: Issued = 0


class Orders(Message, frozen=True, tag="orders"):
    """All commands of a host that are not acknowledged yet, and its quotes: at most one message a tick.

    Attributes:
        boot: As in `Hello`.
        event_ack: Greatest sequence number up to which events were taken in.
        records: Commands, `tegcore.wire.records`.
        quotes: Virtual FOK records; answered, not acknowledged.
    """

    v: Version
    host: str
    boot: Boot
    event_ack: Sequence
    records: bytes = b""
    quotes: bytes = b""


class Ask(Message, frozen=True, tag="ask"):
    """A host asks who it shares leases with, and how to reach other hosts.

    Attributes:
        leases: Numbers of leases that it ordered or that sit on it.
        hosts: Names of hosts.
        tenants_after: Not below 0: it asks instead which tenants changed after this change; see `Beat.tenants`.
    """

    v: Version
    host: str
    boot: Boot
    leases: list[Count] = []
    hosts: list[str] = []
    tenants_after: Annotated[int, Meta(ge=-1, le=2**62)] = -1


class Party(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who has to do with a lease.

    Attributes:
        lease: Its number.
        token: Its fencing token.
        home: The host that ordered it.
        seats: The hosts that it sits on, in the order of its blocks: the place of each is its rank.
        slots: How many of its slots each has.
    """

    lease: Count
    token: Count
    home: str
    seats: list[str]
    slots: list[Slots]


class PeerHost(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A host that another may speak to.

    Attributes:
        host: Its name.
        address: HOST:PORT, as its status says; empty: not known.
        up: Whether the ledger hears it.
        key: The key of what the asker says to it, sealed with the asker's own key.
    """

    host: str
    address: str
    up: bool
    key: bytes


class Peers(Message, frozen=True, tag="peers"):
    """The ledger's answer to `Ask`; what it does not know, or may not be told, is left out."""

    v: Version
    host: str
    boot: Boot
    parties: list[Party]
    peers: list[PeerHost]


class TenantIs(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A tenant, as operators set it by command.

    Attributes:
        token: To spend as it, sealed with the asker's own key.
        closed: Its orders are refused.
        users: Added by command, by number.
        without: Removed by command, though the host's settings may list them.
    """

    name: str
    token: bytes
    closed: bool
    users: list[Uid]
    without: list[Uid]


class Tenants(Message, frozen=True, tag="tenants"):
    """The ledger's answer to `Ask.tenants_after`: tenants in the order of their latest change.

    Attributes:
        after: As asked.
        upto: All changes up to this one are told.
    """

    v: Version
    host: str
    boot: Boot
    after: Count
    upto: Count
    tenants: list[TenantIs]


class Welcome(Message, frozen=True, tag="welcome"):
    """The ledger's answer to `Hello`: the host's number and place, and the settings of the zone."""

    v: Version
    host: str
    boot: Boot
    host_id: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    base: Slot
    zone_k: Annotated[int, Meta(ge=1, le=ZONE_K_MAX)]
    tick: Tick
    period_ticks: Ticks
    term_ticks: Ticks
    renew_ticks: Ticks
    grace_ticks: Ticks
    notice_ticks: Ticks
    epoch_ticks: Ticks


class Events(Message, frozen=True, tag="events"):
    """Events that the host has not acknowledged yet, answers to its quotes, and how far its commands were taken in.

    Attributes:
        ack: Greatest sequence number of a command that was applied and is durable.
    """

    v: Version
    host: str
    boot: Boot
    tick: Tick
    ack: Sequence
    records: bytes = b""
    quotes: bytes = b""


class Rejected(Message, frozen=True, tag="rejected"):
    """Input that was not taken in, and why: never a command's outcome.

    Attributes:
        boot: Under which it was sent, where that matters; else 0.
        reason: A `Reason`.
        detail: One line for people.
    """

    v: Version
    host: str
    boot: Boot
    reason: Annotated[int, Meta(ge=0, le=255)]
    detail: str


class Beat(Message, frozen=True, tag="beat"):
    """The zone's tick: its own count, the merged time, and what operators look at first.

    Attributes:
        tenants: How many changes to tenants there were: a host that knows fewer asks.
    """

    v: Version
    zone: str
    tick: Tick
    tau: Tick
    market: Annotated[int, Meta(ge=0, le=1)]
    leases: Count
    free_slots: Slots
    tenants: Count = 0


class ClassStock(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a zone has of one class of slots, and what keeps them from being had now.

    Attributes:
        slots: That hosts have brought, whatever their state.
        free: Of them, offered now.
        drained, lost: Of them, on a drained host, and on one that is not heard, held or not.
        leased: Of the others, held or promised.
        cordoned: Of the others, cordoned and not held.
        largest_log2: log2 of the slots of the largest block that there could ever be.
        free_log2: The same of what is free; -1: nothing is.
        free_cpu_milli, free_mem_bytes: The most that a single host with a free slot has left.
        end_tick: When the first lease ends unless it is renewed; 0: there is none.
        leaving: Slots whose holders are leaving.
        leave_tick: When the first of those is free at the latest; 0: none is.
        declared: Slots of leases whose holders have said when they end; see `declared_tick`.
        declared_tick: The first such end; 0: nobody has said.
    """

    slot_class: SlotClass
    slots: Slots = 0
    free: Slots = 0
    leased: Slots = 0
    drained: Slots = 0
    lost: Slots = 0
    cordoned: Slots = 0
    largest_log2: Log2OrNone = -1
    free_log2: Log2OrNone = -1
    free_cpu_milli: Milli = 0
    free_mem_bytes: Bytes = 0
    end_tick: Tick = 0
    leaving: Slots = 0
    leave_tick: Tick = 0
    declared: Slots = 0
    declared_tick: Tick = 0


class HostKind(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A kind of host that a zone has: what one offers when nobody is on it.

    Attributes:
        cpu_milli: All its cores, in thousandths.
        mem_bytes: What is offered of its memory; what leases hold of it stays below.
    """

    slot_class: SlotClass
    log2_slots: Log2
    cpu_milli: Milli
    mem_bytes: Bytes


class Stock(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a zone has, as the ledger counted it from a tick on: why work waits, and what it could never have.

    Attributes:
        classes: Those of which there is a slot.
        kinds: At most `HOST_KINDS_MAX`; of more, those of a class are told as one that has the most of each.
    """

    tick: Tick
    classes: list[ClassStock]
    kinds: list[HostKind]


class Heat(Message, frozen=True, tag="heat"):
    """H_auction at the cells of a 16 x 16 grid: a full frame every 20 ticks, numbered deltas between.

    Attributes:
        frame: Number of the full frame.
        delta: 0 for the full frame, then 1, 2, ...
        cells: float32 of all 256 cells (full), or pairs of uint16 cell and float32 value (delta), little-endian.
        mix: With a full frame, what is asked for of late: `tegcore.field.requests`.
        stock: With a full frame, what the zone has.
    """

    v: Version
    zone: str
    tick: Tick
    frame: Count
    delta: Count
    cells: bytes
    mix: bytes = b""
    stock: Stock | None = None


class Sample(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One reading of a host; NaN where there is no such source.

    Attributes:
        at_ns: Boot-time clock of the host.
        cpu, memory, io, network, accelerator: Utilisation or pressure-stall share, the larger, 0..1.
        heat: (T - T_idle) / (T_crit - T_idle), 0..1.
        fragmentation: Share of free capacity that the mix of requests cannot use, 0..1.
        temperature_c: Hottest sensor.
        power_w: Of the whole host.
    """

    at_ns: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    cpu: Share
    memory: Share
    io: Share
    network: Share
    accelerator: Share
    heat: Share
    fragmentation: Share
    temperature_c: Celsius
    power_w: Watt


class Motion(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a host's agents did since its last telemetry, for Re (DESIGN 8).

    Attributes:
        agents: All agents of the host, ghosts with weight 1.
        ghosts: Of them, how many seek.
        attempts_slots: Sum of attempted displacement, in slots.
        ticks: Over how many ticks.
        mass: Mean mass, in units of (11).
    """

    agents: Agents
    ghosts: Agents
    attempts_slots: Displacement
    ticks: Ticks
    mass: Mass


class Telemetry(Message, frozen=True, tag="telemetry"):
    """Four messages a second of up to five samples; of how many slots, and of which class, they are."""

    v: Version
    host: str
    boot: Boot
    seq: Sequence
    base: Slot
    log2_slots: Log2
    samples: list[Sample]
    motion: Motion
    slot_class: SlotClass = 0


class Status(Message, frozen=True, tag="status"):
    """A host's presence: said when it comes and goes, and by its last will; retained.

    Attributes:
        address: HOST:PORT at which it hears other hosts; empty: it hears none.
        machine: As in `Hello`.
    """

    v: Version
    host: str
    boot: Boot
    up: bool
    address: str = ""
    machine: Machine = 0


class Digest(Message, frozen=True, tag="digest"):
    """What a zone tells the governor each tick.

    Attributes:
        tick: The ledger's own count.
        tau: Merged time.
        slots: Present slots.
        free_slots: Of them, free.
        leases: Seated leases.
        demand_slots: Slots that the refused orders since the last digest asked for.
        rent_ucr: Rent of all leases, a period.
        used_rent_ucr: Rent times measured use, a period.
        reserve_ucr: Reserve of all present slots, a period.
        attempts: FOK and MOVE since the last digest.
        refused: Of them, refused for want of fit or price.
        refused_span: Sum of min(region side, L0) over those refused, in slots.
        epoch: Number of the rates in force.
    """

    v: Version
    zone: str
    tick: Tick
    tau: Tick
    slots: Slots
    free_slots: Slots
    leases: Count
    demand_slots: Count
    rent_ucr: Ucr
    used_rent_ucr: Ucr
    reserve_ucr: Ucr
    attempts: Count
    refused: Count
    refused_span: Count
    epoch: Epoch


class Field(Message, frozen=True, tag="field"):
    """The projected field S_phys of a zone: weights that are dual in tau on a fixed grid of inducing points.

    Attributes:
        tau: When the posterior was taken.
        grid: Points along each side.
        lengthscale: Support of the compact kernel, in slots.
        mean: Prior mean, added to the sum.
        noise: Standard deviation of the observations.
        weights: float32, row by row, `grid` x `grid`.
        rates: float32, d weights / d tau.
        stale: Ticks since the last posterior that was fit to be sent; 0 when fresh.
        temperature: T of the agents' noise.
        friction: gamma_0 exp(g).
        mu_ucr: Static friction of the epoch (14), in ucr per slot-period and unit of mass; -1 where nobody said.
    """

    v: Version
    zone: str
    tau: Tick
    grid: Annotated[int, Meta(ge=0, le=1 << ZONE_K_MAX)]
    lengthscale: Positive
    mean: Real
    noise: Positive
    weights: bytes
    rates: bytes
    stale: Tick
    temperature: Positive
    friction: Positive
    mu_ucr: Annotated[int, Meta(ge=-1, le=2**62)] = -1


class Rates(Message, frozen=True, tag="rates"):
    """The governor's rates and admission for a zone: records of `SET_RATES`, `ADMIT` and `SET_CAP`; its merged time."""

    v: Version
    zone: str
    epoch: Epoch
    records: bytes
    tau: Tick = 0


class Certificate(Message, frozen=True, tag="certificate"):
    """Why the governor decided as it did.

    Attributes:
        epoch: Number of the decision.
        tau: When.
        phase: Name of the phase.
        reynolds: Re.
        entropy_rate: S-dot.
        g: Order parameter.
        free_energy: F at its minimum (16).
        barrier: h (27); NaN where the barrier is not evaluated.
        bound: Which rule bound: `landau`, `barrier` or `paused`.
        cost: J (20).
        stale: Ticks since the last telemetry that could be used.
    """

    v: Version
    zone: str
    epoch: Epoch
    tau: Tick
    phase: str
    reynolds: Positive
    entropy_rate: Positive
    g: Real
    free_energy: Real
    barrier: Margin
    bound: str
    cost: Positive
    stale: Tick


AnyMessage = (
    Hello
    | Orders
    | Ask
    | Peers
    | Tenants
    | Welcome
    | Events
    | Rejected
    | Beat
    | Heat
    | Telemetry
    | Status
    | Digest
    | Field
    | Rates
    | Certificate
)

BYTES_MAX: dict[type[Message], int] = {
    Hello: 512,
    Orders: 64 << 10,
    Ask: 4 << 10,
    Peers: 48 << 10,
    Tenants: 48 << 10,
    Welcome: 512,
    Events: 64 << 10,
    Rejected: 1024,
    Beat: 256,
    Heat: 4 << 10,
    Telemetry: 4 << 10,
    Status: 256,
    Digest: 512,
    Field: 8 << 10,
    Rates: 4 << 10,
    Certificate: 1024,
}
"""Bound of each message, encoded."""

PAYLOAD_BYTES_MAX = max(BYTES_MAX.values())
