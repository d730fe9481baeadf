"""The control sockets: what `tegctl` asks of the programs on its own machine.

A request and its replies are length-prefixed MessagePack on a Unix stream socket. The kernel tells the server who asks
(SO_PEERCRED); nothing that the peer says about itself is believed. A request that changes something carries a key, so
that asking again after a lost answer changes nothing twice.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tegcore.errors import DecodeError
from tegcore.units import BLOCKS_PER_ORDER_MAX, CLASS_COUNT_MAX, PERMILLE, PRICE_UCR_MAX, UCR_MAX, ZONE_K_MAX
from tegcore.wire.records import TENANT_WEIGHT_MAX

CONTROL_VERSION = 1
CONTROL_BYTES_MAX = 4 << 20
ARGV_BYTES_MAX = 32 << 10
FILES_MAX, FILES_BYTES_MAX = 64, 2 << 20
"""Of the input files that come with one submission."""
ENV_BYTES_MAX = 128 << 10
STDIN_BYTES_MAX = 1 << 20
ENTRY_PATTERN = "[A-Za-z_][A-Za-z0-9_]*"
"""What can name an entry of an environment: what a shell can hand on."""
LIMITS = ("as", "core", "cpu", "data", "fsize", "memlock", "nofile", "nproc", "rss", "stack")
"""Soft limits that go with work, as `RLIMIT_` names them."""
LEASE_ENTRIES = frozenset(
    {
        *("TEG_NAME", "TEG_SLOTS", "TEG_WORKLOAD", "TEG_AIRLOCK", "TEG_CHECKPOINT", "TEG_MARK"),
        *("TEG_RANK", "TEG_WORLD", "TEG_MASTER", "TEG_RESUMING", "TEG_RESUME_ARGS"),
    }
)
"""What work is told of its own lease: it wins over the environment that it brings."""

TIME_S_MAX = 38 * 86_400
"""The longest time that work can declare."""

TimeS = Annotated[int, Meta(ge=1, le=TIME_S_MAX)]
Count = Annotated[int, Meta(ge=0, le=2**62)]
Ucr = Annotated[int, Meta(ge=0, le=UCR_MAX)]
Key = Annotated[int, Meta(ge=0, le=2**63 - 1)]
USERS_ASKED_MAX = 64
Uids = Annotated[tuple[Annotated[int, Meta(ge=0, le=2**32 - 1)], ...], Meta(max_length=USERS_ASKED_MAX)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="verb"):
    """What every request is."""

    v: Annotated[int, Meta(ge=0, le=2**31)] = CONTROL_VERSION


class Hook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The application's checkpoint hook: signal in, checkpoint file and mark out (docs/reference/hook.md).

    Attributes:
        signal: Name of the signal that asks for a checkpoint.
        checkpoint: File that the program writes, relative to its state folder unless absolute.
        mark: File that it makes last.
    """

    signal: str = "SIGUSR1"
    checkpoint: str = "checkpoint"
    mark: str = "checkpoint.mark"


class WorkloadSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A piece of work that someone wants run: also the form of a file for `tegctl submit`.

    Attributes:
        name: Unique among the living workloads of a host; empty: one is made.
        argv: Command and arguments.
        env: Its environment, beside what its lease says; of PATH and HOME there is always one.
        cwd: Working folder; empty: the workload's state folder.
        sizes: log2 of the slots of each block, one to four: `[2]` is a 2 x 2 block.
        share_permille: A part of one slot, in thousandths; 0: whole slots.
        slot_classes: Those that will do; of several, whichever is cheapest.
        cpu_milli: Of a core, per slot.
        mem_bytes: Host memory per slot at the start; more is bought just in time.
        limit_ucr: Most that it pays per slot-period: a bid that a person named. 0: one is made from the price, and it
            displaces nobody.
        limit_hour_ucr: The same bid as credits per GPU-hour, in ucr; the host knows how long a period is. 0: none.
        endow_ucr: E_init, a purse of its own; 0: the tenant's account pays as it runs.
        budget_ucr: Most that it pays in its whole life; 0: no bound of its own.
        requeue: Where it cannot be saved and has to leave, it goes back to the queue and begins anew; else it ends.
        sla_priority: 0..255 (12).
        tenant: Whose credits; empty: the asking user's own.
        hook: Its checkpoint hook, if it has one.
        checkpoint_every_s: Save in passing so often, and keep a copy at its home; 0: only when it has to leave.
        here: Only on the host where it is submitted.
        time_s: It runs for so long at most, in s: then it is asked to save, and ended. 0: as long as it takes.
        umask: Of the modes of files that it makes.
        limits: Soft limits by name (`LIMITS`), as far as its host allows; -1: none.
        terminal: Path of a socket on this host at which a terminal waits for it; empty: it has none. Only for what runs
            `here`, is not queued again, and has no hook.
    """

    argv: tuple[str, ...]
    name: str = ""
    env: dict[str, str] = {}
    cwd: str = ""
    sizes: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=2 * ZONE_K_MAX)], ...], Meta(min_length=1, max_length=BLOCKS_PER_ORDER_MAX)
    ] = (0,)
    share_permille: Annotated[int, Meta(ge=0, lt=PERMILLE)] = 0
    slot_classes: Annotated[
        tuple[Annotated[int, Meta(ge=0, lt=CLASS_COUNT_MAX)], ...], Meta(min_length=1, max_length=CLASS_COUNT_MAX)
    ] = (0,)
    cpu_milli: Annotated[int, Meta(ge=0, le=2**31)] = 0
    mem_bytes: Annotated[int, Meta(ge=0, le=1 << 50)] = 0
    limit_ucr: Annotated[int, Meta(ge=0, le=PRICE_UCR_MAX)] = 0
    limit_hour_ucr: Ucr = 0
    endow_ucr: Ucr = 0
    budget_ucr: Ucr = 0
    requeue: bool = True
    sla_priority: Annotated[int, Meta(ge=0, le=255)] = 1
    tenant: str = ""
    hook: Hook | None = None
    checkpoint_every_s: Annotated[int, Meta(ge=0, le=2**31)] = 0
    here: bool = False
    time_s: Annotated[int, Meta(ge=0, le=TIME_S_MAX)] = 0
    umask: Annotated[int, Meta(ge=0, le=0o777)] = 0o022
    limits: dict[str, Annotated[int, Meta(ge=-1, le=2**63 - 1)]] = {}
    terminal: Annotated[str, Meta(max_length=107)] = ""


class Submit(Request, frozen=True, tag="submit"):
    """tegd: run this. Acknowledged when it is on disk.

    Attributes:
        files: Small input files by name, put into the working folder wherever it runs.
        stdin: What it reads as its standard input; None: nothing.
    """

    spec: WorkloadSpec
    key: Key
    files: dict[str, bytes] = {}
    stdin: bytes | None = None


class Workloads(Request, frozen=True, tag="workloads"):
    """tegd: every workload with its agent's state."""


