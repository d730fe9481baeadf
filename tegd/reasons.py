"""Why work does not run, in words: the cause, the number, and what would help.

A row has the cause's name (`reason`), how much is missing in the unit that `unit` says, a sentence (`text`) and what to
do (`help`, empty where waiting is all that there is to do). Times are seconds, money is credits. `STATES` gives each
life its word; whoever adds a life or a reason of the ledger finds a test that asks for its words.
"""

from typing import Any, NamedTuple

from tegcore.units import GIB, MIB, NS_PER_S, TICK_NS, TICKS_PER_HOUR, TICKS_PER_S, UCR_PER_CREDIT, credits_text
from tegcore.wire.messages import ClassStock, Stock
from tegcore.wire.records import Market, Reason
from tegd import generations
from tegd.generations import BEGINNING
from tegd.ghosts import RUNNING_MAX
from tegd.modes import Mode
from tegd.node import Node
from tegd.possible import cores, gib
from tegd.workload import AT_ITS_TIME, Life, Missing, Workload

LEAVING_FOR = {
    Reason.CANCELLED: "cancelling",
    Reason.CHALLENGED: "preempted",
    Reason.DRAINED: "preempted",
    Reason.OPERATOR: "preempted",
    Reason.BANKRUPT: "preempted",
    Reason.BUDGET: "preempted",
    Reason.MOVED: "saving",
    Reason.TIME: "ending",
}
"""What a job that gives up its slots is called, by why; `ending` for all other reasons."""
RUN_STATES = {
    "": "starting",
    "starting": "starting",
    "frozen": "suspended",
    "parked": "suspended",
    "ending": "ending",
    "killing": "ending",
    "ended": "ending",
}
"""What a job that has slots is called while its processes are in such a state; `running` in all others."""


class Row(NamedTuple):
    """One reason."""

    reason: str
    text: str
    help: str = ""
    missing: int = 0
    unit: str = ""

    def told(self) -> dict[str, Any]:
        """Of built-in types."""
        return self._asdict()


