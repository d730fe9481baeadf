"""The command line as a table: arguments, exit code, what is printed; against real control servers."""

import asyncio
import errno
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import click
import pytest
from click.testing import CliRunner

from tegcore.errors import (
    ConfigError,
    DecodeError,
    Exit,
    PermissionDeniedError,
    RefusedError,
    TegError,
    UnavailableError,
)
from tegcore.wire import control
from tegctl import alone, cost
from tegctl.commands import up
from tegctl.main import command
from tegctl.quantities import Bytes, Slots
from tegctl.session import Session
from tegctl.stack import Stack, StackSettings, _Part
from tegio import seqpacket
from tegio.control import CONTROL_BYTES_MAX, ControlClient, ControlServer, Peer
from tegio.settings import run_program

LEASE = {
    "lease": 7,
    "tenant": "ada",
    "host": "n1",
    "state": "held",
    "blocks": [[4, 2]],
    "price_ucr": 1_500_000,
    "limit_ucr": 2_000_000,
    "purse_ucr": 0,
    "paid_ucr": 250,
    "mass": 2.345,
    "ends_in_ticks": None,
    "term_in_ticks": 50,
    "period_ticks": 36_000,
    "seats": ["n2"],
}
HOSTS = [
    {"host": "n1", "number": 1, "up": False, "drained": True, "state": "lost, drained", "leases": 0, "price_ucr": 0},
    {
        "host": "n2",
        "up": True,
        "state": "up",
        "drained": False,
        "slots": 8,
        "free": 4,
        "leases": 1,
        "price_ucr": 1_500_000,
    },
]
ZONE = {"zone": "z", "tick": 9, "market": "auction", "leases": 1, "waiting": 0, "escrow_ucr": 2_000_000}
ZONE |= {"period_ticks": 36_000, "slots": 8, "free": 4, "hosts": HOSTS, "held": [LEASE]}
ANSWERS: dict[type[control.Request], object] = {
    control.Leases: [LEASE],
    control.Hosts: HOSTS,
    control.ZoneView: ZONE,
    control.LedgerView: {"market": "auction"},
    control.HostsView: {"n2": {"entropy": 0.5, "temperature_c": 61.4, "ticks_ago": 3}},
    control.Tenants: [
        {
            "tenant": "ada",
            "users": ["ada", "7"],
            "balance_ucr": 5_000_000,
            "income_hour_ucr": -1,
            "weight": 2,
            "share_permille": 667,
        }
    ],
}
asked: list[control.AnyRequest] = []


async def answer(peer: Peer, request: control.AnyRequest) -> control.Reply:
    asked.append(request)
    if (shown := ANSWERS.get(type(request))) is not None:
        return control.Reply(data=shown)
    return await answer_by_name(peer, request)


async def answer_by_name(peer: Peer, request: control.AnyRequest) -> control.Reply:
    match request:
        case control.MintCredits(tenant="mallory"):
            raise PermissionDeniedError("user 5 is no operator", "ask one")
        case control.MintCredits() | control.SetIncome() | control.CordonSlot() | control.SetMarket():
            return control.Reply(data={"subject": 1})
        case control.Why(name="nobody"):
            raise RefusedError("there is no job 'nobody'", "look")
        case control.Why():
            reasons = [{"reason": "funds", "missing": 5, "text": "its account is short", "help": "mint 5"}]
            row = {"name": "w1", "tenant": "ada", "life": "seeking", "state": "pending", "limit_ucr": 0}
            history = [{"tick": 3, "ago_ticks": 40, "text": "accepted"}]
            return control.Reply(data=row | {"reasons": reasons, "history": history})
        case control.TopUpWorkload():
            return control.Reply(data={"name": request.name, "state": "pending"})
        case control.UpdateWorkload():
            return control.Reply(data={"name": request.name, "state": "pending", "done": "it asks anew"})
        case control.Submit() if request.spec.name == "taken":
            raise RefusedError("a job 'taken' is still pending or running", "choose another name")
        case control.Submit():
            return control.Reply(data={"name": request.spec.name or "w1", "ref": 1})
        case control.Logs():
            return control.Reply(data={"bytes": b"out\n", "offset": 4, "exit_code": 3, "outcome": "exit code 3"})
        case _:
            return control.Reply(data=[])


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("state")
    (folder / "run").mkdir()
    loop = asyncio.new_event_loop()
    servers = [ControlServer(folder / "run" / f"{name}.sock", answer) for name in ("tegd", "ledger", "governor")]

    async def start() -> None:
        for server in servers:
            await server.start()

    async def stop() -> None:
        for server in servers:
            await server.stop()

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    yield folder
    asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