class Why(Request, frozen=True, tag="why"):
    """tegd: every reason that a workload waits, with the number that is missing."""

    name: str


class CancelWorkload(Request, frozen=True, tag="cancel"):
    """tegd: stop seeking, or save and end."""

    name: str


class TopUpWorkload(Request, frozen=True, tag="top_up"):
    """tegd: more credits into a workload's purse, or room in its budget."""

    name: str
    amount_ucr: Ucr
    key: Key


class UpdateWorkload(Request, frozen=True, tag="update"):
    """tegd: change what a workload asks for; what is None stays as it is.

    Attributes:
        limit_ucr: Most that it pays per slot-period; 0: the default, twice the price.
        limit_hour_ucr: The same as credits per GPU-hour, in ucr; the host knows how long a period is.
        budget_ucr: Most that it pays in its whole life; 0: no bound of its own.
        mem_bytes: Host memory per slot at the start.
        time_s: It runs for so long at most. Of what runs only less than was declared, but for operators.
        told: The ledger was told of more time already, by `SetTime` (operators).
    """

    name: str
    limit_ucr: Annotated[int, Meta(ge=0, le=PRICE_UCR_MAX)] | None = None
    limit_hour_ucr: Ucr | None = None
    budget_ucr: Ucr | None = None
    mem_bytes: Annotated[int, Meta(ge=0, le=1 << 50)] | None = None
    time_s: TimeS | None = None
    told: bool = False


class Logs(Request, frozen=True, tag="logs", omit_defaults=True):
    """tegd: a workload's output from an offset, and on while it runs if `follow`.

    Attributes:
        offset: In bytes of all that its runs have ever written.
        last: Begin so many lines before the end.
        since_s: Begin with what was written so long ago.
    """

    name: str
    offset: Count = 0
    follow: bool = False
    last: Count | None = None
    since_s: Count = 0


class Host(Request, frozen=True, tag="host"):
    """tegd: mode, telemetry sources, capabilities, what it uses itself."""


class Accounts(Request, frozen=True, tag="accounts"):
    """zone-ledger: balances; those of others for operators only."""


class MintCredits(Request, frozen=True, tag="mint"):
    """zone-ledger, operators: credits into a tenant's account.

    Attributes:
        opens: An account that is not there is opened; else that is refused, as its name may be mistyped.
    """

    tenant: str
    amount_ucr: Ucr
    key: Key
    opens: bool = True


class SetIncome(Request, frozen=True, tag="income"):
    """zone-ledger, operators: what a tenant is minted from now on.

    Attributes:
        tenant: Empty: every tenant that has no rate of its own.
        hour_ucr: An hour; 0 for none, -1 for whatever is charged at fixed prices.
        opens: See `MintCredits`.
    """

    tenant: str
    hour_ucr: Annotated[int, Meta(ge=-1, le=UCR_MAX)]
    key: Key
    opens: bool = True


class Leases(Request, frozen=True, tag="leases"):
    """zone-ledger: every lease and every order that waits."""


class Hosts(Request, frozen=True, tag="hosts"):
    """zone-ledger: every host with its place, its usage and when it was last heard."""


class BookView(Request, frozen=True, tag="book"):
    """zone-ledger: what is free, what is leased, prices, largest blocks."""