def seconds(ticks: int) -> str:
    """A number of ticks for people."""
    whole = max(0, -(-ticks * TICK_NS // NS_PER_S))
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"


def hourly_ucr(price_ucr: int, period_ticks: int) -> int:
    """What a price per slot-period comes to in an hour, rounded up."""
    return -(-price_ucr * TICKS_PER_HOUR // period_ticks) if period_ticks else 0


def period_ucr(hour_ucr: int, period_ticks: int) -> int:
    """The price per slot-period that comes to so much an hour, rounded up."""
    return -(-hour_ucr * period_ticks // TICKS_PER_HOUR)


def price_text(price_ucr: int, period_ticks: int) -> str:
    """A price for people: credits per GPU-hour."""
    return credits_text(hourly_ucr(price_ucr, period_ticks))


# --- states -----------------------------------------------------------------------------------------------------------


def state_of(node: Node, work: Workload) -> str:
    """The word for where a job is.

    Pending, starting, running, suspended, preempted, saving, cancelling, ending, completed, failed or cancelled.
    """
    match work.life:
        case Life.SEEKING | Life.ORDERED | Life.WAITING:
            return "cancelling" if work.cancelled else "pending"
        case Life.PARKED:
            return "suspended" if work.last_token else "pending"
        case Life.SEATED:
            return RUN_STATES.get(node.runs.get(work.airlock_id, ""), "running")
        case Life.AWAY:
            return (
                "starting"
                if work.trip.value in {"telling", "gathering"}
                else "cancelling"
                if work.cancelled
                else "running"
            )
        case Life.LEAVING:
            return "cancelling" if work.cancelled else LEAVING_FOR.get(Reason(work.why_leaving), "ending")
        case Life.ENDED:
            return "cancelled" if work.cancelled else "completed" if work.exit_code == 0 else "failed"


def brief(node: Node, work: Workload, now_ns: int) -> tuple[str, str]:
    """(name, a few words) of the first reason, for a list; empty where a job just runs."""
    rows = reasons(node, work, now_ns)
    return (rows[0].reason, rows[0].text.removeprefix(f"{state_of(node, work)}: ")) if rows else ("", "")


# --- reasons ----------------------------------------------------------------------------------------------------------


def reasons(node: Node, work: Workload, now_ns: int) -> list[Row]:
    """Every reason that a job is not simply running, the first in front."""
    rows: list[Row] = []
    if work.life is Life.ENDED:
        return [_ended(work)]
    if node.mode is not Mode.RUN or node.forgotten:
        rows.append(_away(node, work, now_ns))
    if work.tenant not in node.tokens and not work.home:
        text = f"this host may not run jobs of tenant {work.tenant!r} yet"
        more = f"ask an operator to run `tegctl tenant add {work.tenant}`: it starts by itself then"
        rows.append(Row("token", text, more, 1))
    match work.life:
        case Life.SEEKING | Life.ORDERED | Life.WAITING if work.cancelled:
            text = f"{_canceller(work)} cancelled it: what it asked the scheduler (zone-ledger) for is being withdrawn"
            rows.append(Row("cancelling", text, "nothing: it is not started"))
        case Life.LEAVING:
            rows.append(_leaving(node, work))
        case Life.WAITING:
            rows.append(_waiting(node, work))
        case Life.SEATED | Life.AWAY:
            rows += _seated(node, work)
        case _:
            rows += _pending(node, work)
    return rows + _warnings(node, work)


def _ended(work: Workload) -> Row:
    log = f"`tegctl logs {work.name}` shows what it wrote"
    if work.cancelled:
        return Row("cancelled", f"{_canceller(work)} cancelled it: it is over", f"nothing; {log}")
    if work.exit_code == 0:
        return Row("done", "exit code 0: its command ended well", f"nothing; {log}")
    mend = f"{log}: put that right, then submit it again"
    if work.exit_code is not None:
        text = work.outcome or f"exit code {work.exit_code}"
        if text.startswith(AT_ITS_TIME):
            return Row("time", text, _longer(work, log), work.exit_code, "code")
        if text.startswith("exit code"):
            text += ": its command ended with an error of its own"
        elif text == "killed by signal 9":
            text += " (SIGKILL): by somebody, or by the kernel because host memory ran out"
        elif text.startswith("cannot be executed") and "its working folder" in text:
            mend = "nothing ran: make that folder there, or name another (--chdir FOLDER), then submit the job again"
        elif text.startswith("cannot be executed"):
            mend = "nothing ran: make that file runnable there (`chmod +x FILE`), then submit the job again"
        return Row("exit", text, mend, work.exit_code, "code")
    text = work.outcome or "it has ended, but nobody saw its exit code: whether it did its work is not known"
    if text.startswith(AT_ITS_TIME):
        return Row("time", text, _longer(work, log))
    return Row("ended", text, f"{log}; if its work is not done, submit it again")


def _longer(work: Workload, log: str) -> str:
    """What who was ended by its time limit can do."""
    longer_s = -(-2 * work.spec.time_s // 60) * 60
    again = f"as `tegctl run --time {longer_s // 60}m -- COMMAND`"
    return f"if its work is not done, submit it again with a longer --time, {again}; {log}"


def _canceller(work: Workload) -> str:
    return work.cancelled_by or "its user, or an operator,"


def _warnings(node: Node, work: Workload) -> list[Row]:
    """What is going to happen to it, unless somebody does something."""
    rows, low = [], work.low
    if low.until_tick:
        amount, left = credits_text(low.missing_ucr), seconds(low.until_tick - node.tick)
        if low.reason == Reason.BUDGET:
            text = f"its {work.money_word} lasts for {left}: then it stops, and is pending until there is more"
            more = f"`tegctl top-up {work.name} {amount}` adds so many credits to it: it runs on"
        else:
            text = f"the account of {work.tenant} lasts for {left}: then it stops, and is pending until there is more"
            more = f"ask an operator to run `tegctl mint {work.tenant} {amount}`, which adds so many credits to it"
        rows.append(Row(Reason(low.reason).name.lower(), text, more, low.missing_ucr, "ucr"))
    if work.hook_failed:
        after = "is queued again, and starts from its beginning" if work.spec.requeue else "is ended"
        text = f"its hook did not save it ({work.hook_failed}): it runs on, but when it has to leave, it {after}"
        more = "to have it saved, mend its hook as docs/reference/hook.md says, and submit it again; else nothing"
        rows.append(Row("save_failed", text, more))
    if work.missing is not None:
        rows.append(_missing(node, work, work.missing))
    return rows


def _missing(node: Node, work: Workload, missing: Missing) -> Row:
    """Whose checkpoint a gang lacks, since when, and what it does without it."""
    since = max(0, node.tick - missing.tick)
    what = f"the checkpoint of rank {missing.rank}"
    anew = f"to have it start from its beginning: `tegctl cancel {work.name}`, and submit it again"
    if missing.ranks:
        text = f"its checkpoints are of {missing.ranks} hosts, and {seconds(since)} ago it won slots of {missing.seats}"
        return Row("missing", f"{text}: it waits for as many hosts", f"nothing; or, {anew}", since, "ticks")
    if missing.holder:
        what += f" is on {missing.holder}, which has not answered for {seconds(since)}"
        more = f"see that {missing.holder} comes back (`tegctl hosts`): nothing else holds it; or, {anew}"
    else:
        what += f" is missing since {seconds(since)}"
        more = "nothing; --checkpoint-every has all ranks save now and then, so that less is done again"
    if node.travel is not None and node.travel.held_back(work):
        return Row("missing", f"{what}: without it no rank goes on, and the job waits", more, since, "ticks")
    basis = work.basis or BEGINNING
    then = "all ranks go on from the last save that they have in common"
    if basis == BEGINNING and not generations.whole(work.sources):
        then = "as they have no save in common, all ranks start from the beginning"
    return Row("missing", f"{what}: {then}", more, since, "ticks")


def _away(node: Node, work: Workload, now_ns: int) -> Row:
    if node.zone is None and node.has_a_twin:
        text = f"another machine is in the zone as {node.host}, and was there first: nothing starts here"
        more = "ask an operator to give this machine another name (`host` in its settings), and to restart tegd"
        return Row("twin", text, more)
    if node.forgotten:
        term = max(0, work.term_end_ns - now_ns) // TICK_NS if work.lease else 0
        on = f"this job runs on for {seconds(term)}, and is seated anew then" if term else "this job stays pending"
        text = f"the scheduler (zone-ledger) knows less than it did (was a copy of its folder put back?): {on}"
        return Row("history", text, "nothing: this host begins anew with it as soon as what runs here has had its time")
    silent_s = (now_ns - node.beat_ns) // NS_PER_S if node.beat_ns else 0
    ago = f"was last heard {silent_s} s ago" if node.beat_ns else "has not been heard yet"
    heard = f"the scheduler (zone-ledger) {ago}"
    if node.mode is Mode.SYNC and node.beat_ns and silent_s < 4:
        heard += ", and is taking this host in, which takes a few seconds"
    term = max(0, work.term_end_ns - now_ns) // TICK_NS if work.term_end_ns else 0
    on = "this job stays pending, nothing new starts"
    if work.lease:
        until = f"for {seconds(term)}" if term else "until the time granted to it is over"
        on = f"this job runs on {until}, nothing new starts"
    more = (
        "nothing, if it is back soon: all goes on by itself; `tegctl hosts` answers once it is back. Else ask an "
        "operator to see that it and its broker run: `systemctl status zone-ledger`, or where `tegctl up` runs"
    )
    return Row("mode", f"{heard}: {on}", more, silent_s, "s")


def _leaving(node: Node, work: Workload) -> Row:
    why = Reason(work.why_leaving)
    text, help_ = _LEAVING.get(why, ("its slots are being given back", ""))
    left = node.agents[work.ref].leave_tick - node.tick
    within = f" within {seconds(left)}" if left > 0 else ""
    again, then = "nothing: it starts again by itself", ""
    if work.cancelled:
        text, again = f"{_canceller(work)} cancelled it: it is ended{within}", "nothing: it is not started again"
    elif why is Reason.DONE:
        again = f"nothing; `tegctl ps {work.name}` shows its exit code in a moment"
    elif why is Reason.TIME:
        if work.hook is None:
            left = node.agents[work.ref].deadline_tick - node.tick
            text = "its time limit (--time) is over: it was asked to end (SIGTERM), and is killed"
            within = f" within {seconds(left)}" if left > 0 else ""
        text, again = f"{text}{within}", "nothing; to give it longer, submit it again with a larger --time"
    elif work.hook is not None:
        then = f"; it saves itself{within}, is pending again, and goes on from there where it finds slots"
    elif work.spec.requeue:
        then = f"; it is stopped{within}, is pending again, and starts from its beginning"
    else:
        then = f"; it is ended{within}, and not started again: it was submitted with --no-requeue"
        again = "submit it again"
    ends = again == "submit it again"
    raised = f"a higher bid makes it harder to preempt: `tegctl update {work.name} --bid {_higher(node, work)}`"
    raised = "a higher --bid makes it harder to preempt" if ends else raised
    pay = _money_for(node, work, "then submit it again" if ends else "it starts again by itself")
    facts = {"name": work.name, "again": again, "bid": _higher(node, work), "raised": raised, "pay": pay}
    return Row(why.name.lower(), text + then, (help_ or "{again}").format(**facts), max(0, left), "ticks")


_LEAVING = {
    Reason.CANCELLED: ("it was cancelled", ""),
    Reason.CHALLENGED: (
        "preempted: someone bid more for its slots",
        "{again}; {raised}",
    ),
    Reason.DRAINED: ("preempted: an operator is draining its host", ""),
    Reason.OPERATOR: ("preempted: an operator took its slots back", "{again}; the operator can say why"),
    Reason.BANKRUPT: ("preempted: nothing is left to pay for it", "{pay}"),
    Reason.BUDGET: ("preempted: its budget is spent", "{pay}"),
    Reason.EXPIRED: (
        "its slots were not renewed in time, as the scheduler (zone-ledger) did not answer",
        "{again}; `tegctl hosts` shows whether the scheduler answers now",
    ),
    Reason.HOST_GONE: ("its host was lost: nothing is heard of it", "{again}; `tegctl hosts` shows which hosts are up"),
    Reason.MOVED: ("it moves to cheaper slots", ""),
    Reason.TIME: ("its time limit (--time) is over: it is asked to save itself, and ended", ""),
    Reason.DONE: ("its command has ended, and its slots are being given back", ""),
}


def _higher(node: Node, work: Workload) -> str:
    """Twice what it bids, as an option takes it."""
    period = node.zone.period_ticks if node.zone else 0
    twice = -(-2 * hourly_ucr(work.limit_ucr, period) // _CENT_UCR) * _CENT_UCR
    return f"{credits_text(twice)}/h" if twice else "CREDITS/h"


def _money_for(node: Node, work: Workload, then: str = "it starts again by itself") -> str:
    """What gives it more money: of its own, or of its account; as much as it costs in an hour at its bid."""
    period = node.zone.period_ticks if node.zone else 0
    amount = credits_text(max(_CENT_UCR, hourly_ucr(work.charge_ucr(work.limit_ucr), period)))
    if work.own_ucr is not None:
        return f"`tegctl top-up {work.name} {amount}` adds credits for an hour: {then}"
    return f"ask an operator to run `tegctl mint {work.tenant} {amount}` (credits for an hour): {then}"


_CENT_UCR = UCR_PER_CREDIT // 100


def _waiting(node: Node, work: Workload) -> Row:
    left = max(0, work.waits.until_tick - node.tick)
    text = f"its slots are won; the jobs that held them have up to {seconds(left)} to save themselves and leave"
    return Row("evicting", text, "nothing: it starts by itself then", left, "ticks")


def _seated(node: Node, work: Workload) -> list[Row]:
    rows = []
    state = state_of(node, work)
    if work.waits.reason.startswith("EXPAND "):
        rows.append(_expansion(node, work))
    if state == "suspended":
        text = "it is paused: its host is short of host memory (not GPU memory), and other jobs there are worth more"
        more = "nothing: it goes on by itself where it stopped; `tegctl airlock` shows what is short"
        rows.append(Row("memory", text, more))
    elif state == "starting":
        where = f" on {', '.join(work.seats)}" if work.seats else ""
        rows.append(Row("starting", f"it has its slots, and is being started{where}", "nothing: it starts by itself"))
    elif state in {"ending", "cancelling"}:
        text = f"{_canceller(work)} cancelled it" if work.cancelled else "its command has ended"
        more = f"nothing; `tegctl ps {work.name}` shows how it ended in a moment"
        rows.append(Row(state, f"{text}, and its slots are being given back", more))
    return rows


def _expansion(node: Node, work: Workload) -> Row:
    refused = work.waits.reason.removeprefix("EXPAND ")
    missing, on = work.waits.missing, "; it keeps running with what it has"
    more = f"nothing; if it needs more, cancel and submit it again with a larger --mem: `tegctl cancel {work.name}`"
    if refused == Reason.CAPACITY.name:
        text = f"it could not get more host memory (not GPU memory): its host is {gib(missing)} GiB short"
        return Row("expand capacity", text + on, more, missing, "bytes")
    if refused in {Reason.BANKRUPT.name, Reason.FUNDS.name, Reason.BUDGET.name}:
        text = f"it could not pay for more host memory (not GPU memory): {credits_text(missing)} credits short"
        more = f"`tegctl top-up {work.name} {credits_text(max(1, missing))}` adds them"
        if work.own_ucr is None:
            more = f"ask an operator to run `tegctl mint {work.tenant} {credits_text(max(1, missing))}`"
        return Row(f"expand {refused.lower()}", text + on, more, missing, "ucr")
    if refused == Reason.PRICE.name:
        more = f"nothing; or bid more, and it gets it: `tegctl update {work.name} --bid {_higher(node, work)}`"
    why = _EXPANSIONS.get(refused, "the scheduler (zone-ledger) refused it")
    text = f"it could not get more host memory (not GPU memory): {why}{on}"
    return Row(f"expand {refused.lower()}", text, more, missing)


_CHANGED = "its slots were just being changed when it asked"
_EXPANSIONS = {
    Reason.PRICE.name: "it costs more than the job bids",
    Reason.RANGE.name: "it asked for more than can be had at once",
    Reason.LEASE.name: _CHANGED,
    Reason.TOKEN.name: _CHANGED,
    Reason.STATE.name: _CHANGED,
}


def _pending(node: Node, work: Workload) -> list[Row]:
    rows = []
    if work.promised_tick >= 0:
        rows.append(_promise(node, work))
    if work.waits.reason and (row := _refused(node, work)) is not None:
        rows.append(row)
    if work.stays_home and work.life is not Life.PARKED:
        rows.append(_home(node, work))
    for host, (_, _, cause) in work.avoided.items():
        text = f"it could not be started on {host} ({cause}), and waits for another host"
        more = f"nothing: it starts elsewhere by itself; or put that right on {host}, and submit it again"
        rows.append(Row("avoided", text, more))
    if work.life is Life.SEEKING and node.busy >= RUNNING_MAX:
        text = f"this host runs {node.busy} jobs, the most that it can: it waits until one ends"
        more = f"nothing: it starts by itself then; or `tegctl cancel {work.name}`, and submit it on another host"
        rows.append(Row("host_full", text, more, node.busy - RUNNING_MAX + 1, "jobs"))
    if not rows and work.life is Life.PARKED:
        on = "left to run on" if work.last_token else "to start"
        text = f"its {work.money_word} has too little {on}: it waits until there is more"
        rows.append(Row("budget", text, _money_for(node, work)))
    if not rows and work.life is Life.ORDERED:
        text = "slots were found for it and are being taken: it is known within a second whether it has them"
        rows.append(Row("ordered", text, "nothing: it starts by itself"))
    search = node.agents[work.ref].search
    pause = max(0, search.next_cycle - node.cycle)
    if work.life is Life.SEEKING and node.mode is Mode.RUN and (pause or not rows):
        needs = f"it waits for {_slots(work.shape.slots)}"
        text = f"{needs}, which TEG looks for again in {seconds(pause)} at the latest"
        if work.waits.reason in _WAITS_FOR_ROOM and pause:
            text = f"{needs}, and is told as soon as there is room; TEG looks again itself in {seconds(pause)}"
        elif not pause:
            text = f"{needs}, which TEG is looking for right now"
        looks = f" (looked {search.rounds} time{'s' * (search.rounds != 1)} so far)"
        rows.append(Row("pause", text + looks, _BY_ITSELF, pause, "ticks"))
    return rows


def _promise(node: Node, work: Workload) -> Row:
    """When slots are kept for it, and on what that rests."""
    left = max(0, work.promised_tick - node.tick)
    if work.promised_tick:
        text = f"slots are kept for it: it starts in {seconds(left)} at the latest, as jobs there reach their --time"
        return Row("promised", text, "nothing: it starts by itself", left, "ticks")
    text = "slots are kept for it, as it has waited long: it starts when the jobs on them end, which did not say when"
    return Row("promised", text, "nothing: it starts by itself")


def _home(node: Node, work: Workload) -> Row:
    only = f"it waits for slots of this host ({node.host}) only"
    anew = f"`tegctl cancel {work.name}`, then submit it again"
    if work.homebound:
        cause = work.homebound_why or f"`tegctl why -v {work.name}` shows what it said"
        text = f"{only}: another host could not run it ({cause})"
        return Row("avoided", text, f"nothing: it starts here by itself; or put that right there: {anew}")
    if work.spec.here:
        if work.spec.terminal:
            text = f"{only}: a job at a terminal (--pty) runs where that is"
            more = f"nothing: it starts here by itself; or, to have it run anywhere, {anew} without --pty"
            return Row("here", text, more)
        return Row("here", f"{only}: it was submitted with --here", f"nothing; or {anew} without --here")
    text = f"{only}: its hook names files of this host ({work.spec.hook.checkpoint})" if work.spec.hook else only
    more = f"nothing; or, to have it run anywhere, name checkpoint and mark without a folder: {anew}"
    return Row("here", text, more)


def _refused(node: Node, work: Workload) -> Row | None:
    """Why the ledger's last answer was no."""
    waits, name = work.waits, work.waits.reason
    if name in {Reason.NO_FIT.name, Reason.TAKEN.name}:
        row = no_room(node.stock, work, node.tick)
        return row if row.help else row._replace(help=_turn(node, work))
    if name == Reason.KEPT.name:
        return _kept_for_another(work)
    if name in {Reason.PRICE.name, Reason.STAYED.name} or _short_by_bid(work):
        return _price(node, work)
    if name in _MONEY:
        never = name in {Reason.BANKRUPT.name, Reason.BUDGET.name} and not work.last_token and not work.token
        text, help_ = _MONEY[Reason.ENDOWMENT.name if never else name]
        account = {"name": work.name, "tenant": work.tenant, "credits": credits_text(waits.missing)}
        account["money"] = work.money_word
        account["more"] = credits_text(max(1, waits.missing) + _rest_of_a_term_ucr(node, work))
        return Row(name.lower(), text.format(**account), help_.format(**account), waits.missing, "ucr")
    if name in _TEXTS:
        text, help_ = _TEXTS[name]
        left = seconds(max(0, waits.until_tick - node.tick))
        facts = {
            "name": work.name,
            "tenant": work.tenant,
            "left": left,
            "needs": _slots(work.shape.slots),
            "bid": _higher(node, work),
        }
        return Row(name.lower(), text.format(**facts), help_.format(**facts), waits.missing)
    return None


def _kept_for_another(work: Workload) -> Row:
    """Free slots are another's, who waits longer."""
    text = "the GPU slots that are free are kept for a job that has waited longer"
    left = work.waits.missing * 3 // 4 // TICKS_PER_S  # some of it has passed when somebody reads this
    if left < 1:
        return Row("kept", text, _BY_ITSELF)
    sooner = f"{_BY_ITSELF}; or at once, if it can end within {left} s: "
    return Row("kept", text, f"{sooner}`tegctl update {work.name} --time {left}s`", work.waits.missing, "ticks")


_MONEY = {
    Reason.FUNDS.name: (
        "the account of {tenant} has {credits} credits less than it needs",
        "ask an operator to run `tegctl mint {tenant} {more}`, which adds them: it starts by itself then",
    ),
    Reason.ENDOWMENT.name: (
        "its {money} is {credits} credits short of what it needs to start",
        "`tegctl top-up {name} {more}` adds them: it starts by itself then",
    ),
    Reason.BANKRUPT.name: (
        "its {money} ran out: it stopped, and waits until there is more",
        "`tegctl top-up {name} {more}`, or a larger amount, adds to it: it starts again by itself",
    ),
    Reason.BUDGET.name: (
        "its {money} is {credits} credits short of what it needs to run on",
        "`tegctl top-up {name} {more}`, or a larger amount, adds to it: it starts again by itself",
    ),
}

_WAITS_FOR_ROOM = frozenset({Reason.NO_FIT.name, Reason.TAKEN.name, Reason.SHARE.name, Reason.KEPT.name})
_BY_ITSELF = "nothing: it starts by itself as soon as it has slots"
_AGAIN = "nothing: TEG looks for slots again by itself, within seconds"
_OLDER = "ask an operator whether zone-ledger and tegd on this host are of the same version (`--version`)"
_TEXTS = {
    Reason.OK.name: ("there are free slots for it: it is about to start", _BY_ITSELF),
    Reason.TENANT.name: (
        "the scheduler (zone-ledger) does not know its tenant {tenant}, or an operator closed that",
        "ask an operator to run `tegctl tenant add {tenant}`: it starts by itself then",
    ),
    Reason.REGION.name: (
        "this host and the scheduler (zone-ledger) disagree about which slots are its own: nothing starts from here",
        "ask an operator to restart tegd on this host: `systemctl restart tegd`",
    ),
    Reason.SHAPE.name: (
        "no host has slots next to each other in the number that it asks for",
        "`tegctl cancel {name}`, then submit it again with 1, 2, 4 or 8 slots: `tegctl run --slots 4 -- COMMAND`",
    ),
    Reason.BUSY.name: (
        "more jobs asked in one moment than the scheduler (zone-ledger) decides at once: its turn is in {left}",
        _AGAIN,
    ),
    Reason.ADMISSION.name: (
        "admission is closed for new jobs, to keep the zone stable; it opens in {left} at the latest",
        "nothing: it starts by itself then; `tegctl governor` says why (operators)",
    ),
    Reason.CAPACITY.name: (
        "another job took the host memory that it needs before it; it still waits for {needs}",
        _AGAIN,
    ),
    Reason.SHARE.name: (
        "all slots are taken, and tenant {tenant} has used more than its share of late: others' younger jobs go first",
        "nothing: its turn comes as they use theirs; `tegctl tenant show` shows use and share of each",
    ),
    Reason.CAP.name: (
        "the highest price allowed there is below what slots cost: no slots are given out there for now",
        "nothing: it starts by itself once they are; `tegctl field` shows where, an operator can say why",
    ),
    Reason.LIMIT.name: (
        "the scheduler (zone-ledger) holds as many jobs as it can",
        "nothing: it starts by itself when others end; `tegctl ps` lists yours, `tegctl cancel NAME` ends one",
    ),
    Reason.CHALLENGED.name: (
        "it was preempted, as someone bid more for its slots; it still waits for {needs}",
        "nothing: it starts by itself; a higher bid makes it sooner: `tegctl update {name} --bid {bid}`",
    ),
    Reason.DRAINED.name: (
        "an operator is draining the host that it was to start on; it still waits for {needs}",
        _AGAIN,
    ),
    Reason.HOST_GONE.name: ("the host that it was to start on was lost; it still waits for {needs}", _AGAIN),
    Reason.OPERATOR.name: (
        "an operator took its slots back; it still waits for {needs}",
        f"{_AGAIN}; the operator can say why",
    ),
    Reason.EXPIRED.name: ("its slots were not renewed in time, and it was stopped; it still waits for {needs}", _AGAIN),
    Reason.CANCELLED.name: (
        "its last request for slots was withdrawn, as something had changed; it still waits for {needs}",
        _AGAIN,
    ),
    Reason.DONE.name: ("its last run is over; it waits for {needs} for the next", _AGAIN),
    Reason.MOVED.name: ("it gave its slots up for cheaper ones, and still waits for {needs}", _AGAIN),
    Reason.TIME.name: ("its last run reached its time limit (--time); it waits for {needs} for the next", _AGAIN),
    Reason.LEASE.name: ("the slots that it had are given back; it still waits for {needs}", _AGAIN),
    Reason.TOKEN.name: ("the slots that it had have gone to a later run of it; it still waits for {needs}", _AGAIN),
    Reason.STATE.name: (
        "its last request for slots crossed with another change of it, and was refused; it still waits for {needs}",
        _AGAIN,
    ),
    Reason.MODE.name: (
        "what it asks for is not to be had while the zone is in its present mode",
        "ask an operator which mode the zone is in: `tegctl mode fixed` and `tegctl mode auction` change it",
    ),
    Reason.READ_ONLY.name: (
        "the scheduler (zone-ledger) cannot write to its disk, and starts nothing new",
        "ask an operator to free or repair the disk of zone-ledger's state folder: it starts by itself then",
    ),
    Reason.RANGE.name: (
        "a number that it asks for (slots, memory, cores or bid) is larger or smaller than the scheduler takes",
        "`tegctl cancel {name}`, then submit it again with other numbers; `tegctl run --help` has the limits",
    ),
    Reason.UNOFFERED.name: ("the scheduler (zone-ledger) does not know how to do what it asks for", _OLDER),
    Reason.FORGED.name: (
        "the scheduler (zone-ledger) refuses what this host says, as it is not signed with this host's key",
        "ask an operator to see that `host_key_file` of tegd on this host is the key that zone-ledger made for it",
    ),
    Reason.UNDECODABLE.name: ("the scheduler (zone-ledger) could not read what this host asked for it", _OLDER),
    Reason.STALE_BOOT.name: (
        "tegd on this host was restarted while it asked for slots; it still waits for {needs}",
        _AGAIN,
    ),
    Reason.HISTORY.name: (
        "the scheduler (zone-ledger) knows less than it did (was a copy put back?); it still waits for {needs}",
        _AGAIN,
    ),
    Reason.TWIN.name: (
        "another machine is in the zone under the name of this host; it still waits for {needs}",
        "ask an operator to give one of the two another name (`host` in its settings), and to restart tegd there",
    ),
    "EVICTING": ("its slots are won; the jobs that held them are saving themselves and leaving", _BY_ITSELF),
}


def _turn(node: Node, work: Workload) -> str:
    """What who waits for others can do: in the auction, bid more."""
    if node.market is Market.FIXED:
        return _BY_ITSELF
    raised = f"`tegctl update {work.name} --bid {_higher(node, work)}`"
    return f"{_BY_ITSELF}; it may get slots of others sooner by a higher bid: {raised}"


def _rest_of_a_term_ucr(node: Node, work: Workload) -> int:
    """What a job with money of its own costs after its first period, to the end of a term: less is soon gone."""
    if node.zone is None or work.own_ucr is None:
        return 0
    return work.cost_ucr * (node.zone.term_ticks // node.zone.period_ticks - 1)


def _short_by_bid(work: Workload) -> bool:
    """Whether its bid is what is too low, though the ledger says that money is."""
    about_money = work.waits.reason in {Reason.BANKRUPT.name, Reason.ENDOWMENT.name}
    return about_money and work.own_ucr is None and work.waits.price_ucr > work.limit_ucr


def _price(node: Node, work: Workload) -> Row:
    """Its bid and the price, and the least bid that would do."""
    waits = work.waits
    period = node.zone.period_ticks if node.zone else 0
    if not period:
        bid, price = credits_text(work.limit_ucr), credits_text(waits.price_ucr)
        text = f"it bids {bid} credits for a GPU slot and accounting period; the price is {price}"
        raised = f"`tegctl update {work.name} --bid {credits_text(max(waits.price_ucr, work.limit_ucr) + 1)}`"
        more = f"{raised}, or more, gets it slots now; or nothing: it starts by itself when they cost less"
        return Row("price", text, more, waits.missing, "ucr")
    enough_ucr = -(-hourly_ucr(max(waits.price_ucr, work.limit_ucr) + 1, period) // _CENT_UCR) * _CENT_UCR
    bid, price = price_text(work.limit_ucr, period), price_text(waits.price_ucr, period)
    text = f"it bids {bid} credits per GPU-hour; the price is {price}"
    more = (
        f"`tegctl update {work.name} --bid {credits_text(enough_ucr)}/h`, or more, gets it slots now; "
        "or nothing: it starts by itself when they cost less"
    )
    if waits.reason == Reason.STAYED.name:
        text, more = "the jobs on the slots that it won could not be moved away; it looks for others", _AGAIN
    return Row("price", text, more, waits.missing, "ucr")


# --- room -------------------------------------------------------------------------------------------------------------


def no_room(stock: Stock | None, work: Workload, tick: int) -> Row:
    """Why no slots were found for a job: what keeps them, and until when."""
    wanted, waits = work.shape.slots, work.waits
    if stock is None or not (classes := [each for each in stock.classes if each.slot_class in work.spec.slot_classes]):
        text = f"it waits for {_slots(waits.missing or wanted)} next to each other: none were found yet"
        if waits.reason == Reason.TAKEN.name:
            text = f"it waits for {_slots(waits.missing or wanted)} next to each other: other jobs have all such places"
        return Row(waits.reason.lower(), text, "", waits.missing, "slots")
    slots, free = sum(each.slots for each in classes), sum(each.free for each in classes)
    if free >= wanted or (work.spec.share_permille and free):
        if (row := _short_of(work, classes, free)) is not None:
            return row
        text = f"{_slots(free)} {'are' if free != 1 else 'is'} free, but not where TEG has looked for it so far"
        return Row("no_fit", text, "nothing: it goes on looking, and it starts by itself", waits.missing, "slots")
    kept = _kept(classes, slots)
    if kept is not None and sum(each.leased for each in classes) + free < wanted:
        return kept
    row = _busy(classes, slots, free, wanted, tick)
    return row._replace(reason="taken") if waits.reason == Reason.TAKEN.name else row


def _slots(count: int) -> str:
    return f"{count} GPU slot{'s' * (count != 1)}"


def _short_of(work: Workload, classes: list[ClassStock], free: int) -> Row | None:
    """Slots are free, but not as it needs them."""
    spec = work.spec
    memory, cpu = (max(getattr(each, name) for each in classes) for name in ("free_mem_bytes", "free_cpu_milli"))
    are = f"{_slots(free)} {'are' if free != 1 else 'is'} free"
    by_itself = "nothing: it starts by itself when a job there ends"
    least = f"{memory // GIB - 1}G" if memory >= 2 * GIB else f"{max(1, memory // MIB - 1)}M"
    less_mem = f"`tegctl update {work.name} --mem {least}`"
    if spec.mem_bytes and spec.mem_bytes >= memory:
        text = f"{are}, but no host has {gib(spec.mem_bytes)} GiB of host memory left for it: the most is {gib(memory)}"
        more = f"{by_itself}; or ask for less: {less_mem}"
        return Row("memory", text, more, spec.mem_bytes - memory, "bytes")
    anew = f"or `tegctl cancel {work.name}`, then submit it again with"
    if spec.cpu_milli and spec.cpu_milli > cpu:
        text = f"{are}, but no host has {cores(spec.cpu_milli)} cores left for it: the most is {cores(cpu)}"
        return Row("cpu", text, f"{by_itself}; {anew} --cpu {cores(cpu)}", spec.cpu_milli - cpu, "milli")
    block, most = max(spec.sizes), max(each.free_log2 for each in classes)
    if block > most >= 0:
        text = f"{are}, but at most {1 << most} next to each other; it needs {1 << block} next to each other"
        parts = [1 << min(size, most) for size in spec.sizes for _ in range(1 << max(0, size - most))]
        apart = f"; {anew} fewer slots: --slots {1 << most}"
        if len(parts) <= _BLOCKS_MAX:
            apart = f"; {anew} --slots {'+'.join(map(str, parts))}, which need not all be next to each other"
        return Row("blocks", text, by_itself + apart, (1 << block) - (1 << most), "slots")
    if spec.mem_bytes or spec.cpu_milli:
        text = f"{are}, but no host has both the host memory and the cores left that it asks for with each"
        half = f"`tegctl update {work.name} --mem {max(1, spec.mem_bytes // 2 // MIB)}M`"
        more = f"; or ask for less host memory: {half}" if spec.mem_bytes else ""
        return Row("memory", text, by_itself + more, 0, "bytes")
    return None


_BLOCKS_MAX = 4
"""Of so many pieces a job's slots can be."""


def _kept(classes: list[ClassStock], slots: int) -> Row | None:
    """What keeps most of the slots that nobody holds."""
    kept = {name: sum(getattr(each, name) for each in classes) for name in ("drained", "lost", "cordoned")}
    name = max(kept, key=lambda each: kept[each])
    if not kept[name]:
        return None
    where = {
        "drained": "on drained hosts: an operator keeps new jobs off them",
        "lost": "on hosts that are lost: nothing is heard of them",
        "cordoned": "cordoned: an operator keeps new jobs off them",
    }[name]
    more = {
        "drained": "ask an operator to run `tegctl undrain HOST`; `tegctl hosts --state drained` shows which hosts",
        "lost": "ask an operator to start tegd there again; `tegctl hosts --state lost` shows which hosts",
        "cordoned": "ask an operator to run `tegctl uncordon SLOT`; `tegctl book` shows which slots",
    }[name]
    verb = "are" if slots != 1 else "is"
    more = f"{more}: it starts by itself then"
    return Row(name, f"{kept[name]} of {_slots(slots)} {verb} {where}", more, kept[name], "slots")


def _busy(classes: list[ClassStock], slots: int, free: int, wanted: int, tick: int) -> Row:
    """Others hold them: until when, by what they declared, by who is leaving, and by their terms."""
    offered = slots - sum(each.drained + each.lost + each.cordoned for each in classes)
    if free:
        text = f"{free} of {_slots(offered)} {'are' if free != 1 else 'is'} free, and it needs {wanted}"
    else:
        text = f"all {_slots(offered)} are in use" if offered != 1 else "the only GPU slot is in use"
    leaving = sum(each.leaving for each in classes)
    declared = [each.declared_tick for each in classes if each.declared_tick]
    if leaving:
        first = min(each.leave_tick for each in classes if each.leave_tick) - tick
        of = "more " if free else "of them "
        text += f"; {leaving} {of}{'are' if leaving != 1 else 'is'} free in {seconds(first)} at the latest"
    if declared:
        whose = "the first job on the slots in use" if offered != 1 else "its job"
        text += f"; {whose} ends in {seconds(min(declared) - tick)} at the latest (declared with --time)"
    elif not leaving:
        text += (
            "; the jobs on them have not said when they end (--time)"
            if offered != 1
            else ", and its job has not said until when (--time)"
        )
    missing = wanted - free
    return Row("busy", text, "", missing, "slots")
