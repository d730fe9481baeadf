"""Fixed-size records of integers: what orders, events and the journal are made of.

One layout serves wire and disk: 104 little-endian bytes, a header (op, flags, actor, boot, seq) and ten signed 64-bit
arguments whose names stand in the class of the op below. What a host sends is what the ledger journals, except that
the door of the ledger fills in `actor` (the host's number) and replaces a tenant's token with the tenant's number.

*Commands* change the ledger's state and are journaled; *events* tell a host what became of it. A command belongs to
(host, boot, seq), an event to (host, seq); both are acknowledged cumulatively, so that loss, duplicates and reordering
on the way change nothing (`tegcore.wire.session`).

Fields are only ever added at the end, with 0 as the value of records written before; an op is never given a second
meaning. Text travels as `NameIs` records of at most 64 bytes of UTF-8.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum, IntFlag
from operator import gt
from typing import Annotated, Any, NamedTuple, Self, get_type_hints

from tegcore.errors import DecodeError
from tegcore.units import (
    BLOCKS_PER_ORDER_MAX,
    CLASS_COUNT_MAX,
    NAME_BYTES_MAX,
    PERMILLE,
    PRICE_UCR_MAX,
    UCR_MAX,
    ZONE_K_MAX,
)

ARG_COUNT = 10
_LAYOUT = struct.Struct(f"<HHIQQ{ARG_COUNT}q")
RECORD_BYTES = _LAYOUT.size
"""104 bytes."""


class Op(IntEnum):
    """What a record says. Commands are below 128, events above."""

    GENESIS = 1
    NAME_IS = 2
    TICK = 3
    HOST_UP = 8
    HOST_LOST = 9
    HOST_LEFT = 10
    FOK = 16
    MOVE = 17
    EXPAND = 18
    RENEW = 19
    RELEASE = 20
    CANCEL = 21
    TOP_UP = 22
    STAY = 23
    ACKED = 24
    SHORTEN = 25
    MINT = 32
    CORDON = 33
    DRAIN = 34
    PIN = 35
    MODE = 36
    SET_RATES = 37
    SET_RESERVE = 38
    ADMIT = 39
    SET_CAP = 40
    TRANSFER_OUT = 41
    TRANSFER_IN = 42
    EVICT = 43
    INCOME = 44
    RULES = 45
    SET_TIME = 46
    SHARES = 47
    TENANT_USER = 48
    TENANT_SET = 49

    FILLED = 128
    REFUSED = 129
    EVICTING = 130
    WAITING = 131
    NOTICE = 132
    RENEWED = 133
    EXPANDED = 134
    ENDED = 135
    SETTLED = 136
    ANSWER = 137
    SYNCED = 138
    QUOTED = 139
    WITHDRAWN = 140
    LOW = 141
    WOKEN = 142
    PROMISED = 143


class Reason(IntEnum):
    """Why a command was refused, or a lease ended; `OK` where it was not."""

    OK = 0
    NO_FIT = 1  # no feasible block in the region: `missing` = slots of the least block that failed
    PRICE = 2  # the limit does not exceed the cost: `missing` = ucr per slot-period
    FUNDS = 3  # the account cannot pay: `missing` = ucr
    ENDOWMENT = 4  # the endowment does not cover the first period at the limit: `missing` = ucr
    REGION = 5  # no such region in this zone
    SHAPE = 6  # sizes, classes or share that no block can have
    TENANT = 7  # unknown tenant or wrong token
    LEASE = 8  # no such lease
    TOKEN = 9  # stale fencing token
    STATE = 10  # the lease or order is not in a state that allows it
    CAPACITY = 11  # host memory at or past C_max: `missing` = bytes
    BUSY = 12  # more bids than one tick clears: see the retry tick
    ADMISSION = 13  # the governor has closed admission: see the retry tick
    BANKRUPT = 14  # the purse cannot pay the coming period: `missing` = ucr
    CHALLENGED = 15  # evicted by a stronger bid
    OPERATOR = 16  # an operator ended or refused it
    EXPIRED = 17  # the term has surely ended
    CANCELLED = 18  # its owner cancelled it
    DONE = 19  # the workload came to its end
    STAYED = 20  # the incumbent could not leave: the challenger's bid counts as refused
    CAP = 21  # the price cap (6) of the region is below the reserve: not offered
    RANGE = 22  # a number outside its bounds
    LIMIT = 23  # a bound of the ledger (accounts, hosts, leases, names) is reached
    HOST_GONE = 24  # the host of the order or lease was lost
    UNOFFERED = 25  # this ledger does not offer the operation
    FORGED = 26  # a message under another's name, or with a wrong signature
    UNDECODABLE = 27  # bytes that are no message of the contract
    STALE_BOOT = 28  # a message of an earlier boot of its host
    DRAINED = 29  # the host is drained
    MODE = 30  # not in this market mode
    READ_ONLY = 31  # the journal cannot be written: reads only until it can
    MOVED = 32  # it left for a cheaper seat
    BUDGET = 33  # its own budget or purse does not cover one more period: `missing` = ucr
    TAKEN = 34  # every block that it could have is leased, and it may not displace: `missing` = slots
    TIME = 35  # its declared time is over
    TWIN = 36  # another machine has this host's name, and is heard
    HISTORY = 37  # the ledger knows less than it acknowledged: a copy was put back
    SHARE = 38  # as TAKEN, and tenants that used less of their share of late go before it: `missing` = slots
    KEPT = 39  # what is free is kept for who waits longest: `missing` = ticks that it may run there, 0 for none


def reason_name(code: int) -> str:
    """What a peer's reason is called, also where it is one that this program does not know."""
    return Reason(code).name if code in Reason._value2member_map_ else f"REASON_{code}"