TABLE = [
    (["leases"], 0, "JOB  LEASE  TENANT  HOST  SLOTS  STATE  ENDS IN  MASS  CR/GPU-H  BID   PURSE  PAID"),
    (["leases"], 0, "n1:  7      ada     n2    4-7    held   -        2.3   3.00      4.00         0.00025"),
    (["mint", "ada", "2.5"], 0, "minted 2.50 credits for ada"),
    (["mint", "ada", "much"], 2, "is not an amount of credits"),
    (["cordon", "3"], 0, "slot 3 is cordoned"),
    (["mode"], 0, "the market is auction; `tegctl mode fixed` changes it (operators)"),
    (["mode", "auction"], 0, "the market is auction\n"),
    (["mode", "bazaar"], 2, "'bazaar' is not one of"),
    (["mint", "ada", "--rate", "2"], 0, "income of ada: 2.00 credits an hour"),
    (["mint", "--all", "--standing"], 0, "income of all without one of their own: what is charged at fixed prices"),
    (["mint", "ada"], 2, "say how much, and one of these only"),
    (["mint", "ada", "5", "--rate", "2"], 2, "say how much"),
    (["mint", "--rate", "2"], 2, "say for whom: a tenant"),
    (["why", "w1"], 0, "w1 (ada) is pending\n  its account is short\n    -> mint 5\n         2 s ago  accepted"),
    (["update", "w1", "--bid", "7.2/h"], 0, "w1 is pending: it asks anew"),
    (["update", "w1", "--bid", "much"], 2, "is not an amount of credits"),
    (["update", "w1"], 2, "--bid, --budget, --mem or --time"),
    (["tenant", "show"], 0, "ada     ada 7  5.00     standing"),
    (["tenant", "add", "eve"], 0, "eve has an account"),
    (["tenant", "add", "eve", "--income", "5"], 0, "eve has an account"),
    (["tenant", "add", "eve", "--weight", "3", "--user", "root", "--user", "7"], 0, "weight is 3, 2 more may spend"),
    (["tenant", "add", "eve", "--user", "no-such-user"], 2, "there is no user 'no-such-user' on this machine"),
    (["tenant", "add", "eve", "--weight", "0"], 2, "1<=x<=10000"),
    (["tenant", "remove", "eve"], 0, "eve is closed: it takes no new work, what runs goes on"),
    (["tenant", "remove", "eve", "--user", "7"], 0, "eve has lost 1 of its users"),
    (["run", "--slots", "3", "--", "x"], 2, "'3' is none of the numbers there are"),
    (["run", "--share", "1.5", "--", "x"], 2, "'1.5' is not a number from 0.001 to 0.999"),
    (["run", "--share", "0.0001", "--", "x"], 2, "'0.0001' is not a number from"),
    (["run", "--share", "nan", "--", "x"], 2, "'nan' is not a number from"),
    (["run", "--cpu", "1e300", "--", "x"], 2, "'1e300' is not a number from"),
    (["run", "--cpu", "-1", "--", "x"], 2, "'-1' is not a number from 0 to 999999"),
    (["run", "--mem", "64", "--", "x"], 2, "'64' is less than 1 MiB of host memory: write 64M or 64G"),
    (["update", "w1", "--mem", "3K"], 2, "'3K' is less than 1 MiB of host memory: write 64M or 2G"),
    (["run", "--mem", "2000T", "--", "x"], 2, "'2000T' is more than any host can have: at most 1024T"),
    (["run", "--bid", "-1", "--", "x"], 2, "'-1' is too small or too large: write 0 to 1099511.627776 credits"),
    (["run", "--bid", "2000000", "--", "x"], 2, "'2000000' is too small or too large"),
    (["run", "--bid", "7.2/day", "--", "x"], 2, "is not an amount of credits"),
    (["run", "--slots", "4+4+4+4+4", "--", "x"], 2, "has 5 parts: at most four"),
    (["run", "--slots", f"{1 << 70}", "--", "x"], 2, "is none of the numbers there are"),
    (["mint", "ada", "--", "-5"], 2, "'-5' is not above 0"),
    (["top-up", "w1", "--", "-5"], 2, "'-5' is not above 0"),
    (["top-up", "w1", "2.5"], 0, "2.50 credits were added to what w1 may spend; it is pending"),
    (["cordon", "many"], 2, "'many' is not a valid integer"),
    (["cordon", "1048576"], 2, "1048576 is not in the range 0<=x<=1048575"),
    (["pin", "0"], 2, "0 is not in the range 1<=x"),
    (["--on", "far", "airlock"], 2, "`ssh far tegctl airlock`"),
    (["--on", "far", "verify"], 2, "`ssh far tegctl verify`"),
    (["--on", "far", "run", "--rank", "1", "--", "x"], 2, "`ssh far tegctl run --rank`"),
    (
        ["run", "--rank", "1", "--mem", "2G", "--", "x"],
        2,
        "--rank runs a job here at once, without the queue: --mem does not go",
    ),
    (["--ledger-on", "far", "up"], 2, "`ssh far tegctl up`"),
    (["--on", "far", "demo"], 2, "`ssh far tegctl demo`"),
    (["run"], 2, "Missing argument"),
    (["run", "-d", "--name", "job", "--slots", "4+1", "--", "x", "-y"], 0, "job"),
    (["run", "--", "x"], 3, "out"),
    (["run", "-d", "--file", "{file}", "--here", "--checkpoint-every", "30", "--", "x"], 0, "w1"),
    (["run", "--file", "/nowhere/at/all", "--", "x"], 2, "does not exist"),
    (["hosts"], 0, "n1    lost, drained"),
    (["hosts"], 0, "n2    up             8     4     1     0/0  0.0/0.0  3.00      61      0.500"),
    (["top"], 0, "4 of 8 GPUs free; 1 job holds slots; 0 waiting; tick 9; auction, 2.00 credits in escrow"),
    (["ps"], 0, "NAME  USER  STATE  AGE  GPUS  HOST  REASON"),
    (["agents"], 0, "NAME  USER  STATE  AGE  GPUS  HOST  REASON"),
    (["up", "--state", "x"], 2, "put it before the verb: `tegctl --state FOLDER up`"),
    (["ps", "-o", "json"], 2, "put it before the verb: `tegctl -o json ps`"),
    (["tenant", "show", "--on", "far"], 2, "`tegctl --on HOST tenant show`"),
    (["fly"], 2, "No such command 'fly'"),
]


