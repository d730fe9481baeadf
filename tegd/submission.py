"""What a submission must be before it is taken in: each refusal says what to do instead."""

import re
import shlex
from collections.abc import Collection, Iterable

import msgspec

from tegcore.errors import RefusedError, TegError
from tegcore.ids import is_name
from tegcore.shells import empties, loses
from tegcore.units import NAME_BYTES_MAX, PRICE_UCR_MAX, credits_text
from tegcore.wire import control
from tegcore.wire.peer import is_path
from tegcore.wire.records import Shape
from tegd.calls import ENVIRONMENT, STDIN
from tegd.ghosts import RUNNING_MAX
from tegd.reasons import period_ucr
from tegd.workload import Life, Workload, shape_of

WAITING_MAX = 10_000
SHARE = 8
"""A tenant may hold so many times what is free on a host: alone 8 of 9 parts of it, and there is room for the next."""
WORKLOADS_MAX = (WAITING_MAX + RUNNING_MAX) * (SHARE + 1) // SHARE
_ENTRY = re.compile(control.ENTRY_PATTERN)
_FEWER = "name what the job needs: `--export=PATH,HOME,LANG`, or in a file of jobs fewer or shorter entries of env"


def _named(name: str) -> str:
    near = re.sub(r"[^a-z0-9._-]", "-", name.lower()).lstrip("._-")[:NAME_BYTES_MAX]
    rule = f"use lower-case letters, digits, '-', '_' and '.', at most {NAME_BYTES_MAX} in all"
    return f"{rule}, as {near!r}" if is_name(near) else rule


def check(spec: control.WorkloadSpec, tenant: str, tokens: Collection[str], works: Iterable[Workload]) -> None:
    """Refuse what can never run.

    Args:
        spec: What is asked for.
        tenant: Whose it is to be.
        tokens: Tenants of which this host holds a token.
        works: All of this host.

    Raises:
        RefusedError: Says why.
    """
    if not spec.argv or not spec.argv[0]:
        raise RefusedError("there is no command to run", "name one after --, as in `tegctl run -- python train.py`")
    if sum(len(part.encode()) + 1 for part in spec.argv) > control.ARGV_BYTES_MAX:
        hint = "write it into a script, and run that: `tegctl run -- sh script.sh`"
        raise RefusedError(f"the command is longer than {control.ARGV_BYTES_MAX} bytes", hint)
    check_context(spec)
    if spec.terminal and (not spec.here or spec.requeue or spec.hook is not None or not spec.terminal.startswith("/")):
        raise RefusedError(
            "a job with a terminal runs on the host where it was submitted, once, and is not saved by a hook",
            "submit it with `tegctl run --pty`, which asks for all that",
        )
    if spec.name and not is_name(spec.name):
        raise RefusedError(f"{spec.name!r} cannot be the name of a job", _named(spec.name))
    living = [work for work in works if work.life is not Life.ENDED]
    if any(work.name == spec.name for work in living):
        hint = f"give this one another name (--name {spec.name}-2), or end that one first: `tegctl cancel {spec.name}`"
        raise RefusedError(f"a job {spec.name!r} is still pending or running on this host", hint)
    mine = sum(work.tenant == tenant for work in living)
    if mine >= SHARE * (WORKLOADS_MAX - len(living)):
        others = f"of the {WORKLOADS_MAX} that it can hold, others have {len(living) - mine}"
        raise RefusedError(
            f"{tenant} has {mine} jobs pending or running on this host, which is its share: {others}",
            "submit it again when some have ended, or on another host; `tegctl cancel NAME` ends one of yours",
        )
    if spec.share_permille and (asked := sum(1 << size for size in spec.sizes)) != 1:
        hint = "leave --share out; or write --slots 1, or no --slots"
        raise RefusedError(f"--share is a part of one GPU slot, and it asks for {asked} slots", hint)
    try:
        Shape.unpacked(shape_of(spec).packed())
    except (TegError, ValueError) as error:
        raise RefusedError(
            f"no job can have this: {error}",
            "write --slots 1, 2, 4, 8 or up to four of these, as 16+8, and --class 0 to 7",
        ) from None
    if tenant not in tokens:
        known = ", ".join(sorted(tokens)) or "none"
        hint = f"ask an operator to run `tegctl tenant add {tenant}`; it may run jobs of: {known}"
        raise RefusedError(f"this host may not run jobs of tenant {tenant!r}: it holds no token of it", hint)


