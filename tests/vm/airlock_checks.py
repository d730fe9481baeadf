"""Checks of the airlock's life cycle, run inside a guest by root: `airlock_checks.py NAME` prints what it measured.

Each starts from an airlock that runs and knows no workload, and leaves it so.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, "/opt/teg")

from tegcore.errors import RefusedError, UnavailableError
from tegd.airlock.adapters import journal
from tegio.seqpacket import ask

SOCKET = Path("/run/teg/airlock/airlock.sock")
STATE = Path("/var/lib/teg/airlock")
SLICE = Path("/sys/fs/cgroup/teg.slice")
RUN = Path("/run/teg-test")
SETTINGS = Path("/etc/teg/airlock.toml")
PLAIN = 'mode = "act"\nslice = "teg.slice"\nuid_min = 0\n'
PYTHON = "/usr/bin/python3"
SECOND_NS = 1_000_000_000
RECOVERY_S = 2.0
LIMIT_S = 180.0
"""Of a wait, on a host that others use too."""
CONNECTED = """
import socket, time
heard = socket.socket()
heard.bind(("127.0.0.1", 0))
heard.listen()
near = socket.create_connection(heard.getsockname())
far = heard.accept()
while True:
    time.sleep(0.05)
"""
REPORTS = """
import os, socket, time
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.connect(os.environ["NOTIFY_SOCKET"])
manager.send(b"READY=1")
while True:
    manager.send(b"WATCHDOG=1")
    time.sleep(0.5)