class Bounds(NamedTuple):
    """Inclusive range of a field."""

    low: int
    high: int


Count = Annotated[int, Bounds(0, 2**62)]
Signed = Annotated[int, Bounds(-(2**62), 2**62)]
Ucr = Annotated[int, Bounds(0, UCR_MAX)]
PriceUcr = Annotated[int, Bounds(0, PRICE_UCR_MAX)]
Bytes = Annotated[int, Bounds(0, 1 << 50)]
Permille = Annotated[int, Bounds(0, PERMILLE)]
Ticks = Annotated[int, Bounds(0, 2**53)]
Flag = Annotated[int, Bounds(0, 1)]
Word = Annotated[int, Bounds(-(2**63), 2**63 - 1)]
Code = Annotated[int, Bounds(0, 255)]


class Region(NamedTuple):
    """An aligned Morton run of 2^log2 slots."""

    base: int
    log2: int

    def packed(self) -> int:
        """As one integer: base << 8 | log2."""
        return self.base << 8 | self.log2

    @classmethod
    def unpacked(cls, word: int) -> Self:
        """The inverse of `packed`.

        Raises:
            DecodeError: If the run is not aligned or larger than any zone.
        """
        base, log2 = word >> 8, word & 0xFF
        if word < 0 or log2 > 2 * ZONE_K_MAX or base >> 2 * ZONE_K_MAX or base & ((1 << log2) - 1):
            raise DecodeError(f"{word:#x} is no aligned run of slots")
        return cls(base, log2)

    @property
    def slots(self) -> int:
        """How many slots it spans."""
        return 1 << self.log2

    @property
    def end(self) -> int:
        """The first slot past it."""
        return self.base + (1 << self.log2)


def pack_blocks(blocks: Sequence[Region]) -> tuple[int, int]:
    """Up to four blocks in two words, 32 bits each: base << 8 | log2, and 0xFFFFFFFF for none."""
    if len(blocks) > BLOCKS_PER_ORDER_MAX:
        raise ValueError(f"{len(blocks)} blocks: an order has at most {BLOCKS_PER_ORDER_MAX}")
    raw = [block.packed() for block in blocks] + [0xFFFFFFFF] * (BLOCKS_PER_ORDER_MAX - len(blocks))
    low, high = raw[0] | raw[1] << 32, raw[2] | raw[3] << 32
    return _signed(low), _signed(high)


def unpack_blocks(first: int, second: int) -> tuple[Region, ...]:
    """The inverse of `pack_blocks`.

    Raises:
        DecodeError: If a block is no aligned run.
    """
    halves = (first & 0xFFFFFFFF, (first >> 32) & 0xFFFFFFFF, second & 0xFFFFFFFF, (second >> 32) & 0xFFFFFFFF)
    return tuple(Region.unpacked(half) for half in halves if half != 0xFFFFFFFF)


