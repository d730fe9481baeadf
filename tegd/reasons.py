"""Why work does not run, in words: the cause, the number, and what would help.

A row has the cause's name (`reason`), how much is missing in the unit that `unit` says, a sentence (`text`) and what to
do (`help`, empty where waiting is all that there is to do). Times are seconds, money is credits. `STATES` gives each
life its word; whoever adds a life or a reason of the ledger finds a test that asks for its words.
"""

from typing import Any, NamedTuple

from tegcore.units import NS_PER_S, TICK_NS, TICKS_PER_HOUR, UCR_PER_CREDIT, credits_text
from tegcore.wire.messages import ClassStock, Stock
from tegcore.wire.records import Reason
from tegd.ghosts import RUNNING_MAX
from tegd.modes import Mode
from tegd.node import Node
from tegd.possible import cores, gib
from tegd.workload import Life, Workload

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
            return "pending"
        case Life.PARKED:
            return "suspended" if work.last_token else "pending"
        case Life.SEATED:
            return RUN_STATES.get(node.runs.get(work.airlock_id, ""), "running")
        case Life.AWAY:
            return "starting" if work.trip.value == "telling" else "cancelling" if work.cancelled else "running"
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
    if node.mode is not Mode.RUN:
        rows.append(_away(node, work, now_ns))
    if work.tenant not in node.tokens and not work.home:
        text = f"this host may not spend the credits of tenant {work.tenant!r}"
        rows.append(Row("token", text, f"an operator's `tegctl tenant add {work.tenant}` allows it", 1))
    match work.life:
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
    if work.cancelled:
        return Row("cancelled", "it was cancelled")
    log = f"`tegctl logs {work.name}` shows what it wrote"
    if work.exit_code == 0:
        return Row("done", "exit code 0")
    if work.exit_code is not None:
        return Row("exit", work.outcome or f"exit code {work.exit_code}", log, work.exit_code, "code")
    return Row("ended", work.outcome or "it ended, and nobody saw its exit code", log)


def _warnings(node: Node, work: Workload) -> list[Row]:
    """What is going to happen to it, unless somebody does something."""
    rows, low = [], work.low
    if low.until_tick:
        amount, left = credits_text(low.missing_ucr), seconds(low.until_tick - node.tick)
        if low.reason == Reason.BUDGET:
            text, more = f"its {work.money_word} lasts for {left}", f"`tegctl top-up {work.name} {amount}`"
        else:
            text = f"the account of {work.tenant} lasts for {left}"
            more = f"an operator's `tegctl mint {work.tenant} {amount}`"
        more += " carries it a term further"
        rows.append(Row(Reason(low.reason).name.lower(), text, more, low.missing_ucr, "ucr"))
    if work.hook_failed:
        after = "is queued again, and starts from its beginning" if work.spec.requeue else "is ended"
        text = f"its hook did not save it ({work.hook_failed}): when it has to leave, it {after}"
        rows.append(Row("save_failed", text, "docs/reference/hook.md says what a hook has to do"))
    return rows


def _away(node: Node, work: Workload, now_ns: int) -> Row:
    silent_s = (now_ns - node.beat_ns) // NS_PER_S if node.beat_ns else 0
    heard = f"the ledger was last heard {silent_s} s ago" if node.beat_ns else "the ledger has not been heard yet"
    if node.mode is Mode.SYNC and node.beat_ns and silent_s < 4:
        heard += ", and is taking this host in"
    on = "what runs goes on to the end of its term, and nothing new starts" if work.lease else "nothing new starts"
    return Row("mode", f"{heard}: {on}", "are broker and ledger running? `tegctl hosts` asks the ledger", silent_s, "s")


def _leaving(node: Node, work: Workload) -> Row:
    why = Reason(work.why_leaving)
    text, help_ = _LEAVING.get(why, ("its slots are being given back", ""))
    left = node.agents[work.ref].leave_tick - node.tick
    when = f"; it has {seconds(left)} left" if left > 0 else ""
    if not work.cancelled and why is not Reason.DONE and work.hook is not None:
        when = "; it saves itself, and goes on where it finds slots"
    elif not work.cancelled and why is not Reason.DONE and work.spec.requeue:
        when += ", then is queued again, to start from its beginning" if when else "; it is queued again"
    return Row(why.name.lower(), text + when, help_.format(name=work.name), max(0, left), "ticks")