@pytest.mark.parametrize(("args", "code", "text"), TABLE)
def test_the_table(state: Path, args: list[str], code: int, text: str) -> None:
    (state / "given").write_bytes(b"input")
    words = [arg.format(file=state / "given") for arg in args]
    result = CliRunner().invoke(command, ["--state", str(state), *words])
    assert text in result.output
    assert result.exit_code == code


FAULTS = [
    (["mint", "mallory", "1"], Exit.NO_PERMISSION, "user 5 is no operator"),
    (["tenant", "show", "nobody"], Exit.FAILED, "there is no tenant 'nobody', or you may not see it"),
    (["why", "nobody"], Exit.FAILED, "there is no job 'nobody'"),
    (
        ["submit", "{folder}/bad.toml"],
        Exit.CONFIG,
        r"in \[\[workload\]\] number 1: missing key `argv`; nothing was submitted",
    ),
    (["submit", "{folder}/empty.toml"], Exit.CONFIG, r"has no \[\[workload\]\] table"),
    (["submit", "{folder}/single.toml"], Exit.CONFIG, r"has no \[\[workload\]\] table"),
    (["submit", "{folder}/text.toml"], Exit.CONFIG, "text.toml is not written in TOML"),
    (["submit", "{folder}/far.toml"], Exit.CONFIG, "number 2: limit_ucr: expected a whole number >= 0"),
    (
        ["submit", "{folder}/taken.toml"],
        Exit.FAILED,
        r"number 2 was not submitted \(those before it were: .*\): .* is still pending or running",
    ),
    (
        ["run", "--file", "{folder}/a/in", "--file", "{folder}/b/in", "--", "x"],
        Exit.FAILED,
        "two of the files given with --file are called in",
    ),
    (
        ["run", "--file", "{folder}/large", "--", "x"],
        Exit.FAILED,
        "--file: 3072 KiB in 1 file are too much: at most 2048 KiB in 64 files",
    ),
    (["airlock"], Exit.UNAVAILABLE, r"its airlock side\) does not answer at .*airlock.sock: No such file or directory"),
    (["--state", "{folder}/nowhere", "leases"], Exit.UNAVAILABLE, "zone-ledger is not running: nobody answers at"),
    (["--state", "{folder}/nowhere", "agents"], Exit.UNAVAILABLE, "tegd is not running: nobody answers at"),
    (["--state", "{folder}/nowhere", "field"], Exit.UNAVAILABLE, "governor is not running: nobody answers at"),
    (["--state", "{folder}/" + "x" * 108, "leases"], Exit.UNAVAILABLE, "path too long"),
    (["--state", "{folder}/nowhere", "verify"], Exit.IO, "there is no file .*journal.sqlite: nothing was verified"),
    (["certs", "list", "--dir", "{folder}/nowhere"], Exit.CONFIG, "there is no certificate authority in"),
    (["certs", "init", "--dir", "{folder}/fresh", "--zone", "A b"], Exit.DATA, "'A b' cannot name a zone"),
]


