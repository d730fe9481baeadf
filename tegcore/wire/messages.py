"""The messages of the zone, each with a tag, a schema version and a bound on its size.

Structs are encoded as arrays: new fields come last, with defaults, and a receiver passes over fields that it does not
know. Orders and events hold runs of `tegcore.wire.records`; grids and weights hold little-endian arrays.
"""

import msgspec

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

    v: int
    host: str
    boot: int
    base: int
    log2_slots: int
    slot_class: int
    cpu_milli: int
    mem_bytes: int
    absent_mask: int = 0
    rules: int = 0
    machine: int = 0
    lease: int = 0
    token: int = 0


class Orders(Message, frozen=True, tag="orders"):
    """All commands of a host that are not acknowledged yet, and its quotes: at most one message a tick.

    Attributes:
        boot: As in `Hello`.
        event_ack: Greatest sequence number up to which events were taken in.
        records: Commands, `tegcore.wire.records`.
        quotes: Virtual FOK records; answered, not acknowledged.
    """

    v: int
    host: str
    boot: int
    event_ack: int
    records: bytes = b""
    quotes: bytes = b""


class Ask(Message, frozen=True, tag="ask"):
    """A host asks who it shares leases with, and how to reach other hosts.

    Attributes:
        leases: Numbers of leases that it ordered or that sit on it.
        hosts: Names of hosts.
        tenants_after: Not below 0: it asks instead which tenants changed after this change; see `Beat.tenants`.
    """

    v: int
    host: str
    boot: int
    leases: list[int] = []
    hosts: list[str] = []
    tenants_after: int = -1


class Party(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who has to do with a lease.

    Attributes:
        lease: Its number.
        token: Its fencing token.
        home: The host that ordered it.
        seats: The hosts that it sits on, in the order of its blocks: the place of each is its rank.
        slots: How many of its slots each has.
    """

    lease: int
    token: int
    home: str
    seats: list[str]
    slots: list[int]


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

    v: int
    host: str
    boot: int
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
    users: list[int]
    without: list[int]


class Tenants(Message, frozen=True, tag="tenants"):
    """The ledger's answer to `Ask.tenants_after`: tenants in the order of their latest change.

    Attributes:
        after: As asked.
        upto: All changes up to this one are told.
    """

    v: int
    host: str
    boot: int
    after: int
    upto: int
    tenants: list[TenantIs]


class Welcome(Message, frozen=True, tag="welcome"):
    """The ledger's answer to `Hello`: the host's number and place, and the settings of the zone."""

    v: int
    host: str
    boot: int
    host_id: int
    base: int
    zone_k: int
    tick: int
    period_ticks: int
    term_ticks: int
    renew_ticks: int
    grace_ticks: int
    notice_ticks: int
    epoch_ticks: int


class Events(Message, frozen=True, tag="events"):
    """Events that the host has not acknowledged yet, answers to its quotes, and how far its commands were taken in.

    Attributes:
        ack: Greatest sequence number of a command that was applied and is durable.
    """

    v: int
    host: str
    boot: int
    tick: int
    ack: int
    records: bytes = b""
    quotes: bytes = b""


class Rejected(Message, frozen=True, tag="rejected"):
    """Input that was not taken in, and why: never a command's outcome.

    Attributes:
        boot: Under which it was sent, where that matters; else 0.
        reason: A `Reason`.
        detail: One line for people.
    """

    v: int
    host: str
    boot: int
    reason: int
    detail: str


class Beat(Message, frozen=True, tag="beat"):
    """The zone's tick: its own count, the merged time, and what operators look at first.

    Attributes:
        tenants: How many changes to tenants there were: a host that knows fewer asks.
    """

    v: int
    zone: str
    tick: int
    tau: int
    market: int
    leases: int
    free_slots: int
    tenants: int = 0


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

    slot_class: int
    slots: int = 0
    free: int = 0
    leased: int = 0
    drained: int = 0
    lost: int = 0
    cordoned: int = 0
    largest_log2: int = -1
    free_log2: int = -1
    free_cpu_milli: int = 0
    free_mem_bytes: int = 0
    end_tick: int = 0
    leaving: int = 0
    leave_tick: int = 0
    declared: int = 0
    declared_tick: int = 0


class HostKind(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A kind of host that a zone has: what one offers when nobody is on it.

    Attributes:
        cpu_milli: All its cores, in thousandths.
        mem_bytes: What is offered of its memory; what leases hold of it stays below.
    """

    slot_class: int
    log2_slots: int
    cpu_milli: int
    mem_bytes: int


class Stock(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a zone has, as the ledger counted it from a tick on: why work waits, and what it could never have.

    Attributes:
        classes: Those of which there is a slot.
        kinds: At most `HOST_KINDS_MAX`; of more, those of a class are told as one that has the most of each.
    """

    tick: int
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

    v: int
    zone: str
    tick: int
    frame: int
    delta: int
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

    at_ns: int
    cpu: float
    memory: float
    io: float
    network: float
    accelerator: float
    heat: float
    fragmentation: float
    temperature_c: float
    power_w: float


class Motion(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a host's agents did since its last telemetry, for Re (DESIGN 8).

    Attributes:
        agents: All agents of the host, ghosts with weight 1.
        ghosts: Of them, how many seek.
        attempts_slots: Sum of attempted displacement, in slots.
        ticks: Over how many ticks.
        mass: Mean mass, in units of (11).
    """

    agents: int
    ghosts: int
    attempts_slots: float
    ticks: int
    mass: float


class Telemetry(Message, frozen=True, tag="telemetry"):
    """Four messages a second of up to five samples; of how many slots, and of which class, they are."""

    v: int
    host: str
    boot: int
    seq: int
    base: int
    log2_slots: int
    samples: list[Sample]
    motion: Motion
    slot_class: int = 0


class Status(Message, frozen=True, tag="status"):
    """A host's presence: said when it comes and goes, and by its last will; retained.

    Attributes:
        address: HOST:PORT at which it hears other hosts; empty: it hears none.
        machine: As in `Hello`.
    """

    v: int
    host: str
    boot: int
    up: bool
    address: str = ""
    machine: int = 0


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

    v: int
    zone: str
    tick: int
    tau: int
    slots: int
    free_slots: int
    leases: int
    demand_slots: int
    rent_ucr: int
    used_rent_ucr: int
    reserve_ucr: int
    attempts: int
    refused: int
    refused_span: int
    epoch: int


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

    v: int
    zone: str
    tau: int
    grid: int
    lengthscale: float
    mean: float
    noise: float
    weights: bytes
    rates: bytes
    stale: int
    temperature: float
    friction: float
    mu_ucr: int = -1


class Rates(Message, frozen=True, tag="rates"):
    """The governor's rates and admission for a zone: records of `SET_RATES`, `ADMIT` and `SET_CAP`; its merged time."""

    v: int
    zone: str
    epoch: int
    records: bytes
    tau: int = 0


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

    v: int
    zone: str
    epoch: int
    tau: int
    phase: str
    reynolds: float
    entropy_rate: float
    g: float
    free_energy: float
    barrier: float
    bound: str
    cost: float
    stale: int


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