_LEAVING = {
    Reason.CANCELLED: ("it was cancelled, and is being ended", ""),
    Reason.CHALLENGED: (
        "preempted: someone bid more for its slots",
        "a higher `tegctl update {name} --bid` is harder to preempt",
    ),
    Reason.DRAINED: ("preempted: its host is being drained", ""),
    Reason.OPERATOR: ("preempted: an operator ended its lease", "ask an operator why"),
    Reason.BANKRUPT: (
        "preempted: nothing is left to pay for it",
        "`tegctl why {name}` says what is short once it left",
    ),
    Reason.BUDGET: ("preempted: its budget is spent", "`tegctl update {name} --budget CREDITS` raises it"),
    Reason.EXPIRED: ("its lease was not renewed in time", "was the ledger away? `tegctl hosts`"),
    Reason.HOST_GONE: ("its host was lost", "`tegctl hosts` shows which hosts are heard"),
    Reason.MOVED: ("it leaves for cheaper slots", ""),
    Reason.TIME: ("its time is over: it is asked to save, and ended", "`--time` says how long a job runs at most"),
    Reason.DONE: ("it has come to its end, and its slots are being given back", ""),
}


def _waiting(node: Node, work: Workload) -> Row:
    left = max(0, work.waits.until_tick - node.tick)
    text = f"its slots are won; their holders are leaving: once they are saved, or in {seconds(left)} of notice"
    return Row("evicting", text, "it starts by itself", left, "ticks")


def _seated(node: Node, work: Workload) -> list[Row]:
    rows = []
    state = state_of(node, work)
    if work.waits.reason.startswith("EXPAND "):
        rows.append(_expansion(work))
    if state == "suspended":
        text = "it is paused: its host is short of memory, and others are worth more"
        rows.append(Row("memory", text, "it goes on by itself; `tegctl airlock` shows what is short"))
    elif state == "starting":
        where = f" on {', '.join(work.seats)}" if work.seats else ""
        rows.append(Row("starting", f"its slots are its own, and it is being started{where}", "it starts by itself"))
    elif state in {"ending", "cancelling"}:
        rows.append(Row(state, "it has come to its end, and its slots are being given back"))
    return rows


def _expansion(work: Workload) -> Row:
    refused = work.waits.reason.removeprefix("EXPAND ")
    missing = work.waits.missing
    if refused == Reason.CAPACITY.name:
        text = f"it could not get more memory: its host is {gib(missing)} GiB short"
        return Row("expand capacity", text, "it goes on with what it has", missing, "bytes")
    if refused in {Reason.BANKRUPT.name, Reason.FUNDS.name, Reason.BUDGET.name}:
        text = f"it could not pay for more memory: {credits_text(missing)} credits short"
        more = (
            f"`tegctl top-up {work.name}`" if work.own_ucr is not None else f"`tegctl mint {work.tenant}` (operators)"
        )
        return Row(f"expand {refused.lower()}", text, more, missing, "ucr")
    text = f"it could not get more memory: {refused.lower().replace('_', ' ')}"
    return Row(f"expand {refused.lower()}", text, "it goes on with what it has", missing)


def _pending(node: Node, work: Workload) -> list[Row]:
    rows = []
    if work.promised_tick >= 0:
        rows.append(_promise(node, work))
    if work.waits.reason and (row := _refused(node, work)) is not None:
        rows.append(row)
    if work.stays_home and work.life is not Life.PARKED:
        rows.append(_home(work))
    for host, (_, _, cause) in work.avoided.items():
        rows.append(Row("avoided", f"it avoids {host}, which cannot run it: {cause}", f"put right what {host} lacks"))
    if work.life is Life.SEEKING and node.busy >= RUNNING_MAX:
        text = f"this host runs {node.busy} jobs, the most that it holds: it waits until one ends"
        rows.append(Row("host_full", text, "submit it on another host", node.busy - RUNNING_MAX + 1, "jobs"))
    if not rows and work.life is Life.PARKED:
        text = f"its {work.money_word} does not cover one more period"
        rows.append(Row("budget", text, f"`tegctl top-up {work.name} CREDITS` lets it go on"))
    if not rows and work.life is Life.ORDERED:
        rows.append(Row("ordered", "it has asked for its slots; the answer comes within a second"))
    search = node.agents[work.ref].search
    pause = max(0, search.next_cycle - node.cycle)
    if work.life is Life.SEEKING and node.mode is Mode.RUN and (pause or not rows):
        again = f"it asks again in {seconds(pause)} at the latest" if pause else "it is looking for slots"
        if work.waits.reason in {Reason.NO_FIT.name, Reason.TAKEN.name} and pause:
            again = f"it is told as soon as there is room, and asks by itself in {seconds(pause)}"
        rows.append(Row("pause", f"{again}; it has asked {search.rounds} times since it began", "", pause, "ticks"))
    return rows