@pytest.mark.parametrize(("args", "code", "text"), FAULTS)
def test_faults_carry_their_exit_code(state: Path, args: list[str], code: Exit, text: str) -> None:
    (state / "bad.toml").write_text("[[workload]]\nname = 'x'\n")
    (state / "empty.toml").write_text("")
    (state / "single.toml").write_text("workload = 3\n")
    (state / "text.toml").write_text("what\n")
    (state / "far.toml").write_text("[[workload]]\nargv = ['x']\n[[workload]]\nargv = ['x']\nlimit_ucr = -1\n")
    (state / "taken.toml").write_text("[[workload]]\nargv = ['x']\n[[workload]]\nargv = ['x']\nname = 'taken'\n")
    for folder in ("a", "b"):
        (state / folder).mkdir(exist_ok=True)
        (state / folder / "in").write_bytes(b"input")
    (state / "large").write_bytes(bytes(3 << 20))
    with pytest.raises(TegError, match=text) as error:
        command.main(["--state", str(state), *(arg.format(folder=state) for arg in args)], standalone_mode=False)
    assert error.value.exit_code is code
    assert error.value.hint


def test_programs_get_json_with_a_schema(state: Path) -> None:
    result = CliRunner().invoke(command, ["--state", str(state), "-o", "json", "leases"])
    assert json.loads(result.output) == {"schema": 1, "kind": "Leases", "items": [LEASE | {"job": "n1:"}]}


