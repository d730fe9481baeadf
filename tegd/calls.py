"""What the airlock side is asked, and what it says of runs: the node's effects and runs in the socket's words."""

import sys
from typing import Any, NamedTuple

from tegcore.units import TICK_NS
from tegcore.wire.messages import Welcome
from tegd.bidding import rank
from tegd.effects import Bound, Extend, Forget, Run, SaveAndEnd, SaveInPassing
from tegd.workload import Workload

SAVE_NS_MAX = 10_000_000_000
_BY_HOOK = "hook: "
"""What the airlock side puts before the flaw of a hook that did not show that it saves."""
ENVIRONMENT, STDIN = ".teg-environment", ".teg-stdin"
"""Files beside a workload's input files: the environment that it brings, and what it reads as standard input."""
TERMINAL = ("-I", "-m", "tegd.terminal")
"""What runs the command of work that has a terminal."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Call(NamedTuple):
    """One request: its verb, and all fields of that verb (`tegd.airlock.protocol.VERBS`)."""

    verb: str
    fields: dict[str, Any]


def call(effect: Extend | Bound | SaveAndEnd | SaveInPassing | Forget) -> Call:
    """What the airlock side is asked to do for an effect on a run that it has."""
    match effect:
        case Extend(work):
            return Call("extend", _fenced(work) | {"term_end_ns": work.term_end_ns})
        case Bound(work):
            return Call("bound", _fenced(work) | {"bytes": work.held_bytes})
        case SaveInPassing(work):
            return Call("save", _fenced(work) | {"then": "thaw"})
        case SaveAndEnd(work, save=True):
            return Call("save", _fenced(work) | {"then": "end"})
        case SaveAndEnd(work, _, grace_ns):
            return Call("end", _fenced(work) | {"grace_ns": grace_ns})
        case Forget():
            return Call("forget", {"workload": effect.airlock_id})


def start_calls(work: Workload, zone: Welcome | None, folder: str, home: str, told: dict[str, str]) -> tuple[Call, ...]:
    """What it is asked to start a workload, one after the other; nothing, where its lease is over meanwhile.

    Args:
        work: Seated.
        zone: Notice: how long it is held past its term where it cannot be saved. Grace: how long its hook may run past
            its term, half of it: the other half is for an airlock side that has to be started again.
        folder: Its own.
        home: Of its user.
        told: Of its seat, in its environment.
    """
    if not work.lease:
        return ()
    spec, hook = work.spec, None
    if work.hook is not None:
        hook = {
            "signal": work.hook.signal,
            "checkpoint": f"{folder}/{work.hook.checkpoint}",
            "mark": f"{folder}/{work.hook.mark}",
        }
    fields = {
        "lease": work.lease,
        "argv": [*((sys.executable, *TERMINAL, spec.terminal) if spec.terminal else ()), *spec.argv],
        "env": {"PATH": PATH, "HOME": home, **spec.env, "TEG_NAME": work.name, **told},
        "cwd": spec.cwd or folder,
        "uid": work.uid,
        "gid": work.gid,
        "hook": hook,
        "term_end_ns": work.term_end_ns,
        "notice_ns": zone.notice_ticks * TICK_NS if zone else 0,
        "save_ns": SAVE_NS_MAX,
        "grace_ns": zone.grace_ticks * TICK_NS // 2 if zone else 0,
        "resume": work.resume,
        "umask": spec.umask,
        "limits": spec.limits,
        "environment": f"{folder}/{ENVIRONMENT}" if ENVIRONMENT in work.files else "",
        "stdin": f"{folder}/{STDIN}" if STDIN in work.files else "",
        "rank": rank(_own_left_ucr(work), work.charge_ucr(work.price_ucr), work.mass_micro),
        "submitted": work.submitted_tick,
    }
    start = Call("start", _fenced(work) | fields)
    return (start, call(Bound(work))) if work.held_bytes else (start,)


def is_run(entry: dict[str, Any]) -> bool:
    """Whether a workload of the airlock's is a run of this side, as `Workload.airlock_id` names them."""
    ref, dot, token = entry["workload"].partition(".")
    return bool(dot) and all(word.isascii() and word.isdigit() for word in (ref, token))


def _own_left_ucr(work: Workload) -> int | None:
    """What its own money has left; None where the account pays, or where only its home knows."""
    if work.has_purse:
        return work.purse_ucr
    return work.budget_left_ucr if work.has_budget and not work.home else None


def run_of(entry: dict[str, Any]) -> Run:
    """A run, from a workload as `list`, replies and events give it."""
    flaw, proof = entry.get("flaw", ""), entry.get("proof", "")
    failed = flaw.removeprefix(_BY_HOOK) if flaw.startswith(_BY_HOOK) else ""
    by_hook = entry.get("by", "hook") == "hook" and entry["state"] in {"running", "frozen"}
    if not failed and by_hook and proof != "proved":
        failed = entry["problem"]
    return Run(
        entry["workload"],
        entry["state"],
        entry["cause"],
        entry["exit_code"],
        saved=entry["saved_ns"] > 0,
        problem=entry["problem"],
        saved_ns=entry["saved_ns"],
        hook_failed=failed,
        hook_proved=proof == "proved" and entry.get("savable", "") == "hook",
        comeback=flaw if proof == "proved" and by_hook and not failed else "",
        quits=bool(entry.get("quits")),
    )


def _fenced(work: Workload) -> dict[str, Any]:
    return {"workload": work.airlock_id, "token": work.token}
