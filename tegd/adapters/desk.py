"""What people ask of this host over its control socket: to take work in, to show it, to end it, to read what it wrote.

Each sees and does what its tenant may; who asks, the kernel says.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from tegcore.errors import PermissionDeniedError, RefusedError
from tegcore.wire import control
from tegd import possible, submission, updating, views
from tegd.adapters.courier import Courier, ticket
from tegd.adapters.places import Output, Places
from tegd.adapters.store import Store
from tegd.airlock.protocol import LOG_BYTES_MAX
from tegd.effects import Effect, Keep
from tegd.modes import Mode
from tegd.node import Node
from tegd.settings import HostSettings
from tegd.tenancy import Tenancy
from tegd.workload import Life, Workload
from tegio.control import Peer
from tegio.users import is_operator, own_tenants, tenant_for, user_name

_TOLD_TO_LEDGER = control.CancelWorkload | control.TopUpWorkload | control.UpdateWorkload
STOCK_LOOK_S, STOCK_LOOKS_MAX = 0.05, 50
"""How often, and how many times, it is looked for a newer count of the zone before anything is refused for it."""
ROWS_AT_ONCE = 200
"""Of a list: some hundredths of a second of work, on a slow machine."""
LOG_POLL_S = 0.2
LOG_ALIVE_S = 10.0
"""Who follows a silent workload is told so often that nobody has gone."""


class Desk:
    """One host's.

    Args:
        settings: Of the host.
        node: Its core.
        store: What is accepted.
        places: Where the files of workloads are.
        courier: Reads the output of what sits elsewhere.
        carry_out: Carries out effects, durable ones before it returns.
        now_ns: The boot-time clock.
        tenancy: Who may spend as whom; by default as the settings say.
    """

    def __init__(
        self,
        settings: HostSettings,
        node: Node,
        store: Store,
        places: Places,
        courier: Courier,
        carry_out: Callable[[list[Effect]], None],
        now_ns: Callable[[], int],
        tenancy: Tenancy | None = None,
    ) -> None:
        self._settings = settings
        self._node = node
        self._store = store
        self._places = places
        self._courier = courier
        self._carry_out = carry_out
        self._now_ns = now_ns
        self._tenancy = tenancy or Tenancy(settings.tenants, settings.tokens)
        self._submitting = asyncio.Lock()

    async def answer(self, peer: Peer, request: control.AnyRequest) -> control.Reply | AsyncIterator[control.Reply]:
        """Answer a request over the control socket."""
        now_ns = self._now_ns()
        if isinstance(request, _TOLD_TO_LEDGER) and self._node.link.outbox.full:
            what = (
                "the scheduler (zone-ledger) does not answer, and too much waits to be told to it: nothing was changed"
            )
            raise RefusedError(what, "give the same command again once `tegctl hosts` answers: then it is back")
        match request:
            case control.Submit():
                return await self._submit(peer, request)
            case control.Workloads():
                return control.Reply(data=await self._rows(peer))
            case control.Why():
                return await self._why(self._named(peer, request.name), now_ns)
            case control.UpdateWorkload():
                work = self._named(peer, request.name)
                told = request.told and is_operator(peer.uid, self._settings.operators)
                done = updating.update(self._node, work, msgspec.structs.replace(request, told=told), now_ns)
                self._carry_out(done.effects)
                return control.Reply(data=views.row(self._node, work, now_ns) | {"done": done.text})
            case control.CancelWorkload():
                work = self._named(peer, request.name)
                if not work.came_to_its_end:
                    if not work.cancelled:
                        work.cancelled_by = user_name(peer.uid)
                        work.note(self._node.tick, f"{work.cancelled_by} cancelled it")
                    self._carry_out(self._node.cancel(work, now_ns))
                return control.Reply(data=views.row(self._node, work, now_ns))
            case control.TopUpWorkload():
                work = self._named(peer, request.name)
                self._carry_out(self._node.top_up(work, request.amount_ucr, request.key))
                return control.Reply(data=views.row(self._node, work, now_ns))
            case control.Logs():
                work = self._named(peer, request.name)
                since_ms = int(time.time() - request.since_s) * 1000 if request.since_s else 0
                return self._log(work, request.offset, request.last, since_ms, follow=request.follow)
            case _:
                raise RefusedError(f"tegd does not answer {type(request).__name__}")

    def _seen_by(self, peer: Peer) -> list[Workload]:
        everyone = is_operator(peer.uid, self._settings.operators)
        own = set(own_tenants(peer.uid, self._tenancy.users))

        def is_seen(work: Workload) -> bool:
            return everyone or work.tenant in own or work.uid == peer.uid

        return [work for _, work in sorted(self._node.workloads.items()) if is_seen(work)]

    async def _rows(self, peer: Peer) -> list[dict[str, Any]]:
        """Rows of all that a user sees; cycles go on while a long list is made."""
        rows: list[dict[str, Any]] = []
        names: dict[int, str] = {}
        for count, work in enumerate(self._seen_by(peer), 1):
            if work.uid not in names:
                names[work.uid] = user_name(work.uid)
            if work.ref in self._node.agents:  # it may have been dropped meanwhile
                rows.append(views.row(self._node, work, self._now_ns()) | {"user": names[work.uid]})
            if count % ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return rows

    def _named(self, peer: Peer, name: str) -> Workload:
        own_first = sorted(self._seen_by(peer), key=lambda work: (bool(work.home), -work.ref))
        for work in [*(work for work in own_first if work.name == name), *own_first]:
            if name in {work.name, str(work.ref)}:
                return work
        raise RefusedError(
            f"there is no job {name!r} on this host", "`tegctl ps -a` lists your jobs, with those that are over"
        )

    async def _submit(self, peer: Peer, request: control.Submit) -> control.Reply:
        """One after the other: the same may come twice at once, from a client that asks again."""
        if self._store.by_key(peer.uid, request.key) is None:
            await self._demand_possible(request.spec)
            await self._hear_of_tenant(peer, request.spec.tenant)
        async with self._submitting:
            return await self._accept(peer, request)

    async def _accept(self, peer: Peer, request: control.Submit) -> control.Reply:
        spec = request.spec
        if (known := self._store.by_key(peer.uid, request.key)) is not None:
            name = self._node.workloads[known].name if known in self._node.workloads else f"w{known}"
            return control.Reply(data={"name": name, "ref": known})
        tenant = self._tenant_for(peer, spec.tenant)
        if self._tenancy.is_closed(tenant):
            hint = f"ask an operator to run `tegctl tenant add {tenant}`, which opens it again, then submit it again"
            raise RefusedError(f"tenant {tenant!r} is closed: an operator lets it start no new jobs", hint)
        submission.check(spec, tenant, self._tenancy.tokens, self._node.workloads.values())
        submission.check_files(request.files, request.stdin)
        files = request.files | submission.brought(spec, request.stdin)
        overridden = submission.overridden(spec, self._settings.slots_as)
        period_ticks = self._node.zone.period_ticks if self._node.zone else 0
        spec = msgspec.structs.replace(submission.priced(spec, period_ticks), env={})
        shown = ticket()
        if files:
            await self._take_files(shown, files)
        ref = self._store.next_ref()
        work = Workload.accepted(ref, tenant, (peer.uid, peer.gid), request.key, spec)
        work.submitted_tick = self._node.tick
        work.note(self._node.tick, "accepted")
        if overridden:
            work.note(
                self._node.tick, f"TEG sets {', '.join(overridden)}: what its environment says of them is ignored"
            )
        warned = submission.warned(spec)
        for said in warned:
            work.note(self._node.tick, said)
        work.ticket, work.files = shown, tuple(sorted(files))
        if files:
            self._places.accept_files(shown, work)
        self._carry_out([Keep(work)])
        self._carry_out(self._node.submitted(work))
        told = {"overridden": overridden, "warnings": warned}
        return control.Reply(data={"name": work.name, "ref": ref} | {key: said for key, said in told.items() if said})

    async def _hear_of_tenant(self, peer: Peer, wanted: str) -> None:
        """Wait a moment for what the ledger may just have to tell of a tenant whose work would be refused."""
        node, asked = self._node, self._node.tick
        for _ in range(STOCK_LOOKS_MAX):
            told = node.tick > asked and not self._tenancy.behind
            if told or node.mode is not Mode.RUN or self._takes_work_of(peer, wanted):
                return
            await asyncio.sleep(STOCK_LOOK_S)

    def _tenant_for(self, peer: Peer, wanted: str) -> str:
        return tenant_for(peer.uid, wanted, self._tenancy.users, self._settings.operators, self._tenancy.tokens)

    def _takes_work_of(self, peer: Peer, wanted: str) -> bool:
        try:
            tenant = self._tenant_for(peer, wanted)
        except PermissionDeniedError:
            return False
        return tenant in self._tenancy.tokens and not self._tenancy.is_closed(tenant)

    async def _demand_possible(self, spec: control.WorkloadSpec) -> None:
        """Refuse what the zone can never give, by a count that began after this was asked: a host may have just come.

        Raises:
            RefusedError: Says what there is.
        """
        node, asked = self._node, self._node.tick
        for look in range(STOCK_LOOKS_MAX + 1):
            stock = node.known_stock()
            try:
                return possible.demand_possible(spec, stock, node.offers if spec.here else None)
            except RefusedError:
                fresh = stock is not None and stock.tick > asked
                if node.mode is Mode.RUN and (fresh or look == STOCK_LOOKS_MAX):
                    raise
            await asyncio.sleep(STOCK_LOOK_S)
        return None

    async def _take_files(self, ticket: str, files: dict[str, bytes]) -> None:
        try:
            await asyncio.to_thread(self._places.take_files, ticket, files)
        except OSError as error:
            self._places.refuse_files(ticket)
            raise RefusedError(
                f"what comes with the job (--file, environment, input) cannot be stored on this host: {error.strerror}",
                "ask an operator to look at the disk of tegd's state folder, then submit it again",
            ) from None

    async def _why(self, work: Workload, now_ns: int) -> control.Reply:
        told = _signed(views.why(self._node, work, now_ns))
        kept = await asyncio.to_thread(self._places.kept_log, work.ref)
        if kept.first:
            share = self._settings.tenant_log_bytes if kept.bound < LOG_BYTES_MAX else 0
            told["log"] = {"lines": kept.lines, "bytes": kept.first, "keeps": kept.bound, "share": share}
        return control.Reply(data=told)

    async def _log(
        self, work: Workload, offset: int, last: int | None = None, since_ms: int = 0, *, follow: bool
    ) -> AsyncIterator[control.Reply]:
        """The output of all runs of a workload, one after the other."""
        silent_s, said = 0.0, ""
        if last is not None or since_ms:
            begin = await self._begin_log(work, last, since_ms)
            offset = begin.offset
            yield _part(begin, begins=begin.whole)
        while True:
            if follow and work.hook_failed != said:
                said = work.hook_failed
                yield control.Reply(data={"bytes": b"", "offset": offset, "hook_failed": said}, more=True)
            over = work.life is Life.ENDED
            part: Output | None = await asyncio.to_thread(self._places.read_log, work.ref, offset)
            if (part is None or part.end <= offset) and work.life is Life.AWAY:
                part = await self._away_log(work, offset)
            if part is not None and part.end > offset:
                offset = part.end
                yield _part(part)
                continue
            if over or not follow:
                end = {"bytes": b"", "offset": offset, "exit_code": work.exit_code, "outcome": work.outcome}
                yield control.Reply(data=end)
                return
            if silent_s >= LOG_ALIVE_S:
                silent_s = 0.0
                yield control.Reply(data={"bytes": b"", "offset": offset}, more=True)
            await asyncio.sleep(LOG_POLL_S)
            silent_s += LOG_POLL_S

    async def _away_log(self, work: Workload, offset: int) -> Output | None:
        """What a run elsewhere has written, past what its earlier runs wrote here."""
        before = await asyncio.to_thread(self._places.log_bytes, work.ref)
        found = await self._courier.read_log(work, offset - before) if offset >= before else None
        return found._replace(offset=before + found.offset) if found is not None else None

    async def _begin_log(self, work: Workload, last: int | None, since_ms: int) -> Output:
        """Where reading begins: in the run elsewhere, or where that has less than was asked for, in one before it."""
        before, found = 0, None
        if work.life is Life.AWAY:
            before = await asyncio.to_thread(self._places.log_bytes, work.ref)
            found = await self._courier.read_log(work, 0, -1 if last is None else last, since_ms)
        if found is None:
            return await asyncio.to_thread(self._places.begin_log, work.ref, last, since_ms)
        if found.offset == 0 and (last is None or found.lines < last):
            rest = None if last is None else last - found.lines
            earlier = await asyncio.to_thread(self._places.begin_log, work.ref, rest, since_ms)
            if earlier.offset < before:
                return earlier
        return found._replace(offset=before + found.offset)


def _part(part: Output, *, begins: bool = False) -> control.Reply:
    """A part of an output; `line` is how many lines of its run are before it, where the reader may not know.

    With `begins` they are not missing: nobody asked for them.
    """
    told: dict[str, Any] = {"bytes": part.data, "offset": part.end, "run": part.run}
    if part.line >= 0:
        over_share = part.keeps < LOG_BYTES_MAX
        told |= {"line": part.line, "keeps": part.keeps, "begins": begins, "over_share": over_share}
    return control.Reply(data=told, more=True)


def _signed(row: dict[str, Any]) -> dict[str, Any]:
    """A row with the name of its user, as this host knows it."""
    return row | {"user": user_name(row["uid"])}