def test_what_is_run_is_what_was_said(state: Path) -> None:
    asked.clear()
    args = [
        "run",
        "-d",
        "--slots",
        "16+8",
        "--mem",
        "2GiB",
        "--cpu",
        "1.5",
        "--bid",
        "0.5",
        "--endow",
        "9",
        "--budget",
        "20",
        "--no-requeue",
        "--sla",
        "7",
    ]
    CliRunner().invoke(command, ["--state", str(state), *args, "--hook", "--", "train", "--fast"])
    spec = next(request.spec for request in asked if isinstance(request, control.Submit))
    assert (spec.argv, spec.sizes, spec.mem_bytes, spec.cpu_milli) == (("train", "--fast"), (4, 3), 2 << 30, 1500)
    assert (spec.limit_ucr, spec.endow_ucr, spec.sla_priority) == (500_000, 9_000_000, 7)
    assert (spec.budget_ucr, spec.requeue) == (20_000_000, False)
    assert spec.hook == control.Hook()


@pytest.mark.parametrize(
    ("bid", "limits"), [("0.5", (500_000, 0)), ("7.2/h", (0, 7_200_000)), ("20/H", (0, 20_000_000)), ("0", (0, 0))]
)
def test_a_bid_is_a_price_by_the_period_or_by_the_hour(state: Path, bid: str, limits: tuple[int, int]) -> None:
    asked.clear()
    CliRunner().invoke(command, ["--state", str(state), "run", "-d", "--bid", bid, "--", "x"])
    spec = next(request.spec for request in asked if isinstance(request, control.Submit))
    assert (spec.limit_ucr, spec.limit_hour_ucr) == limits


@pytest.mark.parametrize(("wanted", "said"), [("fixed", "--market fixed has no effect"), ("auction", "")])
def test_up_says_that_a_ledger_keeps_its_market(
    state: Path, wanted: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    up._say_of_market(Session(state, "table").client("ledger"), wanted)
    told = capsys.readouterr().out
    assert said in told if said else not told


def test_who_bids_at_fixed_prices_is_told_what_that_does(capsys: pytest.CaptureFixture[str]) -> None:
    session = cast("Session", SimpleNamespace(ask=lambda *_: {"market": "fixed"}))
    cost.say(session, "w1", 1, bids=True)
    assert "w1 was submitted; prices are fixed: its --bid is the most that it pays" in capsys.readouterr().err
    cost.say(session, "w1", 1)
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "costs at most 57.60 credits an hour at today's prices"),
        ({"named": True}, "costs at most 57.60 credits an hour"),
        ({"share_permille": 250}, "costs at most 3.60 credits an hour at today's prices"),
        ({"budget_ucr": 2_500_000}, "costs at most 57.60 credits an hour at today's prices, and 2.50 in all"),
    ],
)
def test_what_work_costs_at_most_is_said_by_the_hour(changes: dict[str, object], text: str) -> None:
    row = {"limit_ucr": 240_000, "slots": 4, "share_permille": 0, "period_ticks": 1200, "named": False, "budget_ucr": 0}
    assert cost.most(row | changes) == text


