"""How a unit that was saved is started again: what is decided from what was said and seen, and a process made again."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tegd.airlock import comeback
from tegd.airlock.adapters import become, context, launch, units
from tegd.airlock.comeback import Said, Seen, Way
from tegd.airlock.model import Hook, Spec

WORDS = ("--resume",)
SHELL = "/bin/sh -c cd sub && exec python3 prog.py data.txt > out"
SCRIPT = "/usr/local/bin/gunicorn app"


@pytest.mark.parametrize(
    ("command", "seen", "chosen"),
    [
        ("/usr/bin/python3 prog.py", Seen(("/usr/bin/python3", "prog.py")), Way.OWN),
        ("/usr/bin/python3 prog.py", Seen(("/usr/bin/python3", "prog.py", "--resume")), Way.OWN),
        (SHELL, Seen(("/bin/sh", "-c", "cd sub && exec python3 prog.py data.txt > out")), Way.OWN),
        (SHELL, Seen(("python3", "prog.py", "data.txt")), Way.SEEN),
        (SHELL, Seen(("python3", "prog.py", "data.txt", "--resume")), Way.SEEN),
        ("/usr/bin/python3 launch.py", Seen(("/usr/bin/python3", "train.py"), own_program=True), Way.SEEN),
        (SCRIPT, Seen(("/usr/bin/python3", "/usr/local/bin/gunicorn", "app"), own_program=True), Way.OWN),
        (SCRIPT, Seen(("gunicorn: master [app]", "", ""), titled=True, own_program=True), Way.OWN),
        (SHELL, Seen(("gunicorn: master [app]",), titled=True), Way.BARE),
        ("/usr/bin/mysql -u a -psecret", Seen(("/usr/bin/mysql", "-u", "a", "xxxxxxxx"), own_program=True), Way.OWN),
        ("/usr/bin/nice -n 5 /opt/work", Seen(("/opt/work",)), Way.SEEN),
    ],
)
def test_what_is_started_again(command: str, seen: Seen, chosen: Way) -> None:
    assert comeback.way(Said(command), seen, WORDS) is chosen


def test_people_are_told_where_the_words_would_not_reach_the_program() -> None:
    kept = Seen(("sh", "-c", "python3 prog.py"))
    assert "--resume" in comeback.note(Way.OWN, kept)
    assert "not the one that would be started again" in comeback.note(Way.BARE, kept)
    assert comeback.note(Way.SEEN, kept) == ""
    assert "pipe" in comeback.note(Way.SEEN, kept._replace(lost="its output went into a pipe"))


UNIT = """# ExecStart=/not/this
[Unit]
ExecStart=/nor/this
[Service]
Environment=A=b
ExecStart=/first
  ; nor this
ExecStart = -/usr/bin/python3 \\
# between
   prog.py "$OPTIONS" %n
[Install]
WantedBy=x
"""


def test_the_command_of_a_unit_is_read_as_its_files_have_it() -> None:
    """A list that is emptied begins anew, also in a file that comes after."""
    found = comeback.values([UNIT], "ExecStart")
    assert [" ".join(line.split()) for line in found] == ["/first", '-/usr/bin/python3 prog.py "$OPTIONS" %n']
    assert comeback.values([UNIT, "[Service]\nExecStart=\nExecStart=/second\n"], "ExecStart") == ["/second"]
    assert comeback.values(["[Service]\nType=simple"], "ExecStart") == []


@pytest.mark.parametrize("words", ["prog.py", "-c cd sub ; exec x ; ignore_errors=no", "a\nb"])
def test_what_the_manager_shows_of_a_command_is_read(words: str) -> None:
    shown = f"{{ path=/bin/sh ; argv[]=/bin/sh {words} ; ignore_errors=no ; start_time=[n/a] ; status=0/0 }}\n"
    path, said, count = comeback.command_said(shown)
    assert (path, said) == ("/bin/sh", f"/bin/sh {words}")
    assert (count == 1) is ("ignore_errors" not in words)
    assert comeback.command_said("")[2] == 0


def test_a_drop_in_says_the_units_own_command_and_what_tells_it_to_resume() -> None:
    said = Said("/bin/work", '-/bin/work "$A"', output="truncate:/srv/100%%/out", error="file:/srv/err")
    text = comeback.drop_in(Way.OWN, said, ("--go on", "$x"), (), "")
    assert text.splitlines() == [
        "[Service]",
        "StandardOutput=append:/srv/100%%/out",
        "StandardError=append:/srv/err",
        'Environment="TEG_RESUMING=1"',
        'Environment="TEG_RESUME_ARGS=--go on $x"',
        "ExecStart=",
        'ExecStart=-/bin/work "$A" "--go on" "$$x"',
    ]
    bare = comeback.drop_in(Way.BARE, Said("/bin/work", "/bin/work"), WORDS, (), "")
    assert bare.splitlines()[-1] == "ExecStart=/bin/work"


def test_a_drop_in_for_what_was_seen_names_no_word_of_the_process() -> None:
    """It writes its own command line, and would start as the manager's."""
    said = Said(SHELL, f"+@{SHELL}", output="inherit")
    text = comeback.drop_in(Way.SEEN, said, WORDS, ("/usr/bin/python3", "/opt/a b.py"), "/var/lib/teg/50%/seen")
    assert text.splitlines() == [
        "[Service]",
        "StandardInput=file:/var/lib/teg/50%%/seen",
        "StandardOutput=null",
        "ExecStart=",
        'ExecStart=+"/usr/bin/python3" "/opt/a b.py"',
    ]