class Shape(NamedTuple):
    """What an order asks for: one to four block sizes, the classes it accepts, or a share of one slot.

    Attributes:
        sizes: log2 of each block's slots, largest first.
        classes: Mask of the slot classes that will do.
        share_permille: 0 for whole slots; 1..999 for a part of one slot (then `sizes` is `(0,)`).
    """

    sizes: tuple[int, ...]
    classes: int = 1
    share_permille: int = 0

    @property
    def slots(self) -> int:
        """How many slots it spans; a share counts as one."""
        return sum(1 << size for size in self.sizes)

    def packed(self) -> int:
        """As one integer: four bytes of size + 1, a byte of classes, two bytes of share."""
        word = self.classes << 32 | self.share_permille << 40
        for place, size in enumerate(self.sizes):
            word |= (size + 1) << 8 * place
        return word

    @classmethod
    def unpacked(cls, word: int) -> Self:
        """The inverse of `packed`, canonical: sizes largest first.

        Raises:
            DecodeError: If no block can have this shape.
        """
        sizes = tuple(((word >> 8 * place) & 0xFF) - 1 for place in range(BLOCKS_PER_ORDER_MAX))
        wanted = tuple(sorted((size for size in sizes if size >= 0), reverse=True))
        classes, share = (word >> 32) & 0xFF, word >> 40
        if word < 0 or not wanted or wanted[0] > 2 * ZONE_K_MAX or not 0 < classes < 1 << CLASS_COUNT_MAX:
            raise DecodeError(f"{word:#x} is no shape of an order")
        if share >= PERMILLE or (share and wanted != (0,)):
            raise DecodeError(f"a share of {share} permille is offered of one slot only, and is less than one")
        return cls(wanted, classes, share)


class OrderFlag(IntFlag):
    """Traits of an order, in the lowest byte of `traits`."""

    NONE = 0
    UNSAVABLE = 1
    """No hook and no checkpoint: after its notice it begins anew elsewhere, or ends."""
    NAMED = 2
    """A person named the bid: only such an order may displace."""
    BUDGETED = 4
    """`endow_ucr` caps what the lease pays from the account; without this flag it moves into a purse of its own."""
    CONFINED = 8
    """The workload cannot run outside the region: nothing free elsewhere is of use to it."""


ORDER_FLAGS = OrderFlag.UNSAVABLE | OrderFlag.NAMED | OrderFlag.BUDGETED | OrderFlag.CONFINED


_MANTISSA_BITS = 11
_MANTISSA = (1 << _MANTISSA_BITS) - 1
TIME_TICKS_MAX = _MANTISSA << 15
"""The longest time that an order can declare: 38 days."""


def _coded(ticks: int) -> int:
    """A time as an 11-bit number and a 4-bit exponent, rounded up."""
    if not 0 <= ticks <= TIME_TICKS_MAX:
        raise ValueError(f"a time of {ticks} ticks: at most {TIME_TICKS_MAX}")
    exponent = 0
    while -(-ticks >> exponent) > _MANTISSA:
        exponent += 1
    return -(-ticks >> exponent) | exponent << _MANTISSA_BITS


class Traits(NamedTuple):
    """What an order says of its workload beside its shape.

    Attributes:
        flags: See `OrderFlag`.
        save_ticks: Measured or declared time to save, in ticks; lengthens the eviction notice.
        sla_priority: 0..255, for the charge (12).
        time_ticks: How long it runs at most, as its owner declared; 0: for ever. Packed to 11 bits and an exponent,
            rounded up.
    """

    flags: OrderFlag = OrderFlag.NONE
    save_ticks: int = 0
    sla_priority: int = 0
    time_ticks: int = 0

    def packed(self) -> int:
        """As one integer: flags, priority << 8, save time << 16, declared time << 48."""
        return self.flags | self.sla_priority << 8 | self.save_ticks << 16 | _coded(self.time_ticks) << 48

    @classmethod
    def unpacked(cls, word: int) -> Self:
        """The inverse of `packed`.

        Raises:
            DecodeError: If a field is out of range.
        """
        if word < 0 or word & 0xFF & ~ORDER_FLAGS:
            raise DecodeError(f"{word:#x} is no set of traits")
        code = word >> 48
        time_ticks = (code & _MANTISSA) << (code >> _MANTISSA_BITS)
        if _coded(time_ticks) != code:
            raise DecodeError(f"{word:#x} declares a time in another way than the one there is")
        return cls(OrderFlag(word & 0xFF), word >> 16 & 0xFFFF_FFFF, (word >> 8) & 0xFF, time_ticks)


# --- commands -------------------------------------------------------------------------------------------------------


class NameKind(IntEnum):
    """Whose name a `NameIs` record gives."""

    ZONE = 0
    HOST = 1
    TENANT = 2


class Market(IntEnum):
    """How orders are priced."""

    FIXED = 0
    """Reserve prices, first come first served, nobody evicted."""
    AUCTION = 1


