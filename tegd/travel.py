"""Work of this host that sits on others, and parts of others' work that sit here (`tegd.handover` says how).

What is to be done follows from what is on disk with each workload: every cycle looks at trips and stays, and asks for
what is due. An act that failed, or was forgotten in a crash, is asked for again; each may be done twice.
"""

from dataclasses import dataclass
from typing import Any

from tegcore.wire.messages import Peers
from tegcore.wire.peer import Source
from tegcore.wire.records import Cancel, Op, Reason, Region, unpack_blocks
from tegd.effects import Effect, Forget, Keep, Run, SaveAndEnd, SaveInPassing
from tegd.errands import CYCLES_PER_S
from tegd.generations import HOME
from tegd.handover import Stay, Trip, TripEvent
from tegd.stays import Stays
from tegd.trips import Trips
from tegd.workload import Life, Workload


@dataclass
class Travel(Trips, Stays):
    """One host's trips and stays; see `tegd.errands.Errands` for what it is made with."""

    def filled(self, body: Any, now_ns: int) -> list[Effect] | None:
        """A lease was granted or is told of again; None where it is an ordinary seat on this host itself."""
        node = self.node
        assert node.zone is not None
        self.grants[body.lease] = body
        effects: list[Effect] = []
        if (part := self.part(body.lease, body.token)) is not None:
            part.term_end_ns = max(part.term_end_ns, node.link.at_ns(body.term_end_tick))
            effects += self._start(part)
        if body.origin_host != node.zone.host_id:
            return effects
        work, blocks = node.workloads.get(body.ref), unpack_blocks(body.blocks0, body.blocks1)
        if work is not None and work.lease == body.lease and work.trip:
            return effects
        if work is None or work.life is Life.ENDED or (work.lease and work.lease != body.lease):
            if self._all_here(blocks):
                return None
            node.link.put(Op.CANCEL, Cancel(body.ref, body.lease), now_ns)
            return effects
        if self._all_here(blocks) and not work.strayed:
            return None
        return effects + self._set_out(work, body, blocks, now_ns)

    def noticed(self, body: Any, now_ns: int) -> None:
        """A lease must leave of which nothing runs here: where none of it has come here yet, its slots are clear."""
        node = self.node
        if (work := self._trip(body.lease)) is not None:
            work.note(node.tick, f"its seat has notice: {Reason(body.why).name.lower()}")
        grant = self.grants.get(body.lease)
        if grant is None or grant.token != body.token or self.part(body.lease, body.token) is not None:
            return
        if self._overlaps(grant):
            del self.grants[body.lease]
            node.release(body.lease, body.token, Reason(body.why), now_ns)

    def withdrawn(self, body: Any) -> None:
        """The notice of a lease is taken back of which nothing runs here."""
        if (work := self.away(body.lease)) is not None and work.token == body.token:
            work.note(self.node.tick, "the notice of its seat was taken back")

    def lease_over(self, lease: int, why: Reason, now_ns: int) -> list[Effect]:
        """A lease is over: what this host has to do with it goes on from there."""
        self.grants.pop(lease, None)
        self.parties.pop(lease, None)
        self._done("party", lease)
        effects: list[Effect] = []
        if (ended := self.node._by_lease(lease)) is not None:
            self._since.pop((ended.ref, "save", ended.token), None)
        work = self._trip(lease)
        if work is not None:
            work.lease_why = why
            self._since[work.ref, Trip.HEARING] = self.node.cycle
            effects += self._happened(work, TripEvent.LEASE_OVER, now_ns)
        for part in [part for part in self.node.workloads.values() if part.home and part.lease == lease]:
            effects += self._part_lease_over(part, why)
        return effects

    def peers_told(self, peers: Peers) -> None:
        """The ledger has answered who is who; of a lease that is over meanwhile nobody asks any more."""
        for party in peers.parties:
            if party.lease in self.grants or self._trip(party.lease) is not None:
                self.parties[party.lease] = party
            self._done("party", party.lease)
        for peer in peers.peers:
            self.peers[peer.host] = peer
            self._done("peer", peer.host)

    def run_changed(self, work: Workload, run: Run) -> list[Effect]:
        """A run has saved, or a part's run stands otherwise than before."""
        effects: list[Effect] = []
        self._starting.discard(run.airlock_id)
        if run.saved and not work.home:
            work.strayed, work.sources = False, []
        if work.home and work.asked and (run.hook_failed or run.cause == "term"):
            work.asked = []  # what was asked for was not made, and a save that comes is the airlock's own
            effects.append(Keep(work))
        if work.home and run.saved:
            self._heard_saved[run.airlock_id] = run.saved_ns
            effects += self._collect_next(work)
        alive = run.state not in {"ended", "saving", "flushing", "ending", "killing"}
        if work.home and alive and (work.lease_why or work.stay in {Stay.OVER, Stay.KEPT, Stay.GONE}):
            self.saves_at_last(work, 0)
            effects.append(SaveAndEnd(work, save=work.hook is not None))
        if work.home and work.life is Life.ENDED and run.state == "ended":
            effects.append(Forget(run.airlock_id))
        return effects

    def collected(self, ref: int, token: int, number: int, problem: str) -> list[Effect]:
        """A checkpoint that a run has saved is kept, or could not be."""
        work = self.node.workloads.get(ref)
        if work is None:
            return []
        if not work.home:
            self._done("collect", ref)
            if problem:
                work.note(self.node.tick, f"its checkpoint cannot be read, and is left behind: {problem}")
                work.resume = False
                return [Keep(work)]
            work.strayed, work.sources = True, [Source(work.last_token, number, 0, HOME)]
            return [Keep(work)]
        return self._collected_of_part(work, number, problem) if token == work.token else []

    def step(self, now_ns: int) -> list[Effect]:
        """One cycle: whatever is due."""
        effects: list[Effect] = []
        for work in self.node.in_order():
            if work.home and work.stay not in {Stay.NONE, Stay.GONE}:
                effects += self._tend_stay(work, now_ns)
            elif not work.home and work.trip:
                effects += self._tend_trip(work, now_ns)
            if not work.home and (work.sources or work.owed):
                effects += self._tend_copies(work)
            if work.life is Life.SEEKING and work.strayed:
                effects += self._tend_held_back(work, now_ns)
            if not work.in_gang:
                effects += self._save_alone(work)
        return effects

    def _save_alone(self, work: Workload) -> list[Effect]:
        """Save in passing what has one rank, so long after the save before; a gang does it together."""
        every = work.spec.checkpoint_every_s * CYCLES_PER_S
        running = every and work.life is Life.SEATED and self.node.runs.get(work.airlock_id) == "running"
        if not running or work.hook is None or self._passed(work.ref, "save", work.token) < every:
            return []
        self._since[work.ref, "save", work.token] = self.node.cycle
        return [SaveInPassing(work)]

    def forget(self, work: Workload) -> None:
        """A workload is known no more."""
        self._forget_errands(work.ref)
        self._reported.pop(work.ref, None)
        self._starting.discard(work.airlock_id)
        self._collecting.pop(work.airlock_id, None)
        self._heard_saved.pop(work.airlock_id, None)

    def _all_here(self, blocks: tuple[Region, ...]) -> bool:
        assert self.node.zone is not None
        own = Region(self.node.zone.base, self.log2_slots)
        return all(own.base <= block.base and block.end <= own.end for block in blocks)