def _promise(node: Node, work: Workload) -> Row:
    """When slots are kept for it, and on what that rests."""
    left = max(0, work.promised_tick - node.tick)
    if work.promised_tick:
        text = f"it starts in {seconds(left)} at the latest, as those who hold its slots have declared by --time"
        return Row("promised", text, "work that ends before goes first; nothing else does", left, "ticks")
    text = "it was passed over for long: slots are kept for it, and it starts when those who hold them have ended"
    return Row("promised", text, "`--time` lets others be told how long they wait")


def _home(work: Workload) -> Row:
    if work.homebound:
        text = "it can run on this host only: another host said that it cannot run it"
        return Row("avoided", text, f"the last lines of `tegctl why {work.name}` say which, and why")
    if work.spec.here:
        return Row("here", "it can run on this host only: it was submitted with --here", "leave --here out")
    text = "it can run on this host only: its hook names files of this host"
    return Row("here", text, "name checkpoint and mark within its folder")


def _refused(node: Node, work: Workload) -> Row | None:
    """Why the ledger's last answer was no."""
    waits, name = work.waits, work.waits.reason
    if name in {Reason.NO_FIT.name, Reason.TAKEN.name}:
        return no_room(node.stock, work, node.tick)
    if name in {Reason.PRICE.name, Reason.STAYED.name} or _short_by_bid(work):
        return _price(node, work)
    if name in _MONEY:
        text, help_ = _MONEY[name]
        account = {"name": work.name, "tenant": work.tenant, "credits": credits_text(waits.missing)}
        account["money"] = work.money_word
        account["more"] = credits_text(max(1, waits.missing))
        return Row(name.lower(), text.format(**account), help_.format(**account), waits.missing, "ucr")
    if name in _TEXTS:
        text, help_ = _TEXTS[name]
        left = seconds(max(0, waits.until_tick - node.tick))
        return Row(name.lower(), text.format(left=left), help_.format(name=work.name), waits.missing)
    return None


_MONEY = {
    Reason.FUNDS.name: (
        "the account of {tenant} has {credits} credits less than it needs",
        "an operator's `tegctl mint {tenant} {more}`; or a smaller --bid",
    ),
    Reason.ENDOWMENT.name: (
        "its {money} is {credits} credits short of one period at its bid",
        "`tegctl top-up {name} {more}`",
    ),
    Reason.BANKRUPT.name: ("its {money} ran out", "`tegctl top-up {name} {more}` or more lets it go on"),
    Reason.BUDGET.name: (
        "its {money} is {credits} credits short of one more period",
        "`tegctl top-up {name} {more}` or more lets it go on",
    ),
}