class Genesis(NamedTuple):
    """The first record of a journal: the settings that a ledger is made with.

    `patience_ticks`: after so long work without a promised start is kept slots at fixed prices; `woken_bids`: of those
    that wait in the auction, so many are told of room at once. 0: as the ledger is built.
    """

    zone_k: Annotated[int, Bounds(1, ZONE_K_MAX)]
    period_ticks: Annotated[int, Bounds(1, 2**31)]
    term_periods: Annotated[int, Bounds(1, 1000)]
    renew_ticks: Annotated[int, Bounds(1, 2**31)]
    grace_ticks: Annotated[int, Bounds(1, 2**31)]
    notice_ticks: Annotated[int, Bounds(1, 2**31)]
    epoch_ticks: Annotated[int, Bounds(1, 2**31)]
    market: Annotated[int, Bounds(0, 1)]
    patience_ticks: Annotated[int, Bounds(0, 2**31)] = 0
    woken_bids: Annotated[int, Bounds(0, 1 << 16)] = 0


class NameIs(NamedTuple):
    """A name for a number; hosts and tenants are numbered from 1 in the order of their first record."""

    kind: Annotated[int, Bounds(0, 2)]
    ident: Annotated[int, Bounds(0, 2**31)]
    text0: Word
    text1: Word
    text2: Word
    text3: Word
    text4: Word
    text5: Word
    text6: Word
    text7: Word

    @classmethod
    def of(cls, kind: NameKind, ident: int, text: str) -> Self:
        """The record that gives `ident` its name, at most 64 bytes of UTF-8."""
        raw = text.encode()
        if len(raw) > NAME_BYTES_MAX:
            raise ValueError(f"{text!r} is longer than {NAME_BYTES_MAX} bytes")
        return cls(kind, ident, *struct.unpack("<8q", raw.ljust(NAME_BYTES_MAX, b"\0")))

    @property
    def text(self) -> str:
        """The name.

        Raises:
            DecodeError: If the bytes are not UTF-8.
        """
        try:
            return struct.pack("<8q", *self[2:]).rstrip(b"\0").decode()
        except UnicodeDecodeError as error:
            raise DecodeError(f"a name record holds bytes that are not UTF-8: {error}") from None


class Tick(NamedTuple):
    """The end of a micro-batch: clears what came since the last one, then settles what is due."""

    tick: Ticks
    tau: Ticks


def absent_bits(mask: int, log2_slots: int) -> int:
    """Which slots of a run are absent, bit by bit, as a host says it.

    Args:
        mask: Of 63 bits: bit i set, slot i is absent; -n: all but the first n are absent, in a run of any length.
        log2_slots: Of the run.
    """
    every = (1 << (1 << log2_slots)) - 1
    return every & ~((1 << -mask) - 1) if mask < 0 else mask & every


class HostUp(NamedTuple):
    """A host has introduced itself under a new boot. `actor` is its number; orders of older boots are void.

    `absent_mask`: see `absent_bits`. `rules`: the latest rule set whose events it reads; 0: those of set 1. `lease` and
    `token`: the greatest numbers it has seen: no lease is given one of them again.
    """

    base: Count
    log2_slots: Annotated[int, Bounds(0, 16)]
    slot_class: Annotated[int, Bounds(0, CLASS_COUNT_MAX - 1)]
    cpu_milli: Count
    mem_bytes: Bytes
    absent_mask: Word
    rules: Annotated[int, Bounds(0, 1000)] = 0
    lease: Ticks = 0
    token: Ticks = 0


class HostLost(NamedTuple):
    """A host's last will has spoken, or it is silent: it may return; its leases run to their sure end.

    With `withhold`, nothing new is seated on it until it is heard again.
    """

    host: Count
    withhold: Flag = 0


class HostLeft(NamedTuple):
    """A host said goodbye with nothing running: its slots leave the book."""

    host: Count


class Fok(NamedTuple):
    """Fill or kill: the whole shape inside the region, within the limit, or nothing. `MOVE` names the lease to leave.

    Attributes:
        ref: The workload's number, chosen by its host, unique there for ever.
        tenant: The tenant's token on the wire, its number in the journal.
        region: See `Region.packed`.
        shape: See `Shape.packed`.
        cpu_milli: Per slot.
        mem_bytes: Host memory per slot.
        limit_ucr: Per slot-period; covers slots, cpu and memory.
        endow_ucr: 0: the account pays as the lease runs. Else E_init, moved to the workload's purse while the order
            stands; or, with `OrderFlag.BUDGETED`, the most that the lease may pay from the account.
        traits: See `Traits.packed`.
        lease: 0, or for MOVE the lease to leave.
    """

    ref: Count
    tenant: Word
    region: Word
    shape: Word
    cpu_milli: Count
    mem_bytes: Bytes
    limit_ucr: PriceUcr
    endow_ucr: Ucr
    traits: Word
    lease: Count


