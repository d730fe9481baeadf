"""`tegctl run` as a command line: which words are options, and what of where it was typed goes with the work."""

import asyncio
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tegcore.errors import Exit, RefusedError
from tegcore.wire import control
from tegctl.main import command
from tegio.control import ControlServer, Peer

asked: list[control.AnyRequest] = []


async def answer(peer: Peer, request: control.AnyRequest) -> control.Reply:
    asked.append(request)
    if isinstance(request, control.Submit):
        told = {"name": "w1", "ref": 1, "overridden": sorted({"CUDA_VISIBLE_DEVICES"} & set(request.spec.env))}
        if request.spec.hook is not None and request.spec.argv[0] == "sh":
            told["warnings"] = ["the words that tell it to resume do not reach it"]
        return control.Reply(data=told)
    if isinstance(request, control.Why):
        return control.Reply(data={"market": "fixed"})
    if isinstance(request, control.Logs):
        return control.Reply(data={"bytes": b"out\n", "offset": 4, "exit_code": 0, "outcome": "exit code 0"})
    if isinstance(request, control.Why):
        return control.Reply(data={"market": "fixed"})
    return control.Reply(data=[])


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("state")
    (folder / "run").mkdir()
    loop = asyncio.new_event_loop()
    servers = [ControlServer(folder / "run" / f"{name}.sock", answer) for name in ("tegd", "ledger")]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    for server in servers:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    yield folder
    for server in servers:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    asked.clear()


def typed(state: Path, *words: str, **how: object) -> Result:
    return CliRunner().invoke(command, ["--state", str(state), *words], **how)  # type: ignore[arg-type]


def submitted() -> control.Submit:
    return next(request for request in reversed(asked) if isinstance(request, control.Submit))


# --- options ----------------------------------------------------------------------------------------------------------

WRONG = [
    (["run", "--slot", "4", "--", "echo", "x"], "--slot", "--slots"),
    (["run", "--nmae", "a", "echo"], "--nmae", "--name"),
    (["run", "--detatch", "echo"], "--detatch", "--detach"),
    (["run", "--gres", "gpu:4", "echo"], "--gres", "--gpus"),
    (["run", "--cpus-per-task=2", "echo"], "--cpus-per-task", "--cpu"),
    (["run", "--job-name", "a", "echo"], "--job-name", "--name"),
    (["why", "--jsno", "a"], "--jsno", ""),
]


@pytest.mark.parametrize(("words", "wrong", "right"), WRONG)
def test_an_unknown_option_is_an_error_with_the_nearest_right_one(
    state: Path, words: list[str], wrong: str, right: str
) -> None:
    result = typed(state, *words)
    assert result.exit_code == 2
    assert f"No such option '{wrong}'" in result.output.replace(f"No such option: {wrong}", f"No such option '{wrong}'")
    assert right in result.output
    assert not asked, "nothing was submitted, and no lease is paid"


def test_an_unknown_verb_is_an_error_with_the_nearest_right_one(state: Path) -> None:
    assert "'run'" in typed(state, "rnu", "echo").output


@pytest.mark.parametrize("option", ["--slots", "--gpus", "-G"])
def test_gpus_are_slots(state: Path, option: str) -> None:
    assert typed(state, "run", "-d", option, "4", "echo", "x").exit_code == 0
    assert submitted().spec.sizes == (2,)


ARGV = [
    (["run", "-d", "ls", "-d", "/tmp"], ("ls", "-d", "/tmp")),
    (["run", "-d", "--", "ls", "-d", "/tmp"], ("ls", "-d", "/tmp")),
    (["run", "-d", "sh", "-c", "echo $0", "--slots", "x"], ("sh", "-c", "echo $0", "--slots", "x")),
    (["run", "-d", "--slots", "2", "--", "--odd", "--", "-x"], ("--odd", "--", "-x")),
    (["run", "-d", "env", "--", "x"], ("env", "--", "x")),
]


@pytest.mark.parametrize(("words", "argv"), ARGV)
def test_options_end_at_the_first_word_that_is_none(state: Path, words: list[str], argv: tuple[str, ...]) -> None:
    result = typed(state, *words)
    assert result.exit_code == 0, result.output
    assert submitted().spec.argv == argv


# --- what goes with it ------------------------------------------------------------------------------------------------


def test_the_environment_goes_with_it(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOO", "bär\nbaz")
    monkeypatch.setenv("TEG_SLOTS", "0,1,2")
    typed(state, "run", "-d", "echo")
    env = submitted().spec.env
    assert (env["FOO"], env["PATH"]) == ("bär\nbaz", os.environ["PATH"])
    assert "TEG_SLOTS" not in env, "of the job that this one is started from"


EXPORTS = [
    (["--export=NONE"], {}),
    (["--export", "FOO"], {"FOO": "1"}),
    (["--export=FOO,NEW=x=y,GONE"], {"FOO": "1", "NEW": "x=y"}),
    (["--export=NONE", "--env", "A=1", "--env", "B="], {"A": "1", "B": ""}),
    (["--export=NONE", "--env", "FOO"], {"FOO": "1"}),
]


@pytest.mark.parametrize(("options", "env"), EXPORTS)
def test_what_of_the_environment_is_said_as_srun_says_it(
    state: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], env: dict[str, str]
) -> None:
    monkeypatch.setenv("FOO", "1")
    monkeypatch.delenv("GONE", raising=False)
    typed(state, "run", "-d", *options, "echo")
    assert submitted().spec.env == env