"""


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def eventually(probe: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Any:
    until = time.monotonic() + limit_s
    while not (found := probe()):
        if time.monotonic() > until:
            raise AssertionError(f"not within {limit_s} s: {what}; {view_all()}")
        time.sleep(0.02)
    return found


def call(verb: str, **fields: Any) -> dict[str, Any]:
    return ask(SOCKET, verb, **fields)


def listed() -> dict[str, dict[str, Any]]:
    with suppress(UnavailableError):
        return {entry["workload"]: entry for entry in call("list", after="")["workloads"]}
    return {}


def view_all() -> str:
    return "; ".join(
        f"{name} {one['state']} {one['held']} {one['problem']} {one['flaw']}" for name, one in listed().items()
    )


def state(name: str) -> str:
    return str(listed().get(name, {}).get("state", ""))


def told(name: str) -> dict[str, Any]:
    """What is said of a workload, once the airlock answers."""
    return dict(eventually(lambda: listed().get(name), f"{name} is listed"))


def until(name: str, *states: str) -> dict[str, Any]:
    def there() -> dict[str, Any] | None:
        found = listed().get(name, {})
        return found if found.get("state") in states else None

    return dict(eventually(there, f"{name} is {' or '.join(states)}"))


def folder(name: str) -> Path:
    return Path("/srv/work") / name


def start(name: str, behaviour: str = "good", *, hook: Any = True, mib: int = 8, **changes: Any) -> dict[str, Any]:
    place = folder(name)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    about = {"signal": "SIGUSR1", "checkpoint": str(place / "checkpoint"), "mark": str(place / "mark")}
    fields: dict[str, Any] = {
        "workload": name,
        "lease": 1,
        "token": 1,
        "argv": [PYTHON, "-S", "/opt/teg/airlock_worker.py", str(place), str(mib), behaviour],
        "env": {"PATH": os.environ["PATH"]},
        "cwd": str(place),
        "uid": 0,
        "gid": 0,
        "hook": about if hook is True else hook or None,
        "term_end_ns": 0,
        "notice_ns": SECOND_NS,
        "save_ns": 20 * SECOND_NS,
        "resume": False,
        "rank": 0.0,
        "grace_ns": 60 * SECOND_NS,
    }
    reply = call("start", **fields | changes)
    if behaviour != "bomb":
        eventually(lambda: len(units(name)) > 3, f"{name} works")
    return reply


def units(name: str) -> list[int]:
    with suppress(OSError):
        return [int(line) for line in (folder(name) / "units").read_text().split("\n")[:-1] if line]
    return []


def each_once(done: list[int]) -> bool:
    """Whether units were done from the first on, each once: of one reading, for work goes on between two."""
    return done == list(range(len(done)))


def working(name: str) -> None:
    before = len(units(name))
    eventually(lambda: len(units(name)) > before + 2, f"{name} goes on working")


def resting(name: str) -> bool:
    before = len(units(name))
    time.sleep(0.3)
    return len(units(name)) == before


def group(name: str) -> Path:
    return SLICE / (name if name.endswith(".service") else f"teg-work-{name}.service")


def events(name: str) -> str:
    with suppress(OSError):
        return (group(name) / "cgroup.events").read_text()
    return ""


def is_frozen(name: str) -> bool:
    return "frozen 1" in events(name)


def is_populated(name: str) -> bool:
    return "populated 1" in events(name)


def inject(name: str, kind: str, then: str = "end") -> None:
    fresh = RUN / "inject.new"
    fresh.write_text(json.dumps([[name, kind, then]]))
    fresh.rename(RUN / "inject")
    eventually(lambda: not (RUN / "inject").exists(), "the airlock took what was asked of it")


def end_all() -> None:
    for path in (RUN / "die", RUN / "inject"):
        path.unlink(missing_ok=True)
    eventually(lambda: shell("systemctl is-active teg-airlock || true") == "active", "there is an airlock")
    for name, entry in listed().items():
        if entry["state"] != "ended":
            with suppress(RefusedError):
                call("end", workload=name, token=entry["token"], grace_ns=0)
            eventually(lambda name=name: state(name) in ("ended", ""), f"{name} has ended")
    for name in listed():
        with suppress(RefusedError):
            call("forget", workload=name)


def shell(command: str) -> str:
    return subprocess.run(["sh", "-c", command], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def settings(text: str = "") -> None:
    """These settings, under a new airlock where the last one had others."""
    wanted = text or f"{PLAIN}prove = false\n"
    if SETTINGS.read_text() != wanted:
        SETTINGS.write_text(wanted)
        shell("systemctl restart teg-airlock")
    eventually(answers, "the airlock answers")


def answers() -> bool:
    try:
        call("hello")
    except UnavailableError:
        return False
    return True


def unit(name: str, text: str) -> None:
    Path(f"/run/systemd/system/{name}").write_text(text)
    shell(f"systemctl daemon-reload && systemctl start {name}")


def consistent(name: str) -> bool:
    """Whether it runs, or is held by the step that its record names."""
    entry = listed().get(name)
    if entry is None:
        return False
    if entry["state"] in ("running", "ending"):
        return is_populated(name) and not is_frozen(name)
    if entry["state"] in ("frozen", "flushing"):
        return is_frozen(name) or not is_populated(name)
    if entry["state"] == "saving":
        return is_populated(name)
    return entry["state"] in ("killing", "starting") or not is_populated(name)


# --- kill -9 at every state -------------------------------------------------------------------------------------------

LIVES: dict[str, tuple[bool, list[tuple[str, str, str]]]] = {
    "starting": (True, []),
    "running": (True, []),
    "frozen/request": (True, [("freeze", "", "")]),
    "frozen/memory": (True, [("seal", "", "")]),
    "frozen/save": (True, [("hold", "", "")]),
    "saving/memory": (True, [("seal", "", ""), ("save", "park", "")]),
    "flushing/memory": (True, [("seal", "", ""), ("save", "park", "")]),
    "killing/memory": (True, [("seal", "", ""), ("save", "park", "")]),
    "parked": (True, [("seal", "", ""), ("save", "park", "")]),
    "ending": (True, [("end", "", "")]),
    "saving/term": (True, [("term", "", "")]),
    "flushing/term": (True, [("term", "", "")]),
    "frozen/term": (False, [("term", "", "")]),
    "saving/memory dump": (False, [("seal", "", ""), ("save", "park", "")]),
    "flushing/memory dump": (False, [("seal", "", ""), ("save", "park", "")]),
    "starting dump": (False, [("seal", "", ""), ("save", "park", ""), ("restored", "", "")]),
}


def killed_before_each_act() -> dict[str, Any]:
    """When the record of a state is durable, and nothing of what follows from it was done."""
    return killed("committed")


def killed_after_each_act() -> dict[str, Any]:
    """When what follows from a state was done, and nothing came of it yet."""
    return killed("done")


def killed(when: str) -> dict[str, Any]:
    """In each state in turn: from the new process's READY, all is as its record says within 2 s."""
    settings()
    took: dict[str, Any] = {}
    for life, (hook, steps) in LIVES.items():
        took[life] = killed_at(life.split()[0], hook, steps, when)
        print(life, took[life], file=sys.stderr, flush=True)
    worst = max(took, key=lambda key: took[key][0])
    return {
        "kills": len(took),
        "worst": worst,
        "from_ready_s": took[worst][0],
        "from_kill_s": max(t[1] for t in took.values()),
    }