class Expand(NamedTuple):
    """Just-in-time memory: more (or, below 0, less) host memory for a lease, at the price (15) or below the limit."""

    lease: Count
    token: Count
    host: Count
    delta_bytes: Signed
    limit_ucr: Ucr


class Renew(NamedTuple):
    """The lease's heartbeat: moves the term's end to receipt + term, names the limit from the next boundary on.

    `use_permille` is the measured share of what is held that was used since the last RENEW, for tax and subsidy. With
    `own`, only the sending host's own term is moved: a lease over several hosts ends whole when one host's term ends.
    """

    lease: Count
    token: Count
    limit_ucr: PriceUcr
    use_permille: Permille
    own: Flag = 0


class Release(NamedTuple):
    """The host reports the lease's slots clear: the workload has ended, moved, or left."""

    lease: Count
    token: Count
    why: Code


class Cancel(NamedTuple):
    """An order is no longer wanted, by the ref of its workload; or, where one is named, the lease that it became.

    The hosts of a lease that is seated elsewhere than where it was ordered get notice, and release it.
    """

    ref: Count
    lease: Count = 0


class TopUp(NamedTuple):
    """More credits into a lease's purse, or room in its budget. `tenant` as in `Fok`.

    Attributes:
        number: Of the top-ups of its workload, in order, from 1 on: a lease takes each in once, though it is sent again
            after a restart. 0: it is not numbered.
    """

    lease: Count
    token: Count
    tenant: Word
    amount_ucr: Ucr
    number: Count = 0


class Stay(NamedTuple):
    """The host cannot clear an evicted lease: the incumbent stays and the challenger is refused."""

    lease: Count
    token: Count


TimeTicks = Annotated[int, Bounds(1, TIME_TICKS_MAX)]


class Shorten(NamedTuple):
    """A lease runs for so long at most, from its grant on: never longer than was declared, as promises rest on that."""

    lease: Count
    token: Count
    time_ticks: TimeTicks


class Acked(NamedTuple):
    """The host has taken in its events up to this number. Made by the ledger's door from `Orders.event_ack`."""

    event_seq: Count


class Mint(NamedTuple):
    """Credits from an operator into a tenant's account."""

    tenant: Count
    amount_ucr: Ucr


class Cordon(NamedTuple):
    """Keep new leases off a slot, or let them on again."""

    slot: Count
    on: Flag


class Drain(NamedTuple):
    """Keep new leases off a host and evict those it holds, or let them on again."""

    host: Count
    on: Flag


class Pin(NamedTuple):
    """A pinned lease is never evicted by a challenger."""

    lease: Count
    on: Flag


class SetMode(NamedTuple):
    """Fixed prices or the auction; see `Market`."""

    market: Annotated[int, Bounds(0, 1)]


class SetRates(NamedTuple):
    """The governor's rates of an epoch, in force from each lease's next boundary.

    Attributes:
        epoch: Number of the epoch; an older one is refused.
        mu_ucr: Static friction in ucr per slot-period and unit of mass (14).
        tax_permille: Holding tax on rent x measured idle share.
        subsidy_permille: On rent x measured use.
        subsidy_ucr_max: Most that an epoch may mint as subsidy.
        gas_ucr: C_txn of an expansion.
        burn_permille: Of what returns from a purse.
        mem_k_ucr: k of (15), ucr per period.
        cpu_k_ucr: The same for cpu.
        peg: joules per credit.
    """

    epoch: Count
    mu_ucr: Ucr
    tax_permille: Annotated[int, Bounds(0, 1_000_000)]
    subsidy_permille: Annotated[int, Bounds(0, 1_000_000)]
    subsidy_ucr_max: Ucr
    gas_ucr: Ucr
    burn_permille: Permille
    mem_k_ucr: Ucr
    cpu_k_ucr: Ucr
    peg: Count


class SetReserve(NamedTuple):
    """The reserve of every slot of a class."""

    slot_class: Annotated[int, Bounds(0, CLASS_COUNT_MAX - 1)]
    reserve_ucr: PriceUcr


class Admit(NamedTuple):
    """The barrier's admission: how many FOK and MOVE of one tick are cleared; the rest are told when to retry."""

    per_tick: Count
    until_tick: Ticks


