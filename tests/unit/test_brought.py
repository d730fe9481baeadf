"""What work brings of where it was typed: kept in files of its user, taken up where it starts, shown to nobody."""

import os
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tegcore.clock import VirtualClock
from tegcore.errors import RefusedError
from tegcore.wire import control
from tegcore.wire.peer import CANNOT
from tegcore.wire.signing import Key
from tegd import submission
from tegd.adapters.courier import Courier
from tegd.adapters.places import Places
from tegd.agent import AgentSide, Place
from tegd.airlock import protocol
from tegd.airlock.adapters import launch, manager
from tegd.airlock.model import Spec
from tegd.calls import ENVIRONMENT, STDIN, start_calls
from tegd.settings import HostSettings
from tegd.workload import Workload

SPEC = control.WorkloadSpec(argv=("true",))
BROUGHT = {
    "FOO": 'it\'s\n"q" $HOME `id`',
    "PATH": "/mine:/usr/bin:/bin",
    "TEG_SLOTS": "0,1,2,3",
    "GPUS": "0,1",
    "E": "",
}
TOLD = {"PATH": "/usr/bin", "HOME": "/root", "TEG_SLOTS": "1", "GPUS": "1"}


def with_files(folder: Path, env: dict[str, str], stdin: bytes | None = None) -> dict[str, str]:
    """The files that work brings, laid out; what the airlock side is told of them."""
    files = submission.brought(msgspec.structs.replace(SPEC, env=env), stdin)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {
        "environment": str(folder / ENVIRONMENT) if ENVIRONMENT in files else "",
        "stdin": str(folder / STDIN) if STDIN in files else "",
    }


def run_spec(folder: Path, *argv: str, **fields: Any) -> Spec:
    return Spec("7.1", 1, 1, argv, TOLD, str(folder), os.getuid(), os.getgid(), None, 1, 1, resume=False, **fields)


def test_what_it_brings_is_read_as_it_was_and_what_it_is_told_wins(tmp_path: Path) -> None:
    spec = run_spec(tmp_path, "true", **with_files(tmp_path, BROUGHT))
    env = launch.environment(spec, launch.brought(spec))
    assert (env["FOO"], env["E"], env["PATH"]) == (BROUGHT["FOO"], "", BROUGHT["PATH"])
    assert (env["TEG_SLOTS"], env["GPUS"], env["HOME"], env["TEG_WORKLOAD"]) == ("1", "1", "/root", "7.1")


def by_manager(folder: Path, spec: Spec) -> tuple[int, str, str]:
    """Run a service's first process as the manager would: exit code, output, status."""
    ear, mouth = os.pipe()
    os.write(mouth, b"g\n")
    script = manager._script(spec)
    with (folder / "log").open("wb") as log, (folder / "status").open("wb") as status:
        done = subprocess.run(
            ["/bin/sh", "-c", script, "sh", *spec.argv],
            stdin=ear,
            stdout=log,
            stderr=status,
            env=launch.environment(spec),
            timeout=20,
            check=False,
        )
    os.close(ear)
    os.close(mouth)
    return done.returncode, (folder / "log").read_text(), (folder / "status").read_text()


def test_a_service_has_all_of_it_and_the_manager_is_told_none(tmp_path: Path) -> None:
    limits = {"core": 0, "nofile": 100, "cpu": -1, "fsize": 1 << 40, "nproc": 1 << 40}
    shown = 'printf "%s|" "$FOO" "$PATH" "$TEG_SLOTS" "$GPUS" "$HOME" "$(umask)" "$(ulimit -n)"; cat'
    spec = run_spec(tmp_path, "sh", "-c", shown, umask=0o027, limits=limits, **with_files(tmp_path, BROUGHT, b"abc"))
    code, out, status = by_manager(tmp_path, spec)
    assert out.split("|") == [BROUGHT["FOO"], BROUGHT["PATH"], "1", "1", "/root", "0027", "100", "abc"]
    assert code == 0
    assert launch.exit_status(tmp_path) == (True, 0), status
    words = manager.Services("teg.slice", "teg/work", tmp_path)._command(spec, tmp_path)
    assert not any("it's" in word or "/mine" in word for word in words)


def test_a_service_whose_program_is_not_there_says_so_and_never_ran(tmp_path: Path) -> None:
    spec = run_spec(tmp_path, "no-such-program", **with_files(tmp_path, {"PATH": "/nowhere"}))
    code, _, _ = by_manager(tmp_path, spec)
    assert code == 127
    assert launch.exit_status(tmp_path) == (False, None)
    assert launch.absent(tmp_path) == "was not found on the path /nowhere"