def check_files(files: dict[str, bytes], stdin: bytes | None = None) -> None:
    """Refuse input files that are too large, or are named as no file can be.

    Args:
        files: What is in each, by name.
        stdin: What is read as standard input.

    Raises:
        RefusedError: Says which.
    """
    size = sum(map(len, files.values()))
    if len(files) > control.FILES_MAX or size > control.FILES_BYTES_MAX:
        most = f"{control.FILES_MAX} files of {control.FILES_BYTES_MAX >> 10} KiB together"
        raise RefusedError(
            f"{len(files)} input files of {size >> 10} KiB are too many or too large: at most {most}",
            "put larger ones where every host has them, and give the command their path",
        )
    for name in files:
        if "/" in name or not is_path(name) or name in (ENVIRONMENT, STDIN):
            raise RefusedError(
                f"{name[:80]!r} cannot be the name of an input file",
                "rename it: a plain name, without a folder, and not one that TEG uses itself",
            )
    if stdin is not None and len(stdin) > control.STDIN_BYTES_MAX:
        what = f"its standard input has {len(stdin) >> 10} KiB: at most {control.STDIN_BYTES_MAX >> 10}"
        raise RefusedError(what, "have the command read a file that its host has")


def check_context(spec: control.WorkloadSpec) -> None:
    """Refuse an environment that is none or too large, and limits that there are not.

    Raises:
        RefusedError: Says which; of an environment only names.
    """
    for name, value in spec.env.items():
        if not _ENTRY.fullmatch(name) or "\0" in value:
            raise RefusedError(
                f"{name[:80]!r} cannot be the name of an environment variable",
                "rename it: letters, digits and '_' only, no digit first",
            )
    if (size := control.env_bytes(spec.env)) > control.ENV_BYTES_MAX:
        what = f"the environment has {-(-size >> 10)} KiB: at most {control.ENV_BYTES_MAX >> 10}"
        raise RefusedError(what, _FEWER)
    if unknown := set(spec.limits) - set(control.LIMITS):
        raise RefusedError(
            f"{min(unknown)[:80]!r} is no resource limit", f"the limits there are: {', '.join(control.LIMITS)}"
        )


def priced(spec: control.WorkloadSpec, period_ticks: int) -> control.WorkloadSpec:
    """The same with its bid as a price per slot-period, however it was named; `period_ticks` is 0 where not known.

    Raises:
        RefusedError: If it is named in both ways, or cannot be told.
    """
    if not spec.limit_hour_ucr:
        return spec
    if spec.limit_ucr:
        raise RefusedError("it bids both per slot-period and per GPU-hour", "name limit_ucr or limit_hour_ucr")
    limit_ucr = price_by_hour(spec.limit_hour_ucr, period_ticks)
    return msgspec.structs.replace(spec, limit_ucr=limit_ucr, limit_hour_ucr=0)


def price_by_hour(hour_ucr: int, period_ticks: int) -> int:
    """A bid per GPU-hour as a price per slot-period.

    Raises:
        RefusedError: If the length of a period is not known yet, or it is out of range.
    """
    if not period_ticks:
        raise RefusedError("the ledger has not said yet how long a period is", "try again when it is heard")
    limit_ucr = period_ucr(hour_ucr, period_ticks)
    if not 1 <= limit_ucr <= PRICE_UCR_MAX:
        raise RefusedError(f"{credits_text(hour_ucr)} credits per GPU-hour is out of range", "bid another")
    return limit_ucr


def brought(spec: control.WorkloadSpec, stdin: bytes | None) -> dict[str, bytes]:
    """What comes with work beside its input files, as files of its own: environment, in a shell's words, and input."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(spec.env.items())]
    environment = {ENVIRONMENT: control.os_bytes("".join(lines))} if lines else {}
    return environment if stdin is None else environment | {STDIN: stdin}


def warned(spec: control.WorkloadSpec) -> list[str]:
    """What its user is to know before it is needed: that it would not go on from what it saves."""
    return [said for said in (loses(spec.argv), empties(spec.argv)) if said] if spec.hook is not None else []


def overridden(spec: control.WorkloadSpec, slots_as: Collection[str]) -> list[str]:
    """Entries of its environment that its lease says otherwise."""
    return sorted(set(spec.env) & (control.LEASE_ENTRIES | set(slots_as)))