class SetCap(NamedTuple):
    """The price cap (6) of a region, for free slots."""

    region: Word
    cap_ucr: PriceUcr


class Transfer(NamedTuple):
    """Credits that leave for, or come from, another ledger; counted once by id."""

    transfer: Count
    tenant: Count
    zone: Count
    amount_ucr: Ucr


class Evict(NamedTuple):
    """An operator ends a lease: notice first, as to everyone."""

    lease: Count


class SetTime(NamedTuple):
    """An operator declares anew for how long a lease runs at most, from its grant on: also for longer."""

    lease: Count
    time_ticks: TimeTicks


INCOME_STANDING = -1
"""At fixed prices an income that covers whatever is charged; in the auction none."""


class Income(NamedTuple):
    """What a tenant is minted each period from now on; `tenant` 0: every tenant that has no rate of its own.

    Attributes:
        rate_ucr: A period; 0 for none, `INCOME_STANDING` for what is charged at fixed prices.
    """

    tenant: Count
    rate_ucr: Annotated[int, Bounds(INCOME_STANDING, UCR_MAX)]


TENANT_WEIGHT_MAX = 10_000


class TenantUser(NamedTuple):
    """A user, by number, may spend as a tenant, or no longer: also where the settings' tables say otherwise."""

    tenant: Count
    uid: Annotated[int, Bounds(0, 2**32 - 1)]
    on: Flag


class TenantSet(NamedTuple):
    """The terms of a tenant: its weight among all, and whether it is closed to new orders."""

    tenant: Count
    weight: Annotated[int, Bounds(1, TENANT_WEIGHT_MAX)]
    closed: Flag


class SetRules(NamedTuple):
    """From here on the journal is under a later rule set; see `zone_ledger.rules`."""

    rules: Annotated[int, Bounds(1, 1000)]


class SetShares(NamedTuple):
    """From here on tenants wait at fixed prices by what they have used, of which half is forgotten in so many ticks.

    0: by age alone. Use is counted from here on.
    """

    half_life_ticks: Annotated[int, Bounds(0, 2**31)]


# --- events ---------------------------------------------------------------------------------------------------------


class Filled(NamedTuple):
    """A lease, told to the host that asked and to each host that it spans; sent again to a host that came back.

    `ref` counts for its origin host; `state` is a `LeaseState`; `price_ucr` is rent per slot-period.
    """

    ref: Count
    lease: Count
    token: Count
    blocks0: Word
    blocks1: Word
    price_ucr: Ucr
    term_end_tick: Ticks
    purse_ucr: Ucr
    mass_micro: Count
    origin_host: Count


class Refused(NamedTuple):
    """An order ended without a lease. `missing` is what the reason says it is."""

    ref: Count
    reason: Code
    missing: Signed
    price_ucr: Ucr
    retry_tick: Ticks


class Evicting(NamedTuple):
    """An order has won a block that others must leave first."""

    ref: Count
    deadline_tick: Ticks
    price_ucr: Ucr


class Waiting(NamedTuple):
    """An order waits for a later tick, at most three."""

    ref: Count


class Notice(NamedTuple):
    """A lease must leave by the deadline: save and end its work, then RELEASE, or STAY if that cannot be done."""

    lease: Count
    token: Count
    deadline_tick: Ticks
    why: Code


class Renewed(NamedTuple):
    """A RENEW was answered; `seq` of the command counts the term from the time it was *sent*."""

    lease: Count
    token: Count
    command_seq: Count
    term_end_tick: Ticks


class Expanded(NamedTuple):
    """An EXPAND was answered: memory now held on the host, or the reason it was refused."""

    lease: Count
    token: Count
    host: Count
    reason: Code
    held_bytes: Bytes
    price_ucr: Ucr
    command_seq: Count
    missing: Signed
    gas_ucr: Ucr


class Ended(NamedTuple):
    """A lease is over, and what became of its purse."""

    lease: Count
    token: Count
    why: Code
    returned_ucr: Ucr
    burned_ucr: Ucr
    paid_ucr: Ucr


class Settled(NamedTuple):
    """A period was settled: what it cost, and the coming period's rent and reserve per slot."""

    lease: Count
    rent_ucr: Ucr
    memory_ucr: Ucr
    tax_ucr: Ucr
    subsidy_ucr: Ucr
    next_price_ucr: Ucr
    purse_ucr: Ucr
    limit_ucr: Ucr
    challenge_ucr: Ucr
    reserve_ucr: Ucr = 0


class Answer(NamedTuple):
    """What became of a command that has no event of its own."""

    command_seq: Count
    reason: Code
    missing: Signed
    subject: Count


