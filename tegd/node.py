"""The agent side's core: what each message, each happening on the airlock side and each cycle leads to.

`Node` keeps the workloads of this host and their agents. Every method takes what has happened and the time, and
returns effects: commands for the ledger go into the link's outbox, the rest is handed to the shell. What a ghost does
is in `ghosts`, what is done for a seat in `seats`, how one is given up in `leaving`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tegcore.errors import RefusedError
from tegcore.units import credits_text
from tegcore.wire.messages import Events, Welcome
from tegcore.wire.records import Cancel, Market, Op, Reason, Record
from tegd.bidding import Usage
from tegd.effects import Effect, Keep, Rejoin
from tegd.ghosts import Ghosts
from tegd.link import Link, events_of
from tegd.modes import Happening, Mode
from tegd.roster import Agent
from tegd.seats import ELSEWHERE, Seats
from tegd.workload import Life, Workload

SILENCE_NS = 3_000_000_000
BEHIND_BEATS = 20
"""A message may come late; so many one after the other do not."""
TOP_UPS_KEPT_MAX = 32
DROP_EVERY_CYCLES = 200


@dataclass
class Node(Ghosts, Seats):
    """This host's agents; see `tegd.roster.Roster` for what it is made with."""

    # --- modes and messages -----------------------------------------------------------------------------------------

    def welcomed(self, welcome: Welcome) -> None:
        """The ledger has given this host its number and place."""
        if welcome.boot == self.link.boot:
            self.zone, self.tick = welcome, welcome.tick
            self.link.anchored(welcome.tick)

    def beaten(self, tick: int, market: int, now_ns: int) -> None:
        """The ledger ticks. One that is behind what it said before, beat after beat, has lost a part of its history."""
        if self.zone is not None and tick < self.tick:
            self.behind_beats += 1
            if self.behind_beats >= BEHIND_BEATS:
                self.forget()
            return
        self.behind_beats = 0
        if self.forgotten:
            return
        self.tick, self.beat_ns, self.market = max(self.tick, tick), now_ns, Market(market)
        if self.mode is Mode.LIMP and self.travel is not None:
            self.travel.heard_again()
        self.happen(Happening.BEAT)

    def forget(self) -> None:
        """The ledger knows less than it acknowledged: all that it says is of another history."""
        if self.forgotten or self.zone is None:
            return
        self.forgotten = True
        for work in self.in_order():
            if work.lease:
                self.tell(work, "the ledger's history went back: it runs on to its term, and is seated anew then")

    def _is_clear(self, now_ns: int) -> bool:
        """Whether nothing runs here, or on others for this host, under a lease of the history that was lost."""
        alive = any(state != "ended" for state in self.runs.values())
        return not alive and all(work.term_end_ns < now_ns for work in self.workloads.values() if work.lease)

    def field_came(self, mu_ucr: int) -> None:
        """The governor's field says how much static friction there is."""
        self.mu_ucr = mu_ucr

    def disowned(self, boot: int) -> list[Effect]:
        """The ledger does not go on with a session: if it is this one, another must begin, under a new boot.

        What was sent under an earlier boot and comes late is rejected as well, and says nothing of this one.
        """
        if boot != self.link.boot or self.zone is None or self.forgotten:
            return []
        return self._begin_anew()

    def _begin_anew(self) -> list[Effect]:
        self.zone = None
        self.happen(Happening.DISOWNED)
        return [Rejoin()]

    def rejoin(self, link: Link) -> None:
        """Begin a session anew: the ledger will tell all that it knows, and whatever waited is asked again."""
        self.link = link
        self.told.clear()
        if self.forgotten:
            self.forgotten, self.behind_beats, self.tick, self.stock = False, 0, 0, None
        for agent in self.agents.values():
            agent.renew_seq = agent.expand_seq = 0
            agent.released = False
            agent.top_ups.clear()

    def submitted(self, workload: Workload) -> list[Effect]:
        """Take in a workload that is on disk already."""
        self.workloads[workload.ref] = workload
        self.agents[workload.ref] = Agent()
        self._saw(workload.lease, max(workload.token, workload.last_token))
        return []

    def told_events(self, message: Events, now_ns: int) -> list[Effect]:
        """Take in a message of the ledger; what comes before its Welcome will come again."""
        if message.boot != self.link.boot or self.zone is None or message.tick < self.tick or self.forgotten:
            return []
        self.tick = message.tick
        effects: list[Effect] = []
        quotes = events_of(message.quotes)
        for record in self.link.take(message):
            effects += self._event(record, now_ns)
        for record in quotes:
            if record.op is Op.QUOTED:
                if record.body.ref & ELSEWHERE:
                    effects += self._weighed(record.body)
                else:
                    effects += self._quoted(record, now_ns)
        return effects

    def _event(self, record: Record, now_ns: int) -> list[Effect]:
        body = record.body
        match record.op:
            case Op.FILLED:
                self._saw(body.lease, body.token)
                return self._filled(body, now_ns)
            case Op.REFUSED:
                return self._refused(body, now_ns)
            case Op.EVICTING:
                return self._waiting(body, now_ns)
            case Op.ENDED:
                return self._lease_ended(body, now_ns)
            case Op.SYNCED:
                return self._synced(now_ns)
            case Op.ANSWER:
                return self._answered(body)
            case _:
                return self._of_a_seat(record.op, body, now_ns)

    def _saw(self, lease: int, token: int) -> None:
        self.seen = max(self.seen[0], lease), max(self.seen[1], token)

    def _of_a_seat(self, op: Op, body: Any, now_ns: int) -> list[Effect]:
        match op:
            case Op.NOTICE:
                return self._noticed(body, now_ns)
            case Op.WITHDRAWN:
                return self._withdrawn(body)
            case Op.WOKEN:
                return self._woken(body, now_ns)
            case Op.PROMISED:
                return self._promised(body)
            case Op.LOW:
                return self._low(body)
            case Op.RENEWED:
                return self._renewed(body)
            case Op.EXPANDED:
                return self._expanded(body)
            case Op.SETTLED:
                return self._settled(body)
            case _:
                return []

    # --- people -----------------------------------------------------------------------------------------------------

    def cancel(self, work: Workload, now_ns: int) -> list[Effect]:
        """Its owner wants it over."""
        work.cancelled = True
        match work.life:
            case Life.SEEKING | Life.PARKED:
                self.link.put(Op.CANCEL, Cancel(work.ref), now_ns)
                return self.over(work, "cancelled")
            case Life.ORDERED | Life.WAITING:
                self.link.put(Op.CANCEL, Cancel(work.ref), now_ns)
                return [Keep(work)]
            case Life.SEATED:
                return self._leave(work, Reason.CANCELLED, self.tick)
            case Life.AWAY if self.travel is not None:
                return [Keep(work), *self.travel.cancel(work, now_ns)]
            case _:
                return [Keep(work)]

    def top_up(self, work: Workload, amount_ucr: int, key: int) -> list[Effect]:
        """More of its own money, once a key: for its seat, or for the next.

        Raises:
            RefusedError: If there is nothing to fill: the account pays; or it is filled at its home.
        """
        if key in work.top_ups:
            return []
        if len(work.unfilled) >= TOP_UPS_KEPT_MAX:
            what = f"{len(work.unfilled)} top-ups of {work.name} wait for the ledger: nothing was added"
            raise RefusedError(what, "try again when the ledger is heard: `tegctl hosts` answers then")
        if work.home:
            hint = f"on {work.home}, where it was submitted: `tegctl top-up {work.name} {credits_text(amount_ucr)}`"
            raise RefusedError(f"{work.name} runs here for host {work.home}: nothing was added", hint)
        if work.own_ucr is None:
            hint = (
                f"ask an operator to run `tegctl mint {work.tenant} {credits_text(amount_ucr)}`: it adds to the account"
            )
            what = f"{work.name} has no --budget or --endow to add to: the account of {work.tenant} pays for it"
            raise RefusedError(f"{what}; nothing was added", hint)
        work.top_ups = [*work.top_ups, key][-TOP_UPS_KEPT_MAX:]
        if work.expects_money:
            work.top_up_lease(amount_ucr)
        else:
            work.topped_up(amount_ucr)
        if work.life is Life.PARKED:
            work.become(Life.SEEKING, self.tick, "topped up: seeks again")
        return [Keep(work)]

    # --- time -------------------------------------------------------------------------------------------------------

    def step(self, usage: Mapping[str, Usage], now_ns: int) -> list[Effect]:
        """One cycle: quotes, renewals, expansions, leavings that are due."""
        self.cycle += 1
        if self.mode is Mode.RUN and now_ns - self.beat_ns > SILENCE_NS:
            self.happen(Happening.SILENCE)
        if self.zone is None or self.mode not in {Mode.RUN, Mode.LIMP}:
            return []
        if self.forgotten and self._is_clear(now_ns):
            return self._begin_anew()
        effects = self._ask() if self.mode is Mode.RUN else []
        effects += self.travel.step(now_ns) if self.travel is not None else []
        if self.cycle % DROP_EVERY_CYCLES == 0:
            effects += self._drop_old()
        for work in self.in_order():
            if work.unfilled:
                effects += self._top_up(work, now_ns)
            if work.life is Life.LEAVING:
                effects += self._still_leaving(work, now_ns)
            elif work.life is Life.SEATED:
                self._sits(work, usage.get(work.airlock_id), now_ns)
        return effects

    def _still_leaving(self, work: Workload, now_ns: int) -> list[Effect]:
        agent = self.agents[work.ref]
        if self.runs.get(work.airlock_id) != "ended":
            return self._leave_when_due(work, agent)
        return [] if agent.released else self.run_ended(work, Reason(work.why_leaving), now_ns)

    def _sits(self, work: Workload, use: Usage | None, now_ns: int) -> None:
        agent = self.agents[work.ref]
        self._renew(work, agent, now_ns)
        if agent.weighs and self.mode is Mode.RUN:
            self._weigh(work, agent)
        if use is not None and (agent.last_use is None or use.at_ns > agent.last_use.at_ns):
            before, agent.last_use = agent.last_use, use
            agent.period_use = agent.period_use or use
            self._expand(work, agent, before, use, now_ns)

    def motion(self) -> tuple[int, int, float, float]:
        """(agents, ghosts, attempted displacement in slots, mean mass) since it was last asked, for Re (DESIGN 8)."""
        living = [work for work in self.workloads.values() if work.life not in {Life.ENDED, Life.AWAY}]
        ghosts = [work for work in living if not work.lease]
        attempts = 0.0
        for work in living:
            search = self.agents[work.ref].search
            attempts += search.attempts_slots
            search.attempts_slots = 0.0
        masses = [max(1.0, work.mass_micro / 1e6) if work.lease else 1.0 for work in living]
        return len(living), len(ghosts), attempts, sum(masses) / len(masses) if masses else 0.0