def killed_at(where: str, hook: bool, steps: list[tuple[str, str, str]], when: str) -> tuple[float, float]:
    wanted, _, held = where.partition("/")
    before = pid_of("teg-airlock")
    die = lambda: (RUN / "die").write_text(f"{wanted},{held},{when}")  # noqa: E731
    if wanted in ("starting", "running") and not steps:
        die()
    with suppress(UnavailableError, RefusedError, AssertionError):
        start("w", hook=hook)
    for kind, then, _ in steps:
        if kind == steps[-1][0]:
            die()
        act_on("w", kind, then)
    eventually(lambda: not (RUN / "die").exists(), f"it died at {where}, {when}")
    died = time.monotonic()
    eventually(lambda: pid_of("teg-airlock") not in (before, 0), "there is a new one")
    eventually(answers, "it answers")
    ready = int(shell("systemctl show -P ActiveEnterTimestampMonotonic teg-airlock")) / 1e6
    eventually(lambda: consistent("w") or not listed(), f"w is as its record says, killed at {where}, {when}")
    seen = time.monotonic()
    late = seen - ready >= RECOVERY_S
    assert not late or seen - ready < RECOVERY_S * slowness(), f"{where} {when}: {seen - ready:.1f} s"
    whole_or_absent("w", hook)
    goes_on("w", where, steps)
    end_all()
    return round(seen - ready, 2), round(seen - died, 2)


def slowness() -> float:
    """How many times as long as on a processor of its own a small program takes here and now, at least 1."""
    began = time.monotonic()
    shell(f"{PYTHON} -S -c pass")
    return max(1.0, (time.monotonic() - began) / 0.05)