class Synced(NamedTuple):
    """The truth about a host that came back has been told in the events before this one."""

    leases: Count
    orders: Count


class Quoted(NamedTuple):
    """The answer to a virtual FOK (never journaled, never resent).

    Attributes:
        ref: As asked.
        reason: OK, or why an order now would be refused.
        missing: What the reason says it is.
        price_ucr: Least cost per slot-period of the best block now.
        base: Morton base of the first block.
        slots_free: Free slots in the region, of the classes asked for.
        gradient_x_ucr: Price gradient along x over the region's halves, per slot.
        gradient_y_ucr: The same along y.
        tick: When it held.
    """

    ref: Count
    reason: Code
    missing: Signed
    price_ucr: Ucr
    base: Count
    slots_free: Count
    gradient_x_ucr: Signed
    gradient_y_ucr: Signed
    tick: Ticks


class Withdrawn(NamedTuple):
    """The notice of a lease is taken back: it is held again, and its RENEW is taken again."""

    lease: Count
    token: Count
    term_end_tick: Ticks


class Low(NamedTuple):
    """Money for a lease runs out, at the earliest in `until_tick`; all 0: it does no more.

    Attributes:
        reason: FUNDS: the tenant's account; BUDGET: its own budget or purse.
        missing_ucr: What would carry it a term further.
    """

    lease: Count
    token: Count
    reason: Code
    until_tick: Ticks
    missing_ucr: Ucr


class Woken(NamedTuple):
    """There is room for a workload that waits: order now. At fixed prices the room is held for a second."""

    ref: Count
    tick: Ticks


class Promised(NamedTuple):
    """Slots are kept for a workload that waits; `start_tick` is when they are free as declared, 0: when they drain.

    With no `slots`, none are kept any more.
    """

    ref: Count
    start_tick: Ticks
    slots: Count


BODIES: dict[Op, type[Any]] = {
    Op.GENESIS: Genesis,
    Op.NAME_IS: NameIs,
    Op.TICK: Tick,
    Op.HOST_UP: HostUp,
    Op.HOST_LOST: HostLost,
    Op.HOST_LEFT: HostLeft,
    Op.FOK: Fok,
    Op.MOVE: Fok,
    Op.EXPAND: Expand,
    Op.RENEW: Renew,
    Op.RELEASE: Release,
    Op.CANCEL: Cancel,
    Op.TOP_UP: TopUp,
    Op.STAY: Stay,
    Op.ACKED: Acked,
    Op.SHORTEN: Shorten,
    Op.MINT: Mint,
    Op.CORDON: Cordon,
    Op.DRAIN: Drain,
    Op.PIN: Pin,
    Op.MODE: SetMode,
    Op.SET_RATES: SetRates,
    Op.SET_RESERVE: SetReserve,
    Op.ADMIT: Admit,
    Op.SET_CAP: SetCap,
    Op.TRANSFER_OUT: Transfer,
    Op.TRANSFER_IN: Transfer,
    Op.EVICT: Evict,
    Op.INCOME: Income,
    Op.RULES: SetRules,
    Op.SET_TIME: SetTime,
    Op.SHARES: SetShares,
    Op.TENANT_USER: TenantUser,
    Op.TENANT_SET: TenantSet,
    Op.FILLED: Filled,
    Op.REFUSED: Refused,
    Op.EVICTING: Evicting,
    Op.WAITING: Waiting,
    Op.NOTICE: Notice,
    Op.RENEWED: Renewed,
    Op.EXPANDED: Expanded,
    Op.ENDED: Ended,
    Op.SETTLED: Settled,
    Op.ANSWER: Answer,
    Op.SYNCED: Synced,
    Op.QUOTED: Quoted,
    Op.WITHDRAWN: Withdrawn,
    Op.LOW: Low,
    Op.WOKEN: Woken,
    Op.PROMISED: Promised,
}
"""The class whose fields name the arguments of each op."""

HOST_OPS = frozenset(
    {
        *(Op.FOK, Op.MOVE, Op.EXPAND, Op.RENEW, Op.RELEASE, Op.CANCEL),
        *(Op.TOP_UP, Op.STAY, Op.SHORTEN, Op.HOST_LEFT),
    }
)
"""Commands that a host may send."""

OPERATOR_OPS = frozenset(
    {
        Op.MINT,
        Op.CORDON,
        Op.DRAIN,
        Op.PIN,
        Op.MODE,
        Op.SET_RESERVE,
        Op.EVICT,
        Op.TRANSFER_OUT,
        Op.TRANSFER_IN,
        Op.INCOME,
        Op.SET_TIME,
        Op.TENANT_USER,
        Op.TENANT_SET,
    }
)
"""Commands that an operator may give."""