def test_a_packet_says_where_it_is_and_not_what() -> None:
    work = Workload.accepted(3, "ada", (0, 0), 1, msgspec.structs.replace(SPEC, umask=0o077, limits={"core": 0}))
    work.lease, work.token, work.files = 5, 6, (ENVIRONMENT, STDIN, "given")
    (start,) = start_calls(work, None, "/w/3", "/root", {"TEG_SLOTS": "0"})
    fields = start.fields
    assert (fields["environment"], fields["stdin"]) == (f"/w/3/{ENVIRONMENT}", f"/w/3/{STDIN}")
    assert (fields["umask"], fields["limits"]) == (0o077, {"core": 0})
    packet = protocol.encode({"id": 1, "verb": "start", **fields})
    assert isinstance(protocol.decode(packet), protocol.Request)


@pytest.mark.parametrize(
    "changes",
    [{"umask": 0o1000}, {"umask": -1}, {"limits": {"sbsize": 1}}, {"limits": {"core": -2}}, {"stdin": "relative"}],
)
def test_what_cannot_be_is_refused_in_the_packet(changes: dict[str, Any]) -> None:
    work = Workload.accepted(3, "ada", (0, 0), 1, SPEC)
    work.lease, work.token = 5, 6
    (start,) = start_calls(work, None, "/w/3", "/root", {})
    refused = protocol.decode(protocol.encode({"id": 1, "verb": "start", **start.fields, **changes}))
    assert isinstance(refused, protocol.Refusal)


DOOR = [
    ({"env": {"A B": "x"}}, None, "'A B' cannot be the name of an environment variable"),
    ({"env": {"A": "x\0"}}, None, "'A' cannot be the name"),
    ({"env": {"A": "s3cr3t" * 30_000}}, None, "the environment has 176 KiB: at most 128"),
    ({"limits": {"sbsize": 1}}, None, "'sbsize' is no resource limit"),
    ({}, b"x" * (2 << 20), "its standard input has 2048 KiB: at most 1024"),
]


@pytest.mark.parametrize(("fields", "stdin", "text"), DOOR)
def test_the_door_refuses_with_the_size_and_never_with_what_is_in_it(
    fields: dict[str, Any], stdin: bytes | None, text: str
) -> None:
    def enter() -> None:
        submission.check_context(msgspec.structs.replace(SPEC, **fields))
        submission.check_files({}, stdin)

    with pytest.raises(RefusedError, match=text) as error:
        enter()
    assert "s3cr3t" not in str(error.value) + error.value.hint
    assert error.value.hint


@pytest.mark.parametrize("name", [ENVIRONMENT, STDIN])
def test_no_input_file_takes_the_place_of_what_it_brings(name: str) -> None:
    with pytest.raises(RefusedError, match="cannot be the name of an input file"):
        submission.check_files({name: b""})


@pytest.mark.parametrize(("address", "taken"), [("10.0.0.2:70", False), ("127.0.0.1:70", True), ("", False)])
async def test_an_environment_leaves_the_machine_under_tls_alone(tmp_path: Path, address: str, taken: bool) -> None:
    side = AgentSide(Place("a", 0, 2, 0, 4000, 1 << 33), 1, 0, {"ada": 1}, 0)
    work = Workload.accepted(1, "ada", (os.getuid(), os.getgid()), 1, SPEC)
    work.files, work.seats, work.slots_by_rank, work.token = (ENVIRONMENT,), ["b"], [1], 9
    side.loaded([work])
    side.travel.peers["b"] = SimpleNamespace(address=address, up=True, key=b"")  # type: ignore[assignment]
    answers: list[Any] = []
    side.travel.seat_answered = lambda *told: answers.append(told[3]) or []  # type: ignore[method-assign,func-returns-value]
    settings = HostSettings(host="a")
    side_args = (Places(tmp_path), None, lambda: 1, VirtualClock(1).now_ns)
    courier = Courier(settings, Key(b"k" * 32), side.node, lambda _: None, *side_args)  # type: ignore[arg-type]
    asked: list[Any] = []

    async def taken_by(host: str, question: Any) -> Any:
        asked.append(question)
        return SimpleNamespace(ok=True)

    courier._taken = taken_by  # type: ignore[method-assign,assignment]
    await courier._tell_seat(work, 0)
    assert bool(asked) is taken
    if not taken:
        assert (answers[0].ok, answers[0].reason) == (False, CANNOT)
        assert work.homebound
        assert "TLS" in answers[0].message


def test_what_is_quoted_for_a_shell_is_what_it_was() -> None:
    lines = submission.brought(msgspec.structs.replace(SPEC, env=BROUGHT), None)[ENVIRONMENT].decode()
    assert dict(word.split("=", 1) for word in shlex.split(lines) if word != "export") == BROUGHT