def act_on(name: str, kind: str, then: str) -> None:
    with suppress(UnavailableError, RefusedError):
        if kind == "freeze":
            call("freeze", workload=name, token=1)
        elif kind == "end":
            call("end", workload=name, token=1, grace_ns=SECOND_NS)
        elif kind == "term":
            call("extend", workload=name, token=1, term_end_ns=now_ns() + SECOND_NS // 5)
        elif kind == "restored":
            pass
        elif kind == "save":
            inject(name, kind, then)
        else:
            inject(name, kind)
            eventually(lambda: is_frozen(name), f"{name} is frozen")


def whole_or_absent(name: str, hook: bool) -> None:
    checkpoint = folder(name) / "checkpoint"
    if hook and checkpoint.exists():
        saved = int(checkpoint.read_bytes().split(b"\n")[0])
        assert len(checkpoint.read_bytes()) == len(f"{saved}\n") + (1 << 16), "a torn checkpoint"


def goes_on(name: str, where: str, steps: list[tuple[str, str, str]]) -> None:
    """The step comes to its end: parked work comes back whole, held work is let go, ended work has ended."""
    if "term" in [kind for kind, _, _ in steps] or where == "ending":
        until(name, "ended")
        assert not is_populated(name)
        return
    if not steps:
        start_again = listed().get(name)
        assert start_again is None or start_again["state"] in ("running", "ended", "starting"), start_again
        return
    if where in ("frozen/memory", "frozen/save"):
        eventually(lambda: release(name), "it is let go")
    if where == "frozen/request":
        assert is_frozen(name)
        call("thaw", workload=name, token=1)
    until(name, "running")
    working(name)
    counted = units(name)
    assert sorted(set(counted)) == list(range(max(counted) + 1)), "no unit is lost"


def release(name: str) -> bool:
    if state(name) == "frozen":
        inject(name, "release")
    return state(name) == "running"


def pid_of(name: str) -> int:
    return int(shell(f"systemctl show -P MainPID {name}"))


# --- the other side ---------------------------------------------------------------------------------------------------


def dumped_and_restored() -> dict[str, Any]:
    """Work without a hook is dumped, ended, and comes back as it was: no unit twice, none lost."""
    settings()
    start("w", hook=False, mib=30)
    began = time.monotonic()
    inject("w", "seal")
    inject("w", "save", "park")
    eventually(lambda: state("w") in ("parked", "starting", "running") and not resting("w"), "it came back")
    until("w", "running")
    took = time.monotonic() - began
    working("w")
    assert each_once(units("w")), "each unit once"
    image = STATE / "workloads/w/image"
    eventually(lambda: not (image / "whole").exists(), "the image that was used is removed")
    return {"parked_and_back_s": round(took, 1)}


def dumper_killed() -> dict[str, Any]:
    """kill -9 of the CRIU service in the midst of a dump: CRIU goes on, and its image is taken by the next."""
    settings()
    start("w", hook=False, mib=200)
    inject("w", "seal")
    inject("w", "save", "park")
    eventually(lambda: shell("pgrep -x criu || true"), "CRIU is at work")
    os.kill(pid_of("teg-criu"), signal.SIGKILL)
    eventually(lambda: state("w") in ("parked", "starting", "running"), "it was parked")
    until("w", "running")
    working("w")
    assert each_once(units("w")), "each unit once"
    return {}


def airlock_killed_in_a_dump() -> dict[str, Any]:
    """kill -9 of the airlock in the midst of a dump."""
    settings()
    start("w", hook=False, mib=200)
    inject("w", "seal")
    inject("w", "save", "park")
    eventually(lambda: shell("pgrep -x criu || true"), "CRIU is at work")
    os.kill(pid_of("teg-airlock"), signal.SIGKILL)
    eventually(lambda: state("w") == "running" and not (RUN / "die").exists() and not is_frozen("w"), "it came back")
    working("w")
    assert each_once(units("w")), "each unit once"
    return {}


def criu_refuses() -> dict[str, Any]:
    """Output to the journal, an open connection, a GPU: it says why, and the work goes on."""
    settings()
    Path("/srv/open.py").write_text(CONNECTED)
    Path("/srv/gpu.py").write_text("import time\nf=open('/dev/dri/fake')\nwhile True: time.sleep(.05)\n")
    shell("mkdir -p /dev/dri; [ -e /dev/dri/fake ] || mknod /dev/dri/fake c 1 3")
    for name, command, output in (
        ("journal", "sleep 1000", "journal"),
        ("open", f"{PYTHON} /srv/open.py", "append:/srv/open.log"),
        ("gpu", f"{PYTHON} /srv/gpu.py", "append:/srv/gpu.log"),
    ):
        unit(
            f"c-{name}.service",
            f"[Service]\nSlice=teg.slice\nExecStart={command}\nStandardOutput={output}\nStandardError={output}\n",
        )
    said = {}
    for name in ("c-journal.service", "c-open.service", "c-gpu.service"):
        until(name, "running")
        pid = pid_of(name)
        inject(name, "seal")
        inject(name, "save", "park")
        eventually(lambda name=name: told(name)["problem"], "the reason is told")
        until(name, "frozen")
        inject(name, "release")
        until(name, "running")
        assert pid_of(name) == pid, "it is the same process"
        assert not is_frozen(name)
        said[name] = told(name)["problem"]
    for name in said:
        shell(f"systemctl stop {name}")
    assert "journal" in said["c-journal.service"]
    assert "device" in said["c-gpu.service"]
    eventually(lambda: not any(name in listed() for name in said), "they are forgotten")
    return said


def unit_dumped_and_restored() -> dict[str, Any]:
    """A unit without a hook: parked by CRIU and started again by systemd under its own name."""
    settings()
    shutil.rmtree(folder("u"), ignore_errors=True)
    folder("u").mkdir(parents=True)
    command = f"{PYTHON} -S /opt/teg/airlock_worker.py {folder('u')} 20 good"
    unit(
        "u.service",
        f"[Service]\nSlice=teg.slice\nExecStart={command}\nStandardOutput=append:/srv/u.log\nStandardError=append:/srv/u.log\n",
    )
    until("u.service", "running")
    eventually(lambda: len(units("u")) > 3, "it works")
    inject("u.service", "seal")
    inject("u.service", "save", "park")
    until("u.service", "parked", "starting")
    until("u.service", "running")
    working("u")
    assert each_once(units("u")), "each unit once"
    assert shell("systemctl is-active u.service") == "active"
    shell("systemctl stop u.service")
    assert not is_populated("u.service")
    return {}


def proved() -> dict[str, Any]:
    """Each workload shows once that it can be saved; one that cannot is known for it."""
    settings(PLAIN)
    start("good")
    start("bare", hook=False)
    start("liar", "liar", save_ns=5 * SECOND_NS)
    unit("c-none.service", "[Service]\nSlice=teg.slice\nExecStart=sleep 1000\n")
    names = ("good", "bare", "liar", "c-none.service")
    eventually(lambda: all(listed().get(name, {}).get("proof") for name in names), "each is proved or not", 120)
    found = {name: told(name) for name in names}
    assert [found[name]["savable"] for name in names] == ["hook", "dump", "dump", ""], found
    assert "hook" in found["liar"]["flaw"]
    assert "journal" in found["c-none.service"]["flaw"]
    for name in ("good", "bare", "liar"):
        until(name, "running")
        working(name)
        assert each_once(units(name)), f"{name}: each unit once"
    shell("systemctl stop c-none.service")
    return {name: found[name]["flaw"] for name in names}


def deadman() -> dict[str, Any]:
    """tegd gone for good: the stronger is thawed, who was being saved is ended if that is whole, terms are enforced."""
    settings()
    for name in ("strong", "late", "held", "savable"):
        start(name, hook=name in ("strong", "savable"))
    start("whole")
    inject("strong", "hold")
    inject("held", "seal")
    inject("whole", "seal")
    (RUN / "die").write_text("flushing,memory,committed")
    shell("mkdir -p /run/systemd/system/teg-airlock.service.d")
    Path("/run/systemd/system/teg-airlock.service.d/99.conf").write_text("[Service]\nRestart=no\n")
    shell("systemctl daemon-reload")
    for name in ("late", "savable"):
        call("extend", workload=name, token=1, term_end_ns=now_ns() + 25 * SECOND_NS)
    inject("whole", "save", "park")
    eventually(lambda: not (RUN / "die").exists(), "the airlock has died")
    died = time.monotonic()
    eventually(lambda: not is_frozen("strong"), "the stronger is thawed")
    thawed = time.monotonic() - died
    eventually(lambda: not is_frozen("held"), "the weaker too")
    eventually(lambda: not is_populated("whole"), "who was saved is ended")
    eventually(lambda: not is_populated("late"), "who cannot be saved and is past its term is ended")
    eventually(lambda: is_frozen("savable"), "who can be saved and is past its term is held")
    working("strong")
    working("held")
    memory = int(Path(f"/proc/{pid_of('teg-deadman')}/statm").read_text().split()[1]) * 4 // 1024
    shell("rm /run/systemd/system/teg-airlock.service.d/99.conf; systemctl daemon-reload; systemctl start teg-airlock")
    eventually(answers, "there is an airlock again")
    for name in ("strong", "held"):
        eventually(lambda name=name: release(name), f"{name}, which its journal held, is let go as if there were room")
    until("whole", "running")
    assert until("late", "ended")["cause"] == "term"
    ended = until("savable", "ended")
    assert (ended["cause"], ended["saved_ns"] > 0) == ("term", True)
    counted = units("whole")
    assert sorted(set(counted)) == list(range(max(counted) + 1)), "no unit is lost"
    return {"thawed_after_s": round(thawed, 1), "deadman_rss_mib": memory}


def stopped_in_order() -> dict[str, Any]:
    """`systemctl stop teg-airlock` touches no work, and leaves none frozen."""
    settings()
    start("a")
    start("b", hook=False)
    inject("a", "seal")
    inject("b", "hold")
    shell("systemctl stop teg-airlock")
    assert not is_frozen("a")
    assert not is_frozen("b")
    working("a")
    working("b")
    shell("systemctl start teg-airlock")
    eventually(answers, "it answers")
    return {}


def hooks_that_fail() -> dict[str, Any]:
    """Ignored, without a handler, a mark without a checkpoint, a short one, a mark too early: never ended unsaved."""
    settings()
    said = {}
    for behaviour in ("deaf", "none", "liar", "short", "early"):
        start("w", behaviour, save_ns=2 * SECOND_NS)
        inject("w", "seal")
        inject("w", "save", "park")
        eventually(lambda: told("w")["problem"], f"{behaviour} is told")
        said[behaviour] = told("w")["problem"]
        until("w", "frozen")
        assert told("w")["savable"] == "dump", "the next rung"
        inject("w", "save", "park")
        until("w", "parked", "starting", "running")
        until("w", "running")
        working("w")
        assert each_once(units("w")), "each unit once"
        end_all()
    return said


def disk_full() -> dict[str, Any]:
    """No save is asked for while its disk has no room, and that is told; one that fails for it keeps the work."""
    settings(PLAIN)
    small = Path("/srv/small")
    shell(f"mkdir -p {small} && mount -t tmpfs -o size=64m none {small}")
    try:
        with suppress(OSError), (small / "fill").open("wb") as file:
            while True:
                file.write(bytes(1 << 16))
        about = {"signal": "SIGUSR1", "checkpoint": str(small / "checkpoint"), "mark": str(small / "mark")}
        start("w", hook=about, save_ns=2 * SECOND_NS)
        problems = lambda: [said for said in call("memory", after_ns=0)["problems"].values() if str(small) in said]  # noqa: E731
        said = eventually(problems, "it is told that there is no room")[0]
        working("w")
        time.sleep(5)
        assert (told("w")["proof"], told("w")["problem"]) == ("", ""), "it was asked for a proof"
        inject("w", "seal")
        inject("w", "save", "park")
        eventually(lambda: told("w")["problem"], "that it cannot be saved is told")
        until("w", "frozen")
        assert is_populated("w")
        inject("w", "release")
        until("w", "running")
        working("w")
        assert each_once(units("w")), "each unit once"
        (small / "fill").unlink()
        eventually(lambda: told("w")["proof"] == "proved" and not problems(), "with room, it can be saved")
        end_all()
        assert not [about for about in call("memory", after_ns=0)["problems"] if about.startswith("w")]
        return {"said": said}
    finally:
        end_all()
        shell(f"umount -l {small}")


def pid_in_use_again() -> dict[str, Any]:
    """The journal names a process that is another by now: the stranger is not touched."""
    settings()
    start("w")
    Path("/run/systemd/system/teg-airlock.service.d").mkdir(parents=True, exist_ok=True)
    Path("/run/systemd/system/teg-airlock.service.d/99.conf").write_text("[Service]\nRestart=no\n")
    shell("systemctl daemon-reload")
    os.kill(pid_of("teg-airlock"), signal.SIGKILL)
    pid = journal.read(STATE).workloads["w"].status.pid
    (group("w") / "cgroup.kill").write_text("1")
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "it is gone")
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
    stranger = subprocess.Popen(["sleep", "1000"])
    Path("/run/systemd/system/teg-airlock.service.d/99.conf").unlink()
    shell("systemctl daemon-reload; systemctl start teg-airlock")
    eventually(answers, "it answers")
    until("w", "ended")
    assert stranger.poll() is None, "a stranger was killed"
    stranger.kill()
    return {"same_pid": stranger.pid == pid}