GOVERNOR_OPS = frozenset({Op.SET_RATES, Op.ADMIT, Op.SET_CAP, Op.SET_RESERVE})
"""Commands that the governor may give."""

WORD_MAX = 2**63 - 1
"""The greatest boot and number of a record: what the ledger keeps and hashes are signed 64-bit words."""

_BOUNDS: dict[Op, tuple[tuple[str, Bounds], ...]] = {
    op: tuple((name, hint.__metadata__[0]) for name, hint in get_type_hints(body, include_extras=True).items())
    for op, body in BODIES.items()
}


def bounds_of(op: Op) -> tuple[tuple[str, Bounds], ...]:
    """The fields of what an op's record holds, each with its range."""
    return _BOUNDS[op]


_DECODERS = {
    int(op): (
        op,
        len(BODIES[op]._fields),
        tuple(bounds.low for _, bounds in fields),
        tuple(bounds.high for _, bounds in fields),
        BODIES[op]._make,
    )
    for op, fields in _BOUNDS.items()
}


def told_within(op: Op, body: Any) -> Any:
    """A body as it can be told: what lies past a field's bound as that bound."""
    _, _, lows, highs, make = _DECODERS[int(op)]
    if any(map(gt, lows, body)) or any(map(gt, body, highs)):
        return make(map(min, map(max, body, lows), highs))
    return body


class Record(NamedTuple):
    """One command or event.

    Attributes:
        op: What it says.
        actor: Number of the host that it comes from or goes to, of 32 bits; 0 for ledger and operators.
        boot: Boot of that host, strictly growing with each of its starts; at most `WORD_MAX`.
        seq: Number within the boot (commands) or for the host (events); for operators an idempotency key. At most
            `WORD_MAX`.
        body: The class that `BODIES` names for the op.
    """

    op: Op
    actor: int
    boot: int
    seq: int
    body: Any

    @property
    def headed(self) -> bool:
        """Whether boot and number are within their range. Decoding lets others through: old journals may hold them."""
        return self.boot <= WORD_MAX and self.seq <= WORD_MAX

    def packed(self) -> bytes:
        """The 104 bytes of the record."""
        pad = (0,) * (ARG_COUNT - len(self.body))
        return _LAYOUT.pack(self.op, 0, self.actor, self.boot, self.seq, *self.body, *pad)


def unpack(raw: bytes | memoryview) -> Record:
    """The record in 104 bytes, every field within its bounds.

    Raises:
        DecodeError: If the op is unknown or a field is out of range; names which.
    """
    if len(raw) != RECORD_BYTES:
        raise DecodeError(f"a record has {RECORD_BYTES} bytes, not {len(raw)}")
    number, _, actor, boot, seq, *args = _LAYOUT.unpack(raw)
    try:
        op = Op(number)
    except ValueError:
        raise DecodeError(f"no record has op {number}") from None
    for (name, bounds), value in zip(_BOUNDS[op], args, strict=False):
        if not bounds.low <= value <= bounds.high:
            raise DecodeError(f"{op.name}: {name} = {value} is outside {bounds.low} .. {bounds.high}")
    body = BODIES[op]
    return Record(op, actor, boot, seq, body._make(args[: len(body._fields)]))


def seq_of(raw: bytes) -> int:
    """The number of the record that a run of bytes begins with, without decoding it."""
    return int.from_bytes(raw[16:24], "little")


def pack_all(records: Iterable[Record]) -> bytes:
    """Records one after another."""
    return b"".join(record.packed() for record in records)


def unpack_all(raw: bytes) -> Iterator[Record]:
    """The records in a run of bytes.

    Raises:
        DecodeError: If the length is no multiple of a record's, or a record does not decode.
    """
    if len(raw) % RECORD_BYTES:
        raise DecodeError(f"{len(raw)} bytes are no whole number of records of {RECORD_BYTES}")
    for number, _, actor, boot, seq, *words in _LAYOUT.iter_unpack(raw):
        decoder = _DECODERS.get(number)
        if decoder is None:
            raise DecodeError(f"no record has op {number}")
        op, width, lows, highs, make = decoder
        args = words[:width]
        if any(map(gt, lows, args)) or any(map(gt, args, highs)):
            unpack(_LAYOUT.pack(number, 0, actor, boot, seq, *words))
        yield Record(op, actor, boot, seq, make(args))


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word
