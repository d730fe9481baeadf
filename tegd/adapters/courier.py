"""Carries out what `tegd.travel` asks for, between this host and others, and answers what others ask of it.

To itself a host speaks without a network, through the same doors. What it sends of files is paced, all together: a
transfer is not to cause the congestion that it gets away from.
"""

import asyncio
import os
import pwd
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tegcore.errors import DecodeError, RefusedError, TegError, UnavailableError
from tegcore.wire import peer
from tegcore.wire.peer import Answer, AnySaid, Bundle, Chunk, Listing, Report, Source
from tegcore.wire.signing import Key, sealed
from tegd.adapters import bundles
from tegd.adapters.airlock_client import AirlockClient
from tegd.adapters.bundles import BundleError, Gathering
from tegd.adapters.peers import PeerLink, PeerServer
from tegd.adapters.places import Output, Places
from tegd.airlock.adapters import logs
from tegd.calls import ENVIRONMENT
from tegd.effects import Clear, Collect, Copy, DropThere, Effect, Fetch, TellBegin, TellHome, TellSeat
from tegd.node import Node
from tegd.settings import HostSettings
from tegd.travel import Travel
from tegd.workload import Workload
from tegio.logs import event
from tegio.tls import certificates

_OPEN = "its environment travels between hosts under TLS alone, and this host has no certificate"
_WITHIN = frozenset({"127.0.0.1", "::1", "localhost"})
READ_S = 30.0
"""For so long after its last part was read a checkpoint counts as being read."""
LOG_BYTES_MAX = 1 << 30
"""What is taken of a part's output: more than the airlock side of an honest host keeps of one."""


class GoneError(BundleError):
    """Who was thought to hold a bundle says that it does not."""


