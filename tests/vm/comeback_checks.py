"""Checks that units come back as they were, however they were started; run inside a guest by root, as `airlock_checks`.

`comeback_checks.py NAME` prints what it measured.
"""

import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, "/opt/teg")

import airlock_checks
from airlock_checks import (
    PLAIN,
    PYTHON,
    RUN,
    call,
    eventually,
    inject,
    listed,
    run_named,
    settings,
    shell,
    told,
    until,
)

PROJECT = Path("/srv/project")
LEDGER = RUN / "starts.jsonl"
PROGRAM = "/opt/teg/comeback_program.py"
SAVED_AFTER = 25
"""Units of work that each has done before it is saved."""
WRAPPED = (
    "cd sub && export BAR=baz && umask 077 && ulimit -S -n 4000 && exec nice -n 5 python3 prog.py plain > out1.log 2>&1"
)


def starts(who: str) -> list[dict[str, Any]]:
    with suppress(OSError):
        return [one for one in map(json.loads, LEDGER.read_text().splitlines()) if one["who"] == who]
    return []


def environment(who: str) -> dict[str, str]:
    return {
        "FOO": "bar baz $HOME %n",
        "WHO": who,
        "LEDGER": str(LEDGER),
        "TEG_RANK": "1",
        "TEG_CHECKPOINT": f"/srv/kept/{who}",
        "TEG_RESUME": "--resume",
    }


def prepare() -> None:
    shutil.rmtree(PROJECT, ignore_errors=True)
    shutil.rmtree("/srv/kept", ignore_errors=True)
    LEDGER.unlink(missing_ok=True)
    Path("/srv/kept").mkdir(parents=True)
    (PROJECT / "sub").mkdir(parents=True)
    shutil.copy(PROGRAM, PROJECT / "sub" / "prog.py")
    shell("chmod -R a+rwX /srv/project /srv/kept /run/teg-test; chmod a+rx /run/teg-test")


def transient(who: str, command: list[str], *options: str) -> str:
    """As `systemd-run` and `tegctl run --rank` start it."""
    name = f"{who}.service"
    words = ["systemd-run", "--quiet", f"--unit={name}", "--slice=teg.slice", "--property=OOMPolicy=continue", *options]
    words += [f"--setenv={key}={value}" for key, value in environment(who).items()]
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in [*words, "--", *command])
    shell(quoted)
    return name


def written(who: str, command: str, *lines: str, prefix: str = "") -> str:
    """As a unit file."""
    name = f"{who}.service"
    entries = "".join(f'Environment="{key}={value}"\n'.replace("%", "%%") for key, value in environment(who).items())
    text = "\n".join(("[Service]", "Slice=teg.slice", *lines, f"ExecStart={prefix}{command}"))
    Path(f"/etc/systemd/system/{name}").write_text(f"{text}\n{entries}")
    shell(f"systemctl daemon-reload && systemctl start {name}")
    return name


def working(who: str, name: str) -> None:
    eventually(lambda: starts(who), f"{who} has started")
    until(name, "running")