_AGAIN = "it asks again by itself"
_TEXTS = {
    Reason.OK.name: ("there are slots for it, and it is asking for them", _AGAIN),
    Reason.TENANT.name: (
        "the ledger does not know its tenant, or the tenant is closed",
        "`tegctl accounts` opens your account; `tegctl tenant add` opens another's, or again (operators)",
    ),
    Reason.REGION.name: ("this host is not where the ledger thinks it is", "an operator restarts tegd on this host"),
    Reason.SHAPE.name: ("no block can have the shape that it asks for", "cancel it, and ask for 1, 2, 4, 8 ... slots"),
    Reason.BUSY.name: ("more was asked in one moment than is decided at once; it is asked again in {left}", _AGAIN),
    Reason.ADMISSION.name: (
        "admission is closed, to keep the zone stable; it opens in {left} at the latest",
        "`tegctl governor` says why",
    ),
    Reason.CAPACITY.name: ("the memory that it asks for is taken meanwhile", _AGAIN),
    Reason.CAP.name: (
        "the price there is capped below what slots cost: none are offered",
        "`tegctl field` shows where",
    ),
    Reason.LIMIT.name: ("the ledger holds as many jobs as it can", "cancel what you need no more"),
    Reason.CHALLENGED.name: (
        "preempted: someone bid more for its slots",
        "`tegctl update {name} --bid` raises its bid",
    ),
    Reason.DRAINED.name: ("the host that it had won is being drained", _AGAIN),
    Reason.HOST_GONE.name: ("the host that it had won was lost", _AGAIN),
    Reason.OPERATOR.name: ("an operator refused it", "ask an operator why"),
    Reason.EXPIRED.name: ("its lease ran out", _AGAIN),
    Reason.CANCELLED.name: ("its order was taken back", _AGAIN),
    Reason.DONE.name: ("its last run is over", _AGAIN),
    Reason.MOVED.name: ("it left for cheaper slots", _AGAIN),
    Reason.TIME.name: ("its time was over", _AGAIN),
    Reason.LEASE.name: ("its lease is over", _AGAIN),
    Reason.TOKEN.name: ("its lease has passed to a later run", _AGAIN),
    Reason.STATE.name: ("its order came at the wrong moment", _AGAIN),
    Reason.MODE.name: ("that is not done in this market", "`tegctl mode` says which there are (operators)"),
    Reason.READ_ONLY.name: ("the ledger cannot write to its disk", "an operator frees or repairs the ledger's disk"),
    Reason.RANGE.name: ("a number that it asks for is out of range", "cancel it, and submit it with other numbers"),
    Reason.UNOFFERED.name: ("this ledger does not offer what it asks for", "is the ledger of the same version?"),
    Reason.FORGED.name: ("its order was not signed by this host", "an operator looks at this host's key"),
    Reason.UNDECODABLE.name: ("its order could not be read", "is the ledger of the same version?"),
    Reason.STALE_BOOT.name: ("this host began anew meanwhile", _AGAIN),
    "EVICTING": ("its slots are won; their holders are leaving", "it starts by itself"),
}


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
        text = f"it bids {bid} credits for a slot and period; the price is {price}"
        return Row("price", text, f"`tegctl update {work.name} --bid` raises its bid", waits.missing, "ucr")
    cent = UCR_PER_CREDIT // 100
    enough_ucr = -(-hourly_ucr(max(waits.price_ucr, work.limit_ucr) + 1, period) // cent) * cent
    bid, price = price_text(work.limit_ucr, period), price_text(waits.price_ucr, period)
    text = f"it bids {bid} credits per GPU-hour; the price is {price}"
    more = f"`tegctl update {work.name} --bid {credits_text(enough_ucr)}/h`, or more, wins it"
    if waits.reason == Reason.STAYED.name:
        text, more = "the holders of the slots that it won could not leave", "it asks again by itself"
    return Row("price", text, more, waits.missing, "ucr")


# --- room -------------------------------------------------------------------------------------------------------------


_TURN = "it waits its turn; in the auction `tegctl update NAME --bid` may be given slots that others hold"


def no_room(stock: Stock | None, work: Workload, tick: int) -> Row:
    """Why no slots were found for a job: what keeps them, and until when."""
    wanted, waits = work.shape.slots, work.waits
    if stock is None or not (classes := [each for each in stock.classes if each.slot_class in work.spec.slot_classes]):
        text = f"no room was found for {_slots(waits.missing or wanted)}"
        if waits.reason == Reason.TAKEN.name:
            text = f"every block of {_slots(waits.missing or wanted)} that it could have is in use"
        return Row(waits.reason.lower(), text, _TURN.replace("NAME", work.name), waits.missing, "slots")
    slots, free = sum(each.slots for each in classes), sum(each.free for each in classes)
    if free >= wanted or (work.spec.share_permille and free):
        if (row := _short_of(work, classes, free)) is not None:
            return row
        text = f"{_slots(free)} are free, but none where it has looked yet"
        return Row("no_fit", text, "it goes on looking", waits.missing, "slots")
    kept = _kept(classes, slots)
    if kept is not None and sum(each.leased for each in classes) + free < wanted:
        return kept
    row = _busy(classes, slots, free, wanted, tick)
    row = row._replace(help=_TURN.replace("NAME", work.name))
    return row._replace(reason="taken") if waits.reason == Reason.TAKEN.name else row


def _slots(count: int) -> str:
    return f"{count} slot{'s' * (count != 1)}"


def _short_of(work: Workload, classes: list[ClassStock], free: int) -> Row | None:
    """Slots are free, but not as it needs them."""
    spec = work.spec
    memory, cpu = (max(getattr(each, name) for each in classes) for name in ("free_mem_bytes", "free_cpu_milli"))
    are = f"{_slots(free)} {'are' if free != 1 else 'is'} free"
    if spec.mem_bytes and spec.mem_bytes >= memory:
        text = f"{are}, but no host has {gib(spec.mem_bytes)} GiB of memory left for it: the most is {gib(memory)}"
        more = f"`tegctl update {work.name} --mem` asks for less; or wait until a job there ends"
        return Row("memory", text, more, spec.mem_bytes - memory, "bytes")
    if spec.cpu_milli and spec.cpu_milli > cpu:
        text = f"{are}, but no host has {cores(spec.cpu_milli)} cores left for it: the most is {cores(cpu)}"
        more = "submit it with a smaller --cpu; or wait until a job there ends"
        return Row("cpu", text, more, spec.cpu_milli - cpu, "milli")
    block, most = max(spec.sizes), max(each.free_log2 for each in classes)
    if block > most >= 0:
        text = f"{are}, but the largest block of them has {1 << most}, not {1 << block}"
        parts = "+".join([str(1 << most)] * (1 << block - most))
        apart = f"--slots {parts} takes them apart" if 1 << block - most <= 4 else "ask for smaller blocks"
        return Row(
            "blocks", text, f"{apart}; or wait until a job beside them ends", (1 << block) - (1 << most), "slots"
        )
    if spec.mem_bytes or spec.cpu_milli:
        text = f"{are}, but no host has room for all that it asks a slot: memory and cores are taken"
        return Row("memory", text, f"`tegctl update {work.name} --mem` asks for less", 0, "bytes")
    return None


def _kept(classes: list[ClassStock], slots: int) -> Row | None:
    """What keeps most of the slots that nobody holds."""
    kept = {name: sum(getattr(each, name) for each in classes) for name in ("drained", "lost", "cordoned")}
    name = max(kept, key=lambda each: kept[each])
    if not kept[name]:
        return None
    where = {"drained": "on drained hosts", "lost": "on hosts that are not heard", "cordoned": "cordoned"}[name]
    more = {
        "drained": "an operator's `tegctl undrain HOST` offers them again; `tegctl hosts` shows which",
        "lost": "is tegd running there? `tegctl hosts` shows which",
        "cordoned": "an operator's `tegctl uncordon SLOT` offers them again; `tegctl book` lists them",
    }[name]
    verb = "are" if slots != 1 else "is"
    return Row(name, f"{kept[name]} of {_slots(slots)} {verb} {where}", more, kept[name], "slots")


def _busy(classes: list[ClassStock], slots: int, free: int, wanted: int, tick: int) -> Row:
    """Others hold them: until when, by what they declared, by who is leaving, and by their terms."""
    offered = slots - sum(each.drained + each.lost + each.cordoned for each in classes)
    if free:
        text = f"{free} of {_slots(offered)} {'are' if free != 1 else 'is'} free, and it needs {wanted}"
    else:
        text = f"all {_slots(offered)} are in use" if offered != 1 else "the only slot is in use"
    leaving = sum(each.leaving for each in classes)
    declared = [each.declared_tick for each in classes if each.declared_tick]
    if leaving:
        first = min(each.leave_tick for each in classes if each.leave_tick) - tick
        text += (
            f"; {leaving} of them {'are' if leaving != 1 else 'is'} being given up, in {seconds(first)} at the latest"
        )
    if declared:
        text += f"; the first ends in {seconds(min(declared) - tick)} by what its owner said"
    elif not leaving:
        text += "; none of them has said when it ends"
    missing = wanted - free
    return Row("busy", text, "", missing, "slots")