def group_removed() -> dict[str, Any]:
    """The unit of frozen work is stopped and its group removed in the midst of it."""
    settings()
    unit("g.service", "[Service]\nSlice=teg.slice\nExecStart=sleep 1000\n")
    until("g.service", "running")
    before = pid_of("teg-airlock")
    inject("g.service", "seal")
    shell("systemctl stop g.service")
    eventually(lambda: "g.service" not in listed(), "it is forgotten")
    start("w")
    (group("w") / "cgroup.kill").write_text("1")
    until("w", "ended")
    assert pid_of("teg-airlock") == before, "the airlock went on"
    return {}


def fork_bomb() -> dict[str, Any]:
    """A unit that forks to its limit is frozen, thawed and ended as one."""
    settings()
    folder("b").mkdir(parents=True, exist_ok=True)
    command = f"{PYTHON} -S /opt/teg/airlock_worker.py {folder('b')} 0 bomb"
    unit("b.service", f"[Service]\nSlice=teg.slice\nTasksMax=100\nExecStart={command}\nStandardOutput=null\n")
    until("b.service", "running")
    eventually(lambda: int((SLICE / "b.service/pids.current").read_text()) >= 100, "it is at its limit")
    began = time.monotonic()
    inject("b.service", "seal")
    eventually(lambda: is_frozen("b.service"), "all of it is frozen")
    froze = time.monotonic() - began
    count = int((SLICE / "b.service/pids.current").read_text())
    call("end", workload="b.service", token=0, grace_ns=0)
    eventually(lambda: not is_populated("b.service"), "all of it is gone")
    shell("systemctl reset-failed b.service || true")
    return {"processes": count, "frozen_after_s": round(froze, 2)}