def saved_and_back(who: str, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Saved for memory, ended, started again: how it was before, and is now."""
    working(who, name)
    before = starts(who)
    eventually(lambda: answers(before[-1]["pid"]), f"{who} has its handler")
    shell("sleep 1")
    inject(name, "seal")
    inject(name, "save", "park")
    eventually(lambda: len(starts(who)) > len(before), f"{who} is started again")
    until(name, "running")
    return before[-1], starts(who)[-1]


def answers(pid: int) -> bool:
    with suppress(OSError, IndexError):
        text = Path(f"/proc/{pid}/status").read_text()
        return bool(int(text.split("SigCgt:")[1].split()[0], 16) & 1 << 9)
    return False


SAME = ("cwd", "umask", "nice", "nofile", "cpus", "uid", "out")


def as_it_was(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert {key: before[key] for key in SAME} == {key: after[key] for key in SAME}, (before, after)
    for key in ("FOO", "BAR", "HOME", "PATH"):
        assert before["env"][key] == after["env"][key], (key, before, after)
    words = [word for word in before["argv"] if word != "--resume"]
    assert after["argv"] == [*words, "--resume"], (before, after)
    assert (after["env"]["TEG_RESUMING"], after["env"]["TEG_RESUME_ARGS"]) == ("1", "--resume")
    assert after["done"] >= before["done"] + SAVED_AFTER, (before, after)


def twice(who: str, name: str) -> None:
    """What came back can be saved again, and its words do not pile up."""
    for _ in range(2):
        as_it_was(*saved_and_back(who, name))
    shell(f"systemctl stop {name}")
    eventually(lambda: name not in listed(), f"{name} is forgotten")
    assert not list(Path("/run/systemd/system").glob(f"{name}*")), "nothing of ours is left of it"


def wrapper_of_tegctl_run() -> dict[str, Any]:
    """A wrapper shell with folder, variable, mask, limit, niceness and output, in a unit that `systemd-run` made."""
    name = transient("c1", ["/bin/sh", "-c", WRAPPED], "--working-directory=/srv/project", "--service-type=exec")
    twice("c1", name)
    said = (PROJECT / "sub" / "out1.log").read_text().split("\n")
    assert [line.split()[0] for line in said if line].count("started") == 3, "its output goes on in the same file"
    return {}


def wrapper_in_a_unit_file() -> dict[str, Any]:
    """The same in a unit file, as another user, with a relative program."""
    name = written(
        "c4",
        '/bin/sh -c "cd sub && BAR=baz exec python3 prog.py plain"',
        *("WorkingDirectory=/srv/project", "StandardOutput=append:/srv/project/out4.log", "User=nobody"),
    )
    shell("chown nobody /srv/kept")
    twice("c4", name)
    return {}


def wrapper_that_is_slow() -> dict[str, Any]:
    """The airlock sees the shell first; the program comes three seconds later."""
    twice("c5", written("c5", f'/bin/sh -c "sleep 3; exec python3 {PROJECT}/sub/prog.py plain"'))
    return {}


def wrapper_with_its_own_output() -> dict[str, Any]:
    """Folder, variable and output are the wrapper's alone."""
    command = f'/bin/sh -c "cd {PROJECT}/sub; export BAR=baz; exec python3 {PROJECT}/sub/prog.py plain > out6.log 2>&1"'
    twice("c6", written("c6", command))
    return {}


def drops_its_rights() -> dict[str, Any]:
    """A wrapper that runs as root and the program as another user, on one processor."""
    shell("chown nobody /srv/kept")
    command = f"setpriv --reuid=nobody --regid=nogroup --clear-groups taskset -c 1 python3 {PROJECT}/sub/prog.py plain"
    twice("c9", written("c9", f'/bin/sh -c "exec {command}"'))
    return {}


def forgotten_by_systemd() -> dict[str, Any]:
    """`systemd-run --collect`: with its process the unit itself is gone."""
    name = transient(
        "c2",
        [PYTHON, "prog.py", "plain"],
        *(
            "--collect",
            "--working-directory=/srv/project/sub",
            "--property=StandardOutput=append:/srv/project/out2.log",
        ),
    )
    twice("c2", name)
    return {}


def the_command_itself() -> dict[str, Any]:
    """A unit's own command, with specifiers and variables, in a unit file."""
    twice("c8", written("c8", f"{PYTHON} {PROJECT}/sub/prog.py plain %n ${{FOO}}", "UMask=0077", "LimitNOFILE=3000"))
    return {}


def output_that_begins_anew() -> dict[str, Any]:
    """A unit's `truncate:` empties its output when it starts, not when it comes back."""
    kept = PROJECT / "out10.log"
    name = written("c10", f"{PYTHON} {PROJECT}/sub/prog.py plain", f"StandardOutput=truncate:{kept}")
    twice("c10", name)
    assert kept.read_text().count("started") == 3
    return {}


def title_of_its_own() -> dict[str, Any]:
    """It writes another command over its own; directly, and below a wrapper."""
    twice("t1", written("t1", f"{PYTHON} {PROJECT}/sub/prog.py title word"))
    return {}


def start_that_fails() -> dict[str, Any]:
    """Started again it fails within seconds: it stays parked, with the problem, and so does its checkpoint."""
    name = written("f1", f"{PYTHON} {PROJECT}/sub/prog.py fails")
    working("f1", name)
    eventually(lambda: answers(starts("f1")[-1]["pid"]), "it has its handler")
    inject(name, "seal")
    inject(name, "save", "park")
    eventually(lambda: told(name)["state"] == "parked" and told(name)["problem"], "its problem is told")
    said = told(name)["problem"]
    assert "exit code 2" in said, said
    shell("sleep 12")
    assert told(name)["state"] in ("parked", "starting", "running"), "it is kept"
    (PROJECT / "sub" / "prog.py").write_text(Path(PROGRAM).read_text().replace('"fails"', '"none"'))
    eventually(lambda: len(starts("f1")) > 1, "put right, it comes back")
    until(name, "running")
    shell(f"systemctl stop {name}")
    return {"said": said}


def ends_after_its_mark() -> dict[str, Any]:
    """A proof of a program that exits after its mark: it is saved, started again, and told."""
    settings(PLAIN)
    names = {
        "e1": written("e1", f"{PYTHON} {PROJECT}/sub/prog.py exits"),
        "e2": transient("e2", [PYTHON, f"{PROJECT}/sub/prog.py", "exits"], "--collect"),
        "e3": written("e3", f"{PYTHON} {PROJECT}/sub/prog.py lingers"),
        "e4": transient("e4", [PYTHON, f"{PROJECT}/sub/prog.py", "lingers"]),
    }
    for who, name in names.items():
        eventually(lambda who=who: len(starts(who)) == 2, f"{who} is started again", 300)
        until(name, "running")
        first, second = starts(who)
        assert second["argv"] == [*first["argv"], "--resume"], (first, second)
        assert second["done"] > 0
    for name in names.values():
        assert told(name)["proof"] == "proved"
    shell("sleep 8")
    for who, name in names.items():
        assert len(starts(who)) == 2, "it goes on"
        shell(f"systemctl stop {name}")
    return {}


def work(who: str, *argv: str) -> None:
    """Start it as the agent side does."""
    place = Path("/srv/kept") / who
    place.mkdir()
    call(
        "start",
        workload=who,
        lease=1,
        token=1,
        argv=list(argv),
        cwd=str(place),
        env={**environment(who), "PATH": "/usr/bin:/bin"},
        uid=0,
        gid=0,
        hook={"signal": "SIGUSR1", "checkpoint": str(place / "checkpoint"), "mark": str(place / "mark")},
        term_end_ns=0,
        notice_ns=10**9,
        save_ns=20 * 10**9,
        resume=False,
        rank=0.0,
        grace_ns=60 * 10**9,
    )


def work_that_ends_after_its_mark() -> dict[str, Any]:
    """The same for work that the agent side started."""
    settings(PLAIN)
    for who, mode in (("m1", "exits"), ("m2", "lingers")):
        work(who, PYTHON, PROGRAM, mode)
        eventually(lambda who=who: len(starts(who)) == 2, f"{who} is started again", 300)
        until(who, "running")
        assert starts(who)[1]["done"] > 0
        call("end", workload=who, token=1, grace_ns=0)
        until(who, "ended")
    return {}


def kept_by_its_shell() -> dict[str, Any]:
    """The proof says that the program which saves is not the one that would be started again."""
    settings(PLAIN)
    work("k1", "/bin/sh", "-c", f"exec {PYTHON} {PROGRAM} plain")
    eventually(lambda: told("k1")["proof"], "it is proved", 300)
    said = told("k1")
    assert (said["proof"], said["savable"]) == ("proved", "hook"), said
    assert said["flaw"].startswith("the program that saves is not the one that would be started again"), said
    return {"said": said["flaw"]}


def dumped_and_forgotten() -> dict[str, Any]:
    """`systemd-run --collect` without a hook: parked by CRIU, its unit gone, and back under its name."""
    place = airlock_checks.folder("d1")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    words = ["systemd-run", "--quiet", "--collect", "--unit=d1.service", "--slice=teg.slice"]
    words += ["-p", "StandardOutput=append:/srv/d1.log", "-p", "StandardError=append:/srv/d1.log"]
    shell(" ".join([*words, PYTHON, "-S", "/opt/teg/airlock_worker.py", str(place), "20", "good"]))
    until("d1.service", "running")
    airlock_checks.working("d1")
    inject("d1.service", "seal")
    inject("d1.service", "save", "park")
    until("d1.service", "parked", "starting")
    until("d1.service", "running")
    airlock_checks.working("d1")
    assert airlock_checks.each_once(airlock_checks.units("d1")), "each unit once"
    shell("systemctl stop d1.service")
    eventually(lambda: "d1.service" not in listed(), "it is forgotten")
    assert not list(Path("/run/systemd/system").glob("d1*")), "nothing of ours is left of it"
    return {}


def stopped_in_a_save() -> dict[str, Any]:
    """`systemctl stop` in the midst of a proof is a stop."""
    settings(PLAIN)
    name = written("s1", f"{PYTHON} {PROJECT}/sub/prog.py lingers")
    working("s1", name)
    eventually(lambda: told(name)["state"] in ("saving", "flushing") or told(name)["proof"], "it is being proved", 300)
    shell(f"systemctl stop {name}")
    eventually(lambda: name not in listed(), "it is forgotten")
    shell("sleep 4")
    assert len(starts("s1")) == 1, "it was started again"
    return {}


CHECKS = (
    wrapper_of_tegctl_run,
    wrapper_in_a_unit_file,
    wrapper_that_is_slow,
    wrapper_with_its_own_output,
    drops_its_rights,
    forgotten_by_systemd,
    the_command_itself,
    output_that_begins_anew,
    title_of_its_own,
    start_that_fails,
    ends_after_its_mark,
    work_that_ends_after_its_mark,
    kept_by_its_shell,
    dumped_and_forgotten,
    stopped_in_a_save,
)


if __name__ == "__main__":
    RUN.mkdir(exist_ok=True)
    settings()
    prepare()
    run_named(CHECKS, sys.argv[1])
