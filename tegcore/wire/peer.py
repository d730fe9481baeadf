"""What hosts say to each other: who starts what where, what became of it, and files by chunks.

A conversation begins with a preamble in each direction: the caller's `TEGP`, version, 16 bytes of nonce and name; the
other's 16 bytes of nonce. Then frames: a length, a signature, one message in MessagePack. Signatures are keyed BLAKE2b
under the key of what this sender says to this receiver (`signing.peer_key`, which the receiver derives and the sender
is told by the ledger), over both nonces, the direction and the frame's number: no frame means anything elsewhere,
again, or in another order. TLS keeps it from other eyes; these signatures say who speaks.

The caller asks, the other answers each question with one message.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from tegcore.errors import DecodeError
from tegcore.ids import is_name
from tegcore.units import NAME_BYTES_MAX, PRICE_UCR_MAX
from tegcore.wire.control import WorkloadSpec
from tegcore.wire.messages import Count, Log2, SlotOrNone, Slots, Tick
from tegcore.wire.signing import SIGNATURE_BYTES, Key

VERSION = 1
MAGIC = b"TEGP"
NONCE_BYTES = 16
CHUNK_BYTES = 256 << 10
PAYLOAD_BYTES_MAX = 1 << 20
FILES_MAX = 1000
SEATS_MAX = 256
PATH_BYTES_MAX = 255
PROBLEM_MAX = 16 << 10
PLACE_MAX = 1 << 60
"""Of a byte or a line in an output."""
DIGEST_BYTES = 32
_LENGTH = struct.Struct("<I")
_COUNT = struct.Struct("<BQ")
HEAD_BYTES = _LENGTH.size + SIGNATURE_BYTES
PREAMBLE_BYTES = len(MAGIC) + 1 + NONCE_BYTES + 1


Rank = Annotated[int, Meta(ge=0, lt=SEATS_MAX)]
LinesOrNone = Annotated[int, Meta(ge=-1, le=2**62)]
PlaceOrNone = Annotated[int, Meta(ge=-1, le=PLACE_MAX)]
ExitCode = Annotated[int, Meta(ge=-(2**31), lt=2**31)]


class Said(msgspec.Struct, frozen=True, array_like=True, gc=False, tag_field="t"):
    """What every message is."""


class Source(msgspec.Struct, frozen=True, array_like=True, gc=False, order=True):
    """A whole and durable checkpoint: a folder of files.

    Attributes:
        token: Of the lease under which it was made; with `number`, greater is newer.
        number: Which save under that lease: see `tegd.generations`.
        rank: Whose part of a gang it is.
        holder: Host that holds it.
        ranks: How many the lease had.
    """

    token: Count
    number: Count
    rank: Rank
    holder: str
    ranks: Annotated[int, Meta(ge=1, le=SEATS_MAX)] = 1

    @property
    def generation(self) -> tuple[int, int]:
        """What orders checkpoints in time."""
        return (self.token, self.number)


class Brief(Said, frozen=True, tag="brief"):
    """The host of a workload hands it to a seat that it was granted.

    Attributes:
        ref: Its number at its home.
        lease, token: What the seat is held under; the seat compares them with what the ledger told it.
        rank: This seat's place among `seats`.
        seats: Hosts of the lease.
        slots: How many of its slots this seat has.
        user: Name of the user that it runs as.
        limit_ucr: What it bids, per slot-period.
        ticket: Whoever shows it may read the workload's files.
        files: Names of the input files that the home holds.
        sources: Where the checkpoint of this rank is held, best first; all of one generation.
        submitted_tick: When the workload was submitted.
        together: Whether the seat is to wait for `Begin` when it has all that it needs.
    """

    ref: Count
    lease: Count
    token: Count
    rank: Rank
    seats: list[str]
    slots: Slots
    name: str
    tenant: str
    user: str
    limit_ucr: Annotated[int, Meta(ge=0, le=PRICE_UCR_MAX)]
    ticket: str
    spec: WorkloadSpec
    files: list[str] = []
    sources: list[Source] = []
    submitted_tick: Tick = 0
    together: bool = False


class Report(Said, frozen=True, tag="report"):
    """A seat says how its part stands; the last one, `over`, again until it is answered.

    Attributes:
        ref: The workload's number at its home.
        saves: How many checkpoints were made under this lease.
        over: Whether the part is over here.
        ran: Whether it ever ran here.
        done: Whether it came to its end by itself.
        problem: What kept it from starting, for people.
        hook_failed: Why its hook is of no use, for people; empty: it is.
        base, log2: Where the seat's host has its slots, for who is to avoid it; base -1: it does not say.
        kept: Numbers of the checkpoints of this lease that are whole and durable at the seat.
        ready: Whether it has all that it needs to begin.
        gone: Checkpoints that it was to fetch, and that their holders do not have.
    """

    ref: Count
    lease: Count
    token: Count
    rank: Rank
    saves: Count
    over: bool
    ran: bool
    done: bool
    exit_code: ExitCode | None = None
    problem: str = ""
    hook_failed: str = ""
    base: SlotOrNone = -1
    log2: Log2 = 0
    kept: list[Count] = []
    ready: bool = False
    gone: list[Source] = []


class Begin(Said, frozen=True, tag="begin"):
    """Every rank of a lease has what it needs: the part is to start."""

    ref: Count
    token: Count
    rank: Rank


class Bundle(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Names a folder of files at whoever holds it.

    Attributes:
        home, ref: The workload.
        ticket: See `Brief`.
        token, number, rank: Of a checkpoint, as in `Source`; all 0 for the input files.
    """

    home: str
    ref: Count
    ticket: str
    token: Count = 0
    number: Count = 0
    rank: Rank = 0


