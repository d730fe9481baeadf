"""Work that is saved and leaves its slots comes back as it was: drained, displaced and moved, on a real stack."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from system.up import DEMO, Maker, Up
from system.zone import Zone

from tegcore.wire import control
from tegctl.session import fresh_key

SEATED_S = 40.0
PROGRAM = """
import json, os, resource, signal, sys, time
from pathlib import Path
checkpoint, mark = Path(os.environ["TEG_CHECKPOINT"]), Path(os.environ["TEG_MARK"])
done = int(checkpoint.read_text()) if "--resume" in sys.argv else 0
mask = os.umask(0)
os.umask(mask)
about = {
    "done": done, "argv": sys.argv[1:], "cwd": os.getcwd(), "umask": mask, "input": sys.stdin.read(),
    "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[0], "out": os.path.realpath("/proc/self/fd/1"),
    "env": {name: os.environ.get(name) for name in ("FOO", "BAR", "HOME", "TEG_RESUMING", "TEG_RESUME_ARGS")},
}
with open(os.environ["STARTS"], "a") as file:
    file.write(json.dumps(about) + chr(10))
print("from", done, flush=True)
def save(*_):
    fresh = checkpoint.with_suffix(".new")
    fresh.write_text(str(done))
    fresh.replace(checkpoint)
    mark.touch()
signal.signal(signal.SIGUSR1, save)
while True:
    done += 1
    time.sleep(0.02)
"""
SAME = ("cwd", "umask", "input", "nofile")
PASSED = 'cd sub && BAR=baz exec "$PYTHON" prog.py "$@" >> out.log'
KEPT = 'cd sub && BAR=baz exec "$PYTHON" prog.py $TEG_RESUME_ARGS >> out.log'
SWALLOWED = 'cd sub && exec "$PYTHON" prog.py >> out.log'
COMMANDS = {
    "plain": (sys.executable, "sub/prog.py", "data.txt"),
    "passed": ("sh", "-c", PASSED, "sh"),
    "kept": ("sh", "-c", KEPT),
}


def project(folder: Path) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "prog.py").write_text(PROGRAM)
    return folder


def starts(folder: Path) -> list[dict[str, Any]]:
    path = folder / "starts"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def typed(host: Up, name: str, argv: tuple[str, ...], *options: str, hook: bool = True) -> str:
    """As it is typed, in a folder, with a variable, a mask, a limit and an input; what is said beside its name."""
    words = [sys.executable, "-m", "tegctl.main", "--state", str(host.stack.state_dir)]
    words += ["run", "-d", "--name", name, *(["--hook"] if hook else []), *options, "--", *argv]
    script = 'umask 027; ulimit -S -n 900; exec "$@"'
    environ = os.environ | {"FOO": "bar baz", "STARTS": str(host.folder / "starts"), "PYTHON": sys.executable}
    done = subprocess.run(
        ["sh", "-c", script, "sh", *words],
        cwd=host.folder,
        env=environ,
        input="line\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def has_worked(host: Up, name: str) -> None:
    host.until(lambda: host.runs(name) and bool(starts(host.folder)), SEATED_S)
    at = host.ledger()["tick"]
    host.until_tick(at + 40)


def as_it_was(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert {key: first[key] for key in SAME} == {key: second[key] for key in SAME}
    for key in ("FOO", "BAR", "HOME"):
        assert first["env"][key] == second["env"][key], key
    assert first["env"]["TEG_RESUMING"] is None
    assert (second["env"]["TEG_RESUMING"], second["env"]["TEG_RESUME_ARGS"]) == ("1", "--resume")
    assert second["argv"] == [*first["argv"], "--resume"]
    assert second["done"] > 20


@pytest.mark.parametrize("command", COMMANDS)
def test_drained_work_comes_back_as_it_was(up: Maker, command: str) -> None:
    host = up(1, "fixed", DEMO)
    project(host.folder)
    said = typed(host, "work", COMMANDS[command])
    assert "resume" not in said
    has_worked(host, "work")
    name = host.ask("tegd", control.Host())["host"]
    host.tegctl("drain", name)
    host.until(lambda: host.life("work") in {"seeking", "ordered"}, SEATED_S)
    host.tegctl("undrain", name)
    host.until(lambda: len(starts(host.folder)) > 1, SEATED_S)
    first, second = starts(host.folder)[:2]
    as_it_was(first, second)
    if command != "plain":
        assert (host.folder / "sub" / "out.log").read_text().splitlines() == ["from 0", f"from {second['done']}"]
    host.check()


def test_displaced_work_comes_back_as_it_was(up: Maker) -> None:
    host = up(1, "auction", DEMO)
    project(host.folder)
    typed(host, "work", COMMANDS["passed"])
    has_worked(host, "work")
    host.until_tick(host.first_term_end("work"))
    rival = host.run("rival", "--bid", host.rich_bid())
    host.until(lambda: host.runs(rival), SEATED_S)
    host.let_end(rival)
    host.until(lambda: len(starts(host.folder)) > 1, SEATED_S)
    as_it_was(*starts(host.folder)[:2])


def test_work_that_is_queued_again_begins_as_it_was(up: Maker) -> None:
    """Without a hook it begins anew, and is not told that it resumes."""
    host = up(1, "auction", DEMO)
    project(host.folder)
    argv = ("env", "TEG_CHECKPOINT=none", "TEG_MARK=none", *COMMANDS["passed"])
    typed(host, "work", argv, hook=False)
    has_worked(host, "work")
    host.until_tick(host.first_term_end("work"))
    rival = host.run("rival", "--bid", host.rich_bid())
    host.until(lambda: host.runs(rival), SEATED_S)
    host.let_end(rival)
    host.until(lambda: len(starts(host.folder)) > 1, SEATED_S)
    first, second = starts(host.folder)[:2]
    assert first == second


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[Zone]:
    made = Zone(tmp_path, hosts=("a", "b"))
    try:
        yield made.start()
    finally:
        made.stop()


def test_moved_work_comes_back_as_it_was(zone: Zone, tmp_path: Path) -> None:
    """Another host, the same folder of a shared disk."""
    folder = project(tmp_path / "shared")
    zone.operate(control.DrainHost(host="b", on=True, key=fresh_key()))
    env = {"STARTS": f"{folder}/starts", "PYTHON": sys.executable, "FOO": "bar baz"}
    place = {"cwd": str(folder), "umask": 0o027, "limits": {"nofile": 900}, "env": env}
    zone["a"].submit(argv=COMMANDS["passed"], hook=control.Hook(), **place)
    zone.until(lambda: len(starts(folder)) == 1, SEATED_S)
    zone.operate(control.DrainHost(host="b", on=False, key=fresh_key()))
    zone.operate(control.DrainHost(host="a", on=True, key=fresh_key()))
    zone.until(lambda: len(starts(folder)) == 2, SEATED_S)
    first, second = starts(folder)
    assert second["done"] > 0
    as_it_was(first, second | {"done": second["done"] + 20})


def test_a_shell_that_keeps_the_words_of_a_resume_to_itself_is_told(up: Maker) -> None:
    """At submission, in `why`, and by the proof: not that what saved is what would be resumed."""
    host = up(1, "fixed", DEMO)
    project(host.folder)
    said = typed(host, "work", ("sh", "-c", SWALLOWED))
    assert "--resume" in said
    assert '"$@"' in said
    assert "--resume" in host.told("work")
    has_worked(host, "work")
    host.check()