# --- a process is made again ------------------------------------------------------------------------------------------

TELLS = """
import json, os, resource, signal, sys, time
mask = os.umask(0)
os.umask(mask)
about = {
    "argv": sys.argv, "cwd": os.getcwd(), "umask": mask, "nice": os.nice(0), "env": dict(os.environ),
    "nofile": resource.getrlimit(resource.RLIMIT_NOFILE), "cpus": sorted(os.sched_getaffinity(0)),
    "uid": os.getuid(), "groups": os.getgroups(), "in": os.readlink("/proc/self/fd/0"),
    "hup": signal.getsignal(signal.SIGHUP) is signal.SIG_IGN,
}
print(json.dumps(about), flush=True)
time.sleep(60)
"""
WRAPPER = "cd sub; umask 027; ulimit -S -n 500; trap '' HUP; exec nice -n 3 python prog.py 'a  b' > out"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A program behind a wrapper, as it tells of itself in `sub/out`."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "prog.py").write_text(TELLS)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    env = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "FOO": "bär\nbaz", "E": "", "INVOCATION_ID": "old", "MAINPID": "1"}
    with subprocess.Popen(["/bin/sh", "-c", WRAPPER], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL) as child:
        told(tmp_path, 1)
        yield tmp_path, child
        child.kill()


def told(folder: Path, count: int) -> list[dict[str, object]]:
    out, until = folder / "sub" / "out", time.monotonic() + 10
    while not out.exists() or out.read_text().count("\n") < count:
        assert time.monotonic() < until
        time.sleep(0.01)
    return [json.loads(line) for line in out.read_text().splitlines()]


def made_again(seen: object, folder: Path, **env: str) -> subprocess.Popen[bytes]:
    (folder / "seen").write_text(json.dumps(seen))
    with (folder / "seen").open("rb") as file:
        return subprocess.Popen([sys.executable, "-I", "-S", become.__file__], stdin=file, cwd="/", env=env)


def test_a_process_behind_a_wrapper_is_made_again_as_it_was(process: tuple[Path, subprocess.Popen[bytes]]) -> None:
    folder, child = process
    seen = context.read(child.pid, WORDS, comeback.told(WORDS))
    assert not context.titled(child.pid, context.command(child.pid))
    assert not context.runs(child.pid, "/bin/sh")
    with made_again(seen, folder, INVOCATION_ID="new") as again:
        first, second = told(folder, 2)
        again.kill()
    assert second["argv"] == [*first["argv"], "--resume"]  # type: ignore[misc]
    env = dict(first["env"])  # type: ignore[call-overload]
    del env["MAINPID"]
    assert second["env"] == env | {"INVOCATION_ID": "new", "TEG_RESUMING": "1", "TEG_RESUME_ARGS": "--resume"}
    for key in ("cwd", "umask", "nice", "nofile", "cpus", "uid", "groups", "in", "hup"):
        assert first[key] == second[key], key
    assert second["hup"] is True