class Courier:
    """One host's.

    Args:
        settings: Of the host.
        key: The host's.
        node: Its core, with its `travel`.
        carry_out: Carries out effects, durable ones before it returns.
        places: Where the files of workloads are.
        airlock: Opens files in folders that are closed to this side; see `closed`.
        next_ref: A number that no workload of this host ever had.
        now_ns: The boot-time clock.

    Attributes:
        address: HOST:PORT at which other hosts reach this one.
        closed: Whether the workloads' folders are made by the airlock side, each for its user alone.
    """

    def __init__(
        self,
        settings: HostSettings,
        key: Key,
        node: Node,
        carry_out: Callable[[list[Effect]], None],
        places: Places,
        airlock: AirlockClient,
        next_ref: Callable[[], int],
        now_ns: Callable[[], int],
    ) -> None:
        assert node.travel is not None
        self._settings = settings
        self._key = key
        self._node = node
        self._travel: Travel = node.travel
        self._carry_out = carry_out
        self._places = places
        self._airlock = airlock
        self.closed = False
        self._next_ref = next_ref
        self._now_ns = now_ns
        self._certificates = certificates(settings.tls_ca, settings.tls_certificate, settings.tls_key)
        self._server = PeerServer(settings.host, key, self.answer, self._certificates)
        self._free_at = 0.0
        self._read_at: dict[Path, float] = {}
        self._logs_coming: set[Path] = set()
        self.address = ""

    async def start(self) -> None:
        """Hear other hosts."""
        where, _, port = self._settings.peer_listen.rpartition(":")
        port_had = await self._server.start(where.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - as it was set
        self.address = self._settings.peer_address or f"{where or os.uname().nodename}:{port_had}"

    async def stop(self) -> None:
        """Hear nobody any more."""
        await self._server.stop()

    # --- asking -----------------------------------------------------------------------------------------------------

    def _link(self, host: str) -> "PeerLink | _OwnLink":
        if host == self._settings.host:
            return _OwnLink(host, self.answer)
        entry = self._travel.peers.get(host)
        if entry is None or not entry.address:
            self._carry_out(self._travel.unreached(host))
            raise UnavailableError(f"it is not known how {host} is reached", "is it up? see `tegctl hosts`")
        key = Key(sealed(Key(entry.key), self._key, host))
        return PeerLink(self._settings.host, host, entry.address, key, self._certificates)

    async def ask(self, host: str, question: AnySaid) -> AnySaid:
        """One question to a host.

        Raises:
            UnavailableError: If it does not answer.
        """
        try:
            async with self._link(host) as link:
                return await link.ask(question)
        except UnavailableError:
            self._carry_out(self._travel.unreached(host))
            raise

    async def _taken(self, host: str, question: AnySaid) -> Answer:
        """The answer to something that is taken or not; nobody's is one that may be asked again."""
        try:
            answer = await self.ask(host, question)
        except TegError as error:
            return Answer(ok=False, reason=peer.NOT_YET, message=str(error))
        return answer if isinstance(answer, Answer) else Answer(ok=False, reason=peer.NOT_YET, message="no answer")

    async def read_log(self, work: Workload, offset: int, last: int = -1, since_ms: int = 0) -> Output | None:
        """A part of the output of what sits elsewhere, of its first rank; nothing where that is not to be had.

        With `last` or `since_ms` it is where reading begins, see `tegcore.wire.peer.ReadLog`.
        """
        if not work.seats or not work.trip:
            return None
        try:
            answer = await self.ask(
                work.seats[0], peer.ReadLog(work.ref, work.token, offset, last, since_ms, absolute=True)
            )
        except TegError:
            return None
        return _output(answer, offset, str(work.token)) if isinstance(answer, Chunk) else None

    # --- effects ----------------------------------------------------------------------------------------------------

    async def do(self, effect: Effect) -> None:
        """Carry out one effect of travel, and tell what came of it."""
        match effect:
            case TellSeat(work, rank):
                await self._tell_seat(work, rank)
            case TellHome(work):
                report = self._travel.report(work)
                answer = await self._taken(work.home, report)
                self._carry_out(self._travel.home_answered(work.ref, report, answer))
            case TellBegin(work, rank):
                token = work.token
                answer = await self._taken(work.seats[rank], peer.Begin(work.ref, token, rank))
                self._carry_out(self._travel.begin_answered(work.ref, token, rank, ok=answer.ok))
            case Fetch(work):
                await self._fetch(work)
            case Collect(work, number):
                await self._collect(work, number)
            case Copy(work, source):
                await self._copy(work, source)
            case DropThere(work, host, rank, token):
                answer = await self._taken(host, peer.Drop(work.ref, token, rank))
                self._carry_out(self._travel.dropped(work.ref, host, rank, token, ok=answer.ok))
            case Clear(work):
                await asyncio.to_thread(self._places.remove, work)

    async def _tell_seat(self, work: Workload, rank: int) -> None:
        token = work.token
        brief = self._travel.brief(work, rank, _user(work.uid))
        if ENVIRONMENT in work.files and not self._hidden_from_others(work.seats[rank]):
            work.homebound, work.homebound_why = True, f"{work.seats[rank]}: {_OPEN}"
            answer = Answer(ok=False, reason=peer.CANNOT, message=_OPEN)
        else:
            answer = await self._taken(work.seats[rank], brief)
        if not answer.ok:
            event(
                "seat.not_taken", workload=work.name, seat=brief.seats[rank], reason=answer.reason, why=answer.message
            )
        self._carry_out(self._travel.seat_answered(work.ref, token, rank, answer, self._now_ns()))

    def _hidden_from_others(self, host: str) -> bool:
        """Whether what is said to a host stays between the two: under TLS, or within this machine."""
        entry = self._travel.peers.get(host)
        where = entry.address.rpartition(":")[0].strip("[]") if entry is not None else ""
        return self._certificates is not None or host == self._settings.host or where in _WITHIN

    async def _collect(self, work: Workload, number: int) -> None:
        token, problem = work.token if work.home else work.last_token, ""
        assert work.spec.hook is not None
        shelf = self._places.shelf(work)
        try:
            checkpoint = self._places.folder(work) / work.spec.hook.checkpoint
            place = bundles.kept_folder(shelf, token, number, work.rank)
            if self.closed:
                file = await self._airlock.open_saved(work.ref, checkpoint.name, work.uid)
                await asyncio.to_thread(bundles.keep_open, place, checkpoint.name, file)
            else:
                await asyncio.to_thread(bundles.keep, place, checkpoint, work.uid)
        except (OSError, TegError) as error:
            problem = str(error)
        self._carry_out(self._travel.collected(work.ref, token, number, problem))
        if not work.home:
            await self._prune_home(work)
            return
        kept = {(token, kept) for kept in work.kept}
        await asyncio.to_thread(bundles.prune, shelf, max(kept, default=(0, 0)), kept, self._being_read())

    async def _prune_home(self, work: Workload) -> None:
        """What is older than the newest generation that is whole here goes, where that is on disk."""
        least = self._travel.least(work)
        await asyncio.to_thread(bundles.prune, self._places.shelf(work), least, (), self._being_read())

    async def _copy(self, work: Workload, source: Source) -> None:
        problem, gone, shelf = "", False, self._places.shelf(work)
        bundle = Bundle(self._settings.host, work.ref, work.ticket, source.token, source.number, source.rank)
        try:
            await self._gather(source.holder, bundle, bundles.kept_folder(shelf, *source.generation, source.rank))
        except (OSError, TegError) as error:
            problem, gone = str(error), isinstance(error, GoneError)
            event("checkpoint.not_copied", workload=work.name, holder=source.holder, why=problem)
        self._carry_out(self._travel.copied(work.ref, source, problem, gone=gone))
        if not problem:
            await self._prune_home(work)

    async def _fetch(self, part: Workload) -> None:
        token, problem, gone = part.token, "", list[Source]()
        try:
            await self._fetched(part, gone)
        except (OSError, TegError) as error:
            problem = str(error)
            event("part.not_fetched", workload=part.name, home=part.home, why=problem)
        self._carry_out(self._travel.fetched(part.ref, token, problem, self._now_ns(), gone))

    async def _fetched(self, part: Workload, gone: list[Source]) -> None:
        """Bring here what a part needs; `gone` gets what its holders do not have."""
        shelf = self._places.shelf(part)
        if not self.closed:
            await asyncio.to_thread(self._places.make_folder, part)
        if part.files:
            bundle = Bundle(part.home, part.home_ref, part.ticket)
            await self._gather(part.home, bundle, shelf / "given")
            await self.lay_out(part, shelf / "given" / "files")
        if not part.sources:
            return
        problems = []
        for source in part.sources:
            bundle = Bundle(part.home, part.home_ref, part.ticket, source.token, source.number, source.rank)
            place = bundles.kept_folder(shelf, *source.generation, source.rank)
            try:
                await self._gather(source.holder, bundle, place)
            except TegError as error:
                problems.append(str(error))
                gone += [source] if isinstance(error, GoneError) else []
                continue
            await self.lay_out(part, place / "files")
            return
        raise BundleError("; ".join(problems))

    async def lay_out(self, work: Workload, source: Path) -> None:
        """Put the files of a folder into a workload's own.

        Raises:
            OSError, TegError: If it cannot be done.
        """
        if not self.closed:
            await asyncio.to_thread(bundles.lay_out, source, self._places.folder(work), work.uid, work.gid)
            return
        for path in await asyncio.to_thread(lambda: sorted(source.iterdir())):
            executable = os.access(path, os.X_OK)
            file = await self._airlock.open_given(work.ref, path.name, executable=executable)
            await asyncio.to_thread(bundles.copy_open, path, file)

    async def _gather(self, holder: str, bundle: Bundle, place: Path) -> None:
        """Bring a bundle here, from where an earlier try ended."""
        try:
            async with self._link(holder) as link:
                listed = await link.ask(peer.List(bundle))
                if isinstance(listed, Answer) and listed.reason == peer.GONE:
                    raise GoneError(f"{holder}: {listed.message}")
                listing = _expect(listed, Listing)
                gathering = await asyncio.to_thread(Gathering, place, listing.files)
                if gathering.complete:
                    return
                while (missing := await asyncio.to_thread(gathering.missing)) is not None:
                    file, offset = missing
                    part = _expect(await link.ask(peer.Read(bundle, file.path, offset)), Chunk)
                    await asyncio.to_thread(gathering.put, file, offset, part.data)
                await asyncio.to_thread(gathering.finish)
        except UnavailableError:
            self._carry_out(self._travel.unreached(holder))
            raise

    # --- answering --------------------------------------------------------------------------------------------------

    async def answer(self, sender: str, said: AnySaid) -> AnySaid:
        """Answer another host, whose name is proven.

        Raises:
            TegError: What is not taken; the caller is told.
        """
        match said:
            case peer.Brief():
                return await self._take_brief(sender, said)
            case Report():
                if said.over and said.ran:
                    await self._take_log(sender, said)
                effects, answer = self._travel.reported(sender, said, self._now_ns())
                self._carry_out(effects)
                return answer
            case peer.List():
                shelf = self._shelf_of(said.bundle)
                _, files = await asyncio.to_thread(bundles.whole, shelf, said.bundle)
                return Listing(files)
            case peer.Read():
                shelf = self._shelf_of(said.bundle)
                root = _root(shelf, said.bundle)
                self._being_read()
                self._read_at[root.parent] = asyncio.get_running_loop().time()
                part = await asyncio.to_thread(bundles.chunk, root, said.path, said.offset)
                await self._pace(len(part.data))
                return part
            case peer.ReadLog():
                return await self._tell_log(sender, said)
            case peer.Drop():
                self._carry_out(self._travel.drop(sender, said.ref, said.token, said.rank))
                return Answer(ok=True)
            case peer.Begin():
                effects, answer = self._travel.begin(sender, said.ref, said.token, said.rank)
                self._carry_out(effects)
                return answer
            case _:
                raise DecodeError(f"{type(said).__name__} is no question")

    async def _take_brief(self, sender: str, brief: peer.Brief) -> Answer:
        self._carry_out(self._travel.ask_about(brief.lease))
        if (refused := self._travel.refusal(sender, brief)) is not None:
            return refused
        try:
            entry = pwd.getpwnam(brief.user)
        except KeyError:
            return self._travel.cannot(f"there is no user {brief.user} on it")
        if entry.pw_uid < self._settings.guest_uid_min:
            return self._travel.cannot(
                f"it takes work of other hosts only as users from {self._settings.guest_uid_min} on"
            )
        if brief.spec.cwd and surely_missing(brief.spec.cwd):
            return self._travel.cannot(f"there is no folder {brief.spec.cwd} on it")
        self._carry_out(self._travel.briefed(sender, brief, self._next_ref(), entry.pw_uid, entry.pw_gid))
        event("part.taken", workload=brief.name, home=sender, lease=brief.lease, token=brief.token, rank=brief.rank)
        part = self._travel.part(brief.lease, brief.token)
        assert part is not None, "it was taken"
        return self._travel.taken(part)

    async def _take_log(self, sender: str, report: Report) -> None:
        """A run is over: its output comes home before its end counts; a long one takes more than one report.

        Raises:
            BundleError: If it is on its way already.
        """
        work = self._node.workloads.get(report.ref)
        if work is None or work.home or not self._is_seat(work, sender, report):
            return
        folder = self._places.logs(work.ref)
        name = f"log.{report.token}" if report.rank == 0 else f"log-{report.rank}.{report.token}"
        path, fresh = folder / name, folder / f".{name}"
        if path.exists():
            return
        if path in self._logs_coming:
            raise BundleError(f"{name} is on its way already", peer.NOT_YET)
        self._logs_coming.add(path)
        try:
            await asyncio.to_thread(folder.mkdir, 0o700, parents=True, exist_ok=True)
            await self._bring_log(sender, report, fresh)
            for what in ("kept", "times"):
                if (said := logs.beside(fresh, what)).exists():
                    said.replace(logs.beside(path, what))
            fresh.replace(path)
            await asyncio.to_thread(bundles.sync_folder, folder)
        finally:
            self._logs_coming.discard(path)

    @staticmethod
    def _is_seat(work: Workload, sender: str, report: Report) -> bool:
        """Whether a report is of a part that this host has handed out: it may be of the lease before."""
        held = report.token in {work.token, work.last_token}
        return held and 0 <= report.rank < len(work.seats) and work.seats[report.rank] == sender

    async def _bring_log(self, sender: str, report: Report, fresh: Path) -> None:
        """Bring what is kept of an output, and what is said of the rest."""
        offset = await asyncio.to_thread(lambda: logs.end(fresh) if fresh.exists() else 0)
        taken, noted_ms = offset - logs.kept(fresh).base, 0
        async with self._link(sender) as link:
            while taken < LOG_BYTES_MAX:
                part = _expect(await link.ask(peer.ReadLog(report.ref, report.token, offset, absolute=True)), Chunk)
                found = _output(part, offset, "")
                if found.offset > offset:
                    await asyncio.to_thread(_begin_at, fresh, found)
                if found.data and found.after_ms > noted_ms:
                    noted_ms = found.after_ms
                    await asyncio.to_thread(logs.note, fresh, noted_ms, found.offset)
                await asyncio.to_thread(_append, fresh, found)
                offset, taken = found.end, taken + len(found.data)
                if not found.data:
                    return

    async def _tell_log(self, sender: str, said: peer.ReadLog) -> Chunk:
        for part in self._node.workloads.values():
            if (part.home, part.home_ref, part.token) == (sender, said.ref, said.token):
                found = await asyncio.to_thread(self._found_log, part.ref, said)
                await self._pace(len(found.data))
                told = (found.offset, found.line, found.keeps, found.lines, found.whole, found.after_ms)
                return Chunk(found.data, peer.chunk_digest(found.data), *told)
        raise BundleError(f"no part of {sender}'s {said.ref} is here")

    def _found_log(self, ref: int, said: peer.ReadLog) -> Output:
        if said.last >= 0 or said.since_ms:
            return self._places.begin_log(ref, said.last if said.last >= 0 else None, said.since_ms)
        gone = 0 if said.absolute else self._places.read_log(ref, 0).offset
        return self._places.read_log(ref, gone + said.offset, timed=True)

    def _shelf_of(self, bundle: Bundle) -> Path:
        """Where a bundle lies, for who shows its ticket."""
        own = self._node.workloads.get(bundle.ref) if bundle.home == self._settings.host else None
        found = [own] if own is not None and not own.home else []
        if bundle.token:
            named = (bundle.home, bundle.ref)
            found += [part for part in self._node.workloads.values() if (part.home, part.home_ref) == named]
        for work in found:
            shelf = self._places.shelf(work)
            ticketed = bool(work.ticket) and work.ticket == bundle.ticket
            if ticketed and (not bundle.token or (_root(shelf, bundle).parent / bundles.LISTING).exists()):
                return shelf
        raise BundleError(f"no such bundle of {bundle.home}'s {bundle.ref} is here")

    def _being_read(self) -> set[Path]:
        """Checkpoints that someone was reading just now: a newer one does not take them from under a slow reader."""
        since = asyncio.get_running_loop().time() - READ_S
        self._read_at = {place: at for place, at in self._read_at.items() if at > since}
        return set(self._read_at)

    async def _pace(self, count: int) -> None:
        """Wait until what was sent before, and this, is within the rate."""
        loop = asyncio.get_running_loop()
        begin = max(loop.time(), self._free_at)
        self._free_at = begin + count / self._settings.transfer_bytes_s
        if begin > loop.time():
            await asyncio.sleep(begin - loop.time())


class _OwnLink:
    """A conversation with oneself."""

    def __init__(self, host: str, answer: Callable[[str, AnySaid], Awaitable[AnySaid]]) -> None:
        self._host = host
        self._answer = answer

    async def __aenter__(self) -> "_OwnLink":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def ask(self, question: AnySaid) -> AnySaid:
        try:
            return await self._answer(self._host, question)
        except RefusedError as error:
            return Answer(ok=False, reason=getattr(error, "reason", ""), message=str(error))


Kind = Any


def _expect(said: AnySaid, kind: type[Kind]) -> Kind:
    if isinstance(said, kind):
        return said
    if isinstance(said, Answer):
        raise BundleError(said.message or said.reason, said.reason)
    raise BundleError(f"{type(said).__name__} where {kind.__name__} was awaited")


def surely_missing(folder: str) -> bool:
    """Whether there is no such folder; of what is hidden from this side, such as homes, its start will tell."""
    try:
        os.stat(folder)  # noqa: PTH116 - one look
    except PermissionError:
        return False
    except OSError:
        return True
    return False


def ticket() -> str:
    """What readers of a workload's files must show: nobody guesses it."""
    return os.urandom(16).hex()


def _root(shelf: Path, bundle: Bundle) -> Path:
    if not bundle.token:
        return shelf / "files"
    return bundles.kept_folder(shelf, bundle.token, bundle.number, bundle.rank) / "files"


def _output(part: Chunk, offset: int, run: str) -> Output:
    """What another host says of an output; one that does not say where it begins, begins where it was asked."""
    at = part.offset if part.offset >= 0 else offset
    return Output(part.data, at, run, part.line, part.keeps, part.lines, part.whole, part.after_ms)


def _begin_at(path: Path, found: Output) -> None:
    """What is before is gone at its seat."""
    path.open("wb").close()
    logs.write(path, logs.Kept(found.offset, found.offset, max(0, found.line), found.keeps))


def _append(path: Path, found: Output) -> None:
    with path.open("r+b" if path.exists() else "wb") as file:
        file.seek(found.offset - logs.kept(path).base)
        file.write(found.data)
        file.flush()
        os.fsync(file.fileno())


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