def test_all_and_more(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOO", "1")
    typed(state, "run", "-d", "--export=ALL,NEW=2", "--env", "FOO=3", "echo")
    env = submitted().spec.env
    assert (env["FOO"], env["NEW"], "PATH" in env) == ("3", "2", True)


@pytest.mark.parametrize("words", [["--env", "=x"], ["--export", "A B=x"], ["--env", "9=x"]])
def test_what_is_no_entry_of_an_environment_is_refused(state: Path, words: list[str]) -> None:
    with pytest.raises(RefusedError, match="cannot be the name of an environment variable"):
        command.main(["--state", str(state), "run", "-d", *words, "echo"], standalone_mode=False)
    assert not asked


def test_an_environment_that_is_too_large_is_refused_with_its_size(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LARGE", "x" * (130 << 10))
    words = ["--state", str(state), "run", "-d", "echo"]
    with pytest.raises(RefusedError, match=r"your environment has 1[3-9]\d KiB: at most 128") as error:
        command.main(words, standalone_mode=False)
    assert "--export" in error.value.hint
    assert error.value.exit_code is Exit.FAILED


def test_folder_mask_and_limits_go_with_it(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before, (soft, hard) = os.umask(0o027), resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    try:
        typed(state, "run", "-d", "echo")
    finally:
        os.umask(before)
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    spec = submitted().spec
    assert (spec.cwd, spec.umask, spec.limits["core"]) == (str(tmp_path), 0o027, 0)
    assert spec.limits["nofile"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    typed(state, "run", "-d", "--chdir", "/", "echo")
    assert submitted().spec.cwd == "/"


def of_a_shell(state: Path, line: str, **how: object) -> subprocess.CompletedProcess[str]:
    words = ["sh", "-c", line.replace("TEGCTL", f"{sys.executable} -m tegctl.main --state {state}")]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, **how)  # type: ignore[call-overload,no-any-return]


STDIN = [
    ("echo abc | TEGCTL run -d cat", b"abc\n"),
    ("printf '' | TEGCTL run -d cat", b""),
    ("TEGCTL run -d cat < {folder}/given", b"given"),
    ("TEGCTL run -d cat < /dev/null", None),
    ("TEGCTL run -d cat <&-", None),
    ("echo abc | TEGCTL run -d --input none cat", None),
    ("echo abc | TEGCTL run -d --input {folder}/given cat", b"given"),
]


@pytest.mark.parametrize(("line", "stdin"), STDIN)
def test_standard_input_goes_with_it(state: Path, tmp_path: Path, line: str, stdin: bytes | None) -> None:
    (tmp_path / "given").write_bytes(b"given")
    done = of_a_shell(state, line.format(folder=tmp_path))
    assert done.returncode == 0, done.stderr
    assert submitted().stdin == stdin


def test_more_of_a_standard_input_than_is_kept_is_refused_with_its_size(state: Path, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(3 << 20))
    by_file = of_a_shell(state, f"TEGCTL run -d cat < {tmp_path}/large")
    assert "its standard input has 3072 KiB: at most 1024" in by_file.stderr
    by_pipe = of_a_shell(state, "yes | TEGCTL run -d cat")
    assert "its standard input has more than 1024 KiB" in by_pipe.stderr
    assert not [request for request in asked if isinstance(request, control.Submit)]


def test_what_the_lease_says_instead_is_told(state: Path) -> None:
    result = typed(state, "run", "--env", "CUDA_VISIBLE_DEVICES=0,1,2,3", "echo")
    assert "CUDA_VISIBLE_DEVICES" in result.stderr
    assert "ignored" in result.stderr


def test_a_working_folder_that_is_gone_is_said(state: Path, tmp_path: Path) -> None:
    done = of_a_shell(state, "mkdir gone; cd gone; rmdir ../gone; TEGCTL run -d echo", cwd=tmp_path)
    assert done.returncode == Exit.FAILED
    assert "the working folder cannot be told" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_of_run_names_each_option_once() -> None:
    run = command.get_command(click.Context(command), "run")  # type: ignore[attr-defined]
    names = [name for param in run.params for name in param.opts]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("hooked", [True, False])
def test_a_shell_that_keeps_the_words_of_a_resume_to_itself_is_told(state: Path, *, hooked: bool) -> None:
    """Only where there is a resume."""
    result = typed(state, "run", "-d", *(["--hook"] if hooked else []), "--", "sh", "-c", "python a.py > out")
    assert result.exit_code == 0
    assert ("the words that tell it to resume" in result.output) is hooked