def test_what_went_to_another_folder_since_is_begun_where_its_words_are(
    process: tuple[Path, subprocess.Popen[bytes]],
) -> None:
    folder, child = process
    seen = context.read(child.pid, (), ()) | {"cwd": "/"}
    with made_again(seen, folder) as again:
        assert told(folder, 2)[1]["cwd"] == str(folder / "sub")
        again.kill()


def test_a_program_that_is_gone_is_said(
    process: tuple[Path, subprocess.Popen[bytes]], capfd: pytest.CaptureFixture[str]
) -> None:
    folder, child = process
    seen = context.read(child.pid, (), ()) | {"argv": ["./none"], "exe": "/none"}
    with made_again(seen, folder) as again:
        assert again.wait() == become.FAILED
    assert "could not be made as it was: /none" in (folder / "sub" / "out").read_text() + capfd.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_is_given_up_before_anything_of_it_is_opened(process: tuple[Path, subprocess.Popen[bytes]]) -> None:
    """A process names its own streams and folder: what its user may not open stays closed."""
    folder, child = process
    own = folder / "root's"
    own.write_text("")
    own.chmod(0o600)
    stream = {"path": str(own), "flags": os.O_WRONLY, "device": 0, "inode": 0}
    seen = context.read(child.pid, (), ()) | {"uid": 65534, "gid": 65534, "groups": [], "cwd": "/"}
    seen |= {"streams": [None, stream, None], "env": {}, "argv": ["/bin/echo", "x"]}
    with made_again(seen, folder) as again:
        assert again.wait() == become.FAILED
    assert own.read_text() == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_file_that_it_had_open_is_open_again_though_its_user_could_not_open_it(
    process: tuple[Path, subprocess.Popen[bytes]],
) -> None:
    """Who started it had opened it; that it is the same is known by its inode, not by its name."""
    folder, child = process
    out = folder / "sub" / "out"
    out.chmod(0o600)
    seen = context.read(child.pid, (), ()) | {"uid": 65534, "gid": 65534, "groups": [], "cwd": "/", "env": {}}
    seen |= {"argv": ["/bin/echo", "again"], "streams": [None, *seen["streams"][1:]]}
    with made_again(seen, folder) as again:
        assert again.wait() == 0
    assert out.read_text().endswith("}\nagain\n")
    out.unlink()
    out.symlink_to("/etc/passwd")
    with made_again(seen, folder) as again:
        assert again.wait() == become.FAILED, "another file in its place is its user's to open, or not"


def test_a_title_is_told_from_a_command(process: tuple[Path, subprocess.Popen[bytes]]) -> None:
    _, child = process
    assert context.titled(child.pid, ("gunicorn: master [app]", "", ""))
    assert not context.titled(child.pid, ("python",))
    assert context.runs(child.pid, os.path.realpath(sys.executable))


def test_limits_are_those_of_the_process(process: tuple[Path, subprocess.Popen[bytes]]) -> None:
    _, child = process
    assert context.read(child.pid, (), ())["limits"]["RLIMIT_NOFILE"][0] == 500
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] != 500


def test_what_is_kept_of_a_unit_is_read_again(tmp_path: Path) -> None:
    said = Said("a", "b", files={"a.service": "[Service]\n"}, stays=True)
    units.keep(tmp_path / "x" / "said", comeback.data(said))
    assert units.said_from(tmp_path / "x" / "said") == said
    assert (tmp_path / "x" / "said").stat().st_mode & 0o777 == 0o600
    assert units.said_from(tmp_path / "none") is None
    units.keep(tmp_path / "seen", {"chosen": Way.SEEN, "uid": 1, "gid": 2, "more": "x"})
    assert units.seen_from(tmp_path / "seen") == (Way.SEEN, 1, 2)
    (tmp_path / "seen").write_text("[]")
    assert units.seen_from(tmp_path / "seen") is None


# --- in the market ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resume", [True, False])
def test_work_is_told_to_resume_by_its_environment_too(*, resume: bool) -> None:
    hook = Hook(10, "/c", "/m")
    spec = Spec("7.1", 1, 1, ("true",), {}, "/", 0, 0, hook, 1, 1, resume=resume)
    env = launch.environment(spec)
    assert (env.get("TEG_RESUMING"), env.get("TEG_RESUME_ARGS")) == (("1", "--resume") if resume else (None, None))