def watchdog() -> dict[str, Any]:
    """A unit that systemd watches is told apart when it is found, and never frozen."""
    settings()
    Path("/srv/dog.py").write_text(REPORTS)
    unit(
        "d.service",
        f"[Service]\nType=notify\nSlice=teg.slice\nWatchdogSec=3\nNotifyAccess=all\n"
        f"ExecStart={PYTHON} -S /srv/dog.py\n",
    )
    found = until("d.service", "running")
    pid = pid_of("d.service")
    inject("d.service", "seal")
    try:
        call("freeze", workload="d.service", token=0)
        raise AssertionError("it was frozen")
    except RefusedError as error:
        said = str(error)
    time.sleep(3.5)
    assert pid_of("d.service") == pid
    assert not is_frozen("d.service")
    shell("systemctl stop d.service")
    return {"flaw": found["flaw"], "refused": said}


CHECKS = (
    killed_before_each_act,
    killed_after_each_act,
    dumped_and_restored,
    dumper_killed,
    airlock_killed_in_a_dump,
    unit_dumped_and_restored,
    criu_refuses,
    proved,
    deadman,
    stopped_in_order,
    hooks_that_fail,
    disk_full,
    pid_in_use_again,
    group_removed,
    fork_bomb,
    watchdog,
)


def run_named(checks: tuple[Callable[[], dict[str, Any]], ...], name: str) -> None:
    """Run one of these checks, and print what it measured."""
    check = {check.__name__: check for check in checks}[name]
    end_all()
    began = time.monotonic()
    try:
        measured = check()
    finally:
        with suppress(Exception):
            end_all()
    print(json.dumps({"took_s": round(time.monotonic() - began, 1), **measured}))


if __name__ == "__main__":
    RUN.mkdir(exist_ok=True)
    run_named(CHECKS, sys.argv[1])