def test_a_file_submits_each_of_its_workloads(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "work.toml"
    file.write_text('[[workload]]\nargv = ["a"]\nname = "one"\n[[workload]]\nargv = ["b"]\nsizes = [2]\nname = "two"\n')
    result = CliRunner().invoke(command, ["--state", str(state), "submit", str(file)])
    assert result.output == "submitted one\nsubmitted two\n"


def test_every_verb_has_help(state: Path) -> None:
    group = CliRunner().invoke(command, ["--help"]).output
    verbs = [line.split()[0] for line in group.split("Commands:")[1].splitlines() if line.strip()]
    wanted = {
        "accounts",
        "book",
        "ps",
        "tenant",
        "update",
        "cancel",
        "cordon",
        "demo",
        "drain",
        "field",
        "governor",
        "hosts",
        "leases",
    }
    wanted |= {
        "airlock",
        "certs",
        "logs",
        "mint",
        "mode",
        "pin",
        "run",
        "submit",
        "top",
        "top-up",
        "uncordon",
        "undrain",
    }
    wanted |= {"unpin", "up", "verify", "why"}
    assert set(verbs) == wanted
    for verb in verbs:
        assert CliRunner().invoke(command, [verb, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("text", "count"), [("0", 0), ("1048576", 1 << 20), ("2048K", 2 << 20), ("1.5MiB", 3 << 19), ("3gb", 3 << 30)]
)
def test_sizes_as_people_write_them(text: str, count: int) -> None:
    assert Bytes().convert(text, None, None) == count


def test_slots_as_people_write_them() -> None:
    assert Slots().convert("16+8", None, None) == (4, 3)


def test_input_files_and_wishes_are_sent_along(state: Path) -> None:
    (state / "given").write_bytes(b"input")
    words = ["run", "-d", "--file", str(state / "given"), "--here", "--checkpoint-every", "30", "--", "x"]
    CliRunner().invoke(command, ["--state", str(state), *words])
    submitted = next(request for request in reversed(asked) if isinstance(request, control.Submit))
    assert submitted.files == {"given": b"input"}
    assert (submitted.spec.here, submitted.spec.checkpoint_every_s, submitted.spec.cwd) == (True, 30, "")


FAKE_SSH = """#!{python}
import os, sys
words = sys.argv[1:]
assert words[-2] == "--", words
if words[-1] == "nowhere":
    sys.exit("ssh: could not resolve nowhere")
here, there = words[words.index("-L") + 1].split(":")
os.symlink(there, here)
sys.stdin.read()
import time
time.sleep(30)
"""


def test_programs_of_another_machine_are_asked_through_ssh(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one thing that stands in for another: ssh itself, which brings a socket from one place to another."""
    ssh = tmp_path / "ssh"
    ssh.write_text(FAKE_SSH.format(python=sys.executable))
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    words = ["--state", str(tmp_path), "--remote-state", str(state)]
    result = CliRunner().invoke(command, [*words, "--on", "ops@far", "leases"])
    assert "n1:  7      ada     n2    4-7    held" in result.output
    with pytest.raises(UnavailableError, match="could not resolve nowhere"):
        command.main([*words, "--ledger-on", "nowhere", "leases"], standalone_mode=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a while")
def test_who_may_not_connect_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    os.seteuid(65534)
    try:
        with pytest.raises(PermissionDeniedError, match=r"zone-ledger at .* is another user's: Perm") as ledger:
            Session(tmp_path, "table").ask("ledger", control.Leases())
        with pytest.raises(PermissionDeniedError, match=r"the airlock side at .* does not hear this user") as airlock:
            seqpacket.ask(tmp_path / "run" / "airlock.sock", "hello")
    finally:
        os.seteuid(0)
    assert ledger.value.hint
    assert airlock.value.hint


def test_a_file_that_is_closed_ends_a_program_with_what_to_try(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def opens() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/some/file")

    monkeypatch.setattr(sys, "argv", ["opens"])
    with pytest.raises(SystemExit) as ending:
        run_program(opens)
    assert ending.value.code == Exit.NO_PERMISSION
    assert capsys.readouterr().err.startswith("error: /some/file: Permission denied\n  try: ")


def test_a_request_that_is_too_large_is_not_sent(tmp_path: Path) -> None:
    spec = control.WorkloadSpec(argv=("x" * CONTROL_BYTES_MAX,))
    with pytest.raises(RefusedError, match="the request has 4096 KiB: at most 4096"):
        ControlClient(tmp_path / "none.sock", "tegd").ask(control.Submit(spec=spec, key=1))


@pytest.mark.parametrize(
    ("words", "family", "text"),
    [
        (["issue", "ca"], RefusedError, "'ca' is the name of the authority itself"),
        (["issue", "No Name"], DecodeError, "cannot name a host"),
        (["issue", "n1", "--address", "h\u00f6st"], RefusedError, "is no address"),
        (["rotate", "--finish"], RefusedError, "no replacement of the authority is under way"),
        (["init"], RefusedError, "there is a certificate authority in"),
        (["list"], ConfigError, "other.pem is no certificate of this authority"),
    ],
)
def test_the_authority_says_what_is_wrong(tmp_path: Path, words: list[str], family: type[TegError], text: str) -> None:
    verb, *rest = words
    folder = ["--dir", str(tmp_path / "ca")]
    command.main(["certs", "init", *folder], standalone_mode=False)
    before = (tmp_path / "ca" / "ca.key").read_bytes()
    (tmp_path / "ca" / "other.pem").write_text("nothing")
    with pytest.raises(family, match=text) as error:
        command.main(["certs", verb, *folder, *rest], standalone_mode=False)
    assert error.value.hint
    assert (tmp_path / "ca" / "ca.key").read_bytes() == before


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (alone.Order(("true",), "", float("nan"), hook=False), "--rank nan is no number"),
        (alone.Order(("true",), "a/b", 1.0, hook=False), "'a/b' cannot name a job"),
        (alone.Order(("no-such-program",), "", 1.0, hook=False), "there is no program no-such-program on the PATH"),
    ],
)
def test_work_on_a_host_alone_is_refused_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: alone.Order, text: str
) -> None:
    systemd_run = tmp_path / "systemd-run"
    systemd_run.write_text("#!/bin/sh\nexit 1\n")
    systemd_run.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TegError, match=text):
        alone.start(order, tmp_path / "none.sock")


def test_work_on_a_host_alone_has_environment_mask_and_limits_of_where_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a file for the manager alone: its words are everybody's to see."""
    systemd_run = tmp_path / "systemd-run"
    systemd_run.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words\n')
    systemd_run.chmod(0o755)
    monkeypatch.setattr(alone, "RUNTIME", tmp_path / "run")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    env = {"FOO": 'a "b" $c `d` \\\ne', "HOME": "/home/ada"}
    before = os.umask(0o027)
    try:
        unit = alone.start(alone.Order(("true",), "a", 1.0, hook=True, env=env), tmp_path / "none.sock")
    finally:
        os.umask(before)
    words = (tmp_path / "words").read_text().splitlines()
    kept = tmp_path / "run" / f"{unit}.environment"
    assert {f"--property=EnvironmentFile={kept}", "--property=UMask=0027"} <= set(words)
    assert any(word.startswith("--property=LimitNOFILE=") for word in words)
    assert "FOO" not in "".join(words)
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert 'FOO="a \\"b\\" \\$c \\`d\\` \\\\\ne"\nHOME="/home/ada"\n' in kept.read_text()


def test_without_systemd_or_ssh_that_is_what_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="there is no systemd-run here"):
        alone.start(alone.Order(("true",), "", 1.0, hook=False), tmp_path / "none.sock")
    with pytest.raises(UnavailableError, match="far cannot be asked: there is no ssh here"):
        command.main(["--on", "far", "leases"], standalone_mode=False)


@pytest.mark.parametrize(
    ("url", "family", "text"),
    [
        (
            "mqtt://user:secret@127.0.0.1:1",
            UnavailableError,
            r"^no broker answers at 127\.0\.0\.1:1, which TEG_BROKER names: Connection refused",
        ),
        ("http://127.0.0.1", ConfigError, "is no address of a broker"),
    ],
)
def test_a_stack_whose_broker_is_away_says_so_at_once(
    tmp_path: Path, url: str, family: type[TegError], text: str
) -> None:
    stack = Stack(tmp_path / "stack", StackSettings(broker=url))
    with pytest.raises(family, match=text) as error:
        stack.start()
    assert error.value.hint
    stack.stop()


def test_a_part_that_dies_while_another_is_awaited_is_named(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "stack", StackSettings())
    lasts, dies = (["sh", "-c", words] for words in ("sleep 60", "echo its last words; exit 3"))
    stack._parts = {"tegd": _Part("tegd", lasts), "ledger": _Part("ledger", dies)}
    for part in stack._parts.values():
        stack._launch(part)
    with pytest.raises(UnavailableError, match=r"^ledger did not start; it said:\nits last words$") as error:
        stack._await_ready("tegd")
    assert error.value.hint.endswith("ledger.log")