class List(Said, frozen=True, tag="list"):
    """What is in a bundle?"""

    bundle: Bundle


class File(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One file of a bundle: path within it, size, BLAKE2b of the whole, whether it may be executed."""

    path: str
    size: Count
    digest: bytes
    executable: bool = False


class Listing(Said, frozen=True, tag="listing"):
    """All files of a bundle."""

    files: list[File]


class Read(Said, frozen=True, tag="read"):
    """A part of a file, at most `CHUNK_BYTES`."""

    bundle: Bundle
    path: str
    offset: Count


class Chunk(Said, frozen=True, tag="chunk"):
    """The part that was asked for; less than asked only at the end.

    Attributes:
        offset: Of an output: where the data begins, at what was asked for or at the first byte after it that is kept;
            -1: it is no output, or its host does not say.
        line: How many lines are before that, where something that was asked for is gone or reading begins; -1: untold.
        keeps: To how many bytes the output was cut.
        lines: How many lines follow, where `ReadLog.last` was asked for.
        whole: Whether nothing that `ReadLog.last` or `since_ms` asks for is gone.
        after_ms: When the output had not grown beyond `offset` yet, by its host's wall clock; 0: not known.
    """

    data: bytes
    digest: bytes
    offset: PlaceOrNone = -1
    line: PlaceOrNone = -1
    keeps: Count = 0
    lines: Count = 0
    whole: bool = True
    after_ms: Count = 0


class ReadLog(Said, frozen=True, tag="log"):
    """A part of the output of the part that runs under a token.

    Attributes:
        ref: The workload's number at its home.
        offset: Where to begin, in bytes of all that was ever written.
        last, since_ms: Where reading begins is asked, instead of a part: so many lines before the end, not before a
            time of the wall clock; both as they are here: nothing of the kind is asked.
        absolute: Whether the home knows that output can be gone. One of the release before goes by what it was sent:
            for it the output begins with the first byte that is kept.
    """

    ref: Count
    token: Count
    offset: Count
    last: LinesOrNone = -1
    since_ms: Count = 0
    absolute: bool = False


class Drop(Said, frozen=True, tag="drop"):
    """The home needs nothing more of a part that is over: it holds, or has no use for, what it left."""

    ref: Count
    token: Count
    rank: Rank


class Answer(Said, frozen=True, tag="answer"):
    """Whether it was taken; if not, why: `reason` for programs, `message` for people.

    Attributes:
        base, log2: As in `Report`.
        floor: To a report: the number of the oldest checkpoint of its lease that is still needed there.
    """

    ok: bool
    reason: str = ""
    message: str = ""
    base: SlotOrNone = -1
    log2: Log2 = 0
    floor: Count = 0


AnyAsk = Brief | Report | List | Read | ReadLog | Drop | Begin
AnySaid = AnyAsk | Listing | Chunk | Answer

NOT_YET = "NOT_YET"
"""The ledger has not told the seat of this lease, or no more."""
STALE_TOKEN = "STALE_TOKEN"  # noqa: S105 - a reason
CANNOT = "CANNOT"
"""It can never run here."""
GONE = "GONE"
"""There is no such bundle here."""
WAITS = "WAITS"
"""With a brief that was taken: the seat says when it is ready, and starts when it is told to."""
KEPT_TOLD_MAX = 16
"""Checkpoints that a report names, of those that are there and of those that are gone."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[AnySaid] = msgspec.msgpack.Decoder(AnySaid)


def preamble(nonce: bytes, sender: str) -> bytes:
    """What a caller says first."""
    name = sender.encode()
    return MAGIC + bytes([VERSION]) + nonce + bytes([len(name)]) + name


def read_preamble(head: bytes) -> tuple[bytes, int]:
    """The nonce, and how many bytes of name follow, in the first `PREAMBLE_BYTES`.

    Raises:
        DecodeError: If this is no such conversation.
    """
    if head[: len(MAGIC)] != MAGIC or head[len(MAGIC)] != VERSION:
        raise DecodeError("not a host of this version", hint="use one release on all hosts")
    length = head[-1]
    if not 0 < length <= NAME_BYTES_MAX:
        raise DecodeError(f"a name of {length} bytes")
    return head[len(MAGIC) + 1 : -1], length


def read_name(raw: bytes) -> str:
    """The caller's name.

    Raises:
        DecodeError: If it is none.
    """
    name = raw.decode("ascii", "replace")
    if not is_name(name):
        raise DecodeError("a caller without a name")
    return name


@dataclass(slots=True)
class Sealer:
    """One direction of a conversation: numbers and signs frames, or checks them.

    Attributes:
        key: See the module.
        nonces: The caller's, then the other's.
        direction: 0 for what the caller says, 1 for the answers.
    """

    key: Key
    nonces: bytes
    direction: int
    count: int = 0

    def _sign(self, payload: bytes) -> bytes:
        mac = hashlib.blake2b(key=self.key, digest_size=SIGNATURE_BYTES)
        mac.update(self.nonces + _COUNT.pack(self.direction, self.count))
        mac.update(payload)
        self.count += 1
        return mac.digest()

    def seal(self, message: AnySaid) -> bytes:
        """The next frame.

        Raises:
            ValueError: If the message is larger than its bound: the caller's error.
        """
        payload = _encoder.encode(message)
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise ValueError(f"{type(message).__name__} of {len(payload)} bytes: at most {PAYLOAD_BYTES_MAX}")
        return _LENGTH.pack(len(payload)) + self._sign(payload) + payload

    def open(self, signature: bytes, payload: bytes) -> AnySaid:
        """The message in the next frame.

        Raises:
            DecodeError: If it is not signed by who is meant to speak, or is no message.
        """
        if not hmac.compare_digest(self._sign(payload), signature):
            raise DecodeError("a frame that is not signed by the host it claims to be from")
        try:
            message = _decoder.decode(payload)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise DecodeError(f"not a message of hosts: {error}") from None
        check(message)
        return message


def read_head(head: bytes) -> tuple[int, bytes]:
    """How many bytes of payload follow a frame's head, and their signature.

    Raises:
        DecodeError: If more than any message has.
    """
    (length,) = _LENGTH.unpack(head[: _LENGTH.size])
    if length > PAYLOAD_BYTES_MAX:
        raise DecodeError(f"a frame of {length} bytes: at most {PAYLOAD_BYTES_MAX}")
    return int(length), head[_LENGTH.size :]


def is_path(path: str) -> bool:
    """Whether a text names a file within a folder, and nothing outside it."""
    parts = path.split("/")
    clean = all(part not in {"", ".", ".."} for part in parts)
    return clean and "\0" not in path and len(path.encode()) <= PATH_BYTES_MAX


def check(message: AnySaid) -> None:
    """See that a message is within its bounds.

    Raises:
        DecodeError: Says which bound.
    """
    match message:
        case Brief():
            _check_brief(message)
        case Report():
            _check_report(message)
        case Listing():
            _check_listing(message)
        case Read():
            if not is_path(message.path) or message.offset < 0:
                raise DecodeError(f"{message.path[:80]!r} at {message.offset} is no part of a file")
        case ReadLog(offset=offset, last=last, since_ms=since_ms) if min(offset, last + 1, since_ms) < 0:
            raise DecodeError(f"{offset} is no place in an output")
        case Chunk():
            if len(message.data) > CHUNK_BYTES or chunk_digest(message.data) != message.digest:
                raise DecodeError("a chunk that is not what was sent")
            if min(message.offset, message.line) < -1 or max(message.offset, message.line) > PLACE_MAX:
                raise DecodeError(f"{message.offset} is no place in an output")
        case _:
            pass


def _check_brief(brief: Brief) -> None:
    if not 0 <= brief.rank < len(brief.seats) <= SEATS_MAX or not all(map(is_name, brief.seats)):
        raise DecodeError(f"rank {brief.rank} of {len(brief.seats)} seats")
    if not (is_name(brief.name) and is_name(brief.tenant)) or brief.slots < 1 or brief.limit_ucr < 0:
        raise DecodeError(f"{brief.name[:80]!r} is no workload")
    if len(brief.files) > FILES_MAX or not all(map(is_path, brief.files)):
        raise DecodeError("names of files that lie outside their folder, or too many of them")
    if len(brief.sources) > SEATS_MAX:
        raise DecodeError(f"{len(brief.sources)} checkpoints of one part: at most {SEATS_MAX}")


def _check_report(report: Report) -> None:
    if min(report.ref, report.lease, report.token, report.rank, report.saves) < 0:
        raise DecodeError(f"a report of rank {report.rank} with {report.saves} saves")
    if max(len(report.problem), len(report.hook_failed)) > PROBLEM_MAX:
        raise DecodeError(f"a problem of {len(report.problem)} characters: at most {PROBLEM_MAX}")
    told = max(len(report.kept), len(report.gone))
    if told > KEPT_TOLD_MAX or min(report.kept, default=0) < 0:
        raise DecodeError(f"a report of {told} checkpoints: at most {KEPT_TOLD_MAX}, numbered from 0")


def _check_listing(listing: Listing) -> None:
    sound = all(is_path(file.path) and file.size >= 0 for file in listing.files)
    if len(listing.files) > FILES_MAX or not sound:
        raise DecodeError("a listing of files that lie outside their folder, or too many of them")
    if any(len(file.digest) != DIGEST_BYTES for file in listing.files):
        raise DecodeError("a listing without digests")


def chunk_digest(data: bytes) -> bytes:
    """What a chunk is checked by."""
    return hashlib.blake2b(data, digest_size=SIGNATURE_BYTES).digest()