class LedgerView(Request, frozen=True, tag="ledger"):
    """zone-ledger: sums, rates, journal position, state hash, lateness of ticks."""


class ZoneView(Request, frozen=True, tag="zone"):
    """zone-ledger: hosts, leases and sums of one tick: all that a screen shows."""


class Tenants(Request, frozen=True, tag="tenants"):
    """zone-ledger: tenants, their users by the ledger's settings, and their accounts."""


class AddTenant(Request, frozen=True, tag="tenant_add"):
    """zone-ledger, operators: open a tenant's account, or change what a tenant has; what is None stays as it is.

    Attributes:
        hour_ucr: Its income, as in `SetIncome`; until it is set, that of all who have none of their own.
        weight: Its weight among all tenants; 1 until it is set.
        users: By number, who may spend as it from now on, beside those who may.
    """

    tenant: str
    key: Key
    hour_ucr: Annotated[int, Meta(ge=-1, le=UCR_MAX)] | None = None
    weight: Annotated[int, Meta(ge=1, le=TENANT_WEIGHT_MAX)] | None = None
    users: Uids = ()


class RemoveTenant(Request, frozen=True, tag="tenant_remove"):
    """zone-ledger, operators: close a tenant to new orders; or, where users are named, keep those from spending as it.

    What runs goes on in either case.
    """

    tenant: str
    key: Key
    users: Uids = ()


class DrainHost(Request, frozen=True, tag="drain"):
    """zone-ledger, operators: keep work off a host, or let it on again."""

    host: str
    on: bool
    key: Key


class CordonSlot(Request, frozen=True, tag="cordon"):
    """zone-ledger, operators: keep work off a slot, or let it on again."""

    slot: Count
    on: bool
    key: Key


class PinLease(Request, frozen=True, tag="pin"):
    """zone-ledger, operators: protect a lease from challengers, or stop."""

    lease: Count
    on: bool
    key: Key


class SetTime(Request, frozen=True, tag="time"):
    """zone-ledger, operators: a lease runs for so long at most, from its grant on; also for longer than declared."""

    lease: Count
    time_s: TimeS
    key: Key


class SetMarket(Request, frozen=True, tag="mode"):
    """zone-ledger, operators: `fixed` or `auction`."""

    market: str
    key: Key


class FieldView(Request, frozen=True, tag="field"):
    """governor: the field that was broadcast last, at the cells of a grid."""


class GovernorView(Request, frozen=True, tag="governor"):
    """governor: the last certificate, the phase's history, the rates."""


class HostsView(Request, frozen=True, tag="host_states"):
    """governor: what it heard of each host last: entropy, temperature, how long ago."""


class PauseGovernor(Request, frozen=True, tag="pause"):
    """governor, operators: hold g at 0, or let it move again."""

    on: bool


AnyRequest = (
    Submit
    | Workloads
    | Why
    | CancelWorkload
    | TopUpWorkload
    | UpdateWorkload
    | Logs
    | Host
    | Accounts
    | MintCredits
    | SetIncome
    | Leases
    | Hosts
    | BookView
    | LedgerView
    | ZoneView
    | Tenants
    | AddTenant
    | RemoveTenant
    | DrainHost
    | CordonSlot
    | PinLease
    | SetTime
    | SetMarket
    | FieldView
    | GovernorView
    | HostsView
    | PauseGovernor
)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What comes back; `more` while further replies follow.

    Attributes:
        ok: Whether it was done.
        data: The answer, of built-in types only.
        reason: Name of a `Reason`, or of a fault, where not ok.
        message: What happened, for people.
        hint: What to try.
    """

    ok: bool = True
    data: Any = None
    reason: str = ""
    message: str = ""
    hint: str = ""
    more: bool = False
    v: int = CONTROL_VERSION


_request_decoder: msgspec.msgpack.Decoder[AnyRequest] = msgspec.msgpack.Decoder(AnyRequest)
_reply_decoder: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def env_bytes(env: Mapping[str, str]) -> int:
    """What an environment takes, as the kernel counts it."""
    return sum(len(os_bytes(name)) + len(os_bytes(value)) + 2 for name, value in env.items())


def os_bytes(text: str) -> bytes:
    """A text as the kernel has it, whatever bytes it came from."""
    return text.encode(errors="surrogateescape")


def decode_request(raw: bytes) -> AnyRequest:
    """The request in a frame.

    Raises:
        DecodeError: If there is none of this version.
    """
    try:
        request = _request_decoder.decode(raw)
    except msgspec.MsgspecError as error:
        raise DecodeError(f"not a request: {error}", hint="is tegctl of the same version?") from None
    if request.v != CONTROL_VERSION:
        raise DecodeError(f"a request of version {request.v}; this is {CONTROL_VERSION}", hint="update tegctl")
    return request


def decode_reply(raw: bytes) -> Reply:
    """The reply in a frame.

    Raises:
        DecodeError: If there is none.
    """
    try:
        return _reply_decoder.decode(raw)
    except msgspec.MsgspecError as error:
        raise DecodeError(f"not a reply: {error}", hint="is the program of the same version?") from None
