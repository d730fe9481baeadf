"""How a unit that was saved is started again, so that it comes back as it was.

A unit is what the service manager was told of it, and its own command is started again: what is appended tells the
program to resume, and stands in its environment as well. That is right only where the process that saved is that
command. Behind a wrapper (`sh -c 'cd sub && exec python train.py'`, `nice`, `setpriv`) it is another: then that process
is made again as it was seen when it was asked to save, by `become`, as its user and with its user's rights alone.

A process writes its own command line. What replaced it by a title (setproctitle) is told by its form: one word, which
names no program. Such a one is started by the unit's own command; behind a wrapper there is nothing to append to, and
only the environment tells it to resume, which is said.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NamedTuple

from tegcore.shells import loses

RESUMING, RESUME_ARGS = "TEG_RESUMING", "TEG_RESUME_ARGS"
"""In the environment of what is started again from its checkpoint: `1`, and the words that its command got."""
_PREFIXES = "@-:+!|"
_KEPT = "-+!"
"""Of what may stand before a command: `@` and `:` are about its own words (systemd.service(5))."""
_INTERPRETER_WORDS_MAX = 2


class Way(StrEnum):
    """What is started."""

    OWN = "own"
    """The unit's own command, with the words that tell it to resume."""
    SEEN = "seen"
    """The process as it was when it was asked to save."""
    BARE = "bare"
    """The unit's own command, which its environment alone tells to resume."""


class Said(NamedTuple):
    """What the manager says of a unit.

    Attributes:
        command: Its one command, words with one space between.
        line: That command as its file has it; empty: `problem` says why.
        output: StandardOutput=, as its file has it.
        error: StandardError=, so too.
        files: What goes when the unit does, by path below the folder of units: of one that was made by `systemd-run`.
        stays: It is active even where no process is left (RemainAfterExit=).
        collects: The manager forgets it even when it failed.
        problem: Why it cannot be started again, for people.
    """

    command: str = ""
    line: str = ""
    output: str = ""
    error: str = ""
    files: dict[str, str] = {}  # noqa: RUF012 - never changed
    stays: bool = False
    collects: bool = False
    problem: str = ""


class Seen(NamedTuple):
    """What was to be seen of its main process when it was asked to save.

    Attributes:
        argv: Its command, as it says itself.
        titled: It says a title in place of a command.
        own_program: It runs the program of the unit's command, or what interprets that.
        lost: Streams that could not be opened again, for people.
    """

    argv: tuple[str, ...]
    titled: bool = False
    own_program: bool = False
    lost: str = ""


def way(said: Said, seen: Seen, words: tuple[str, ...]) -> Way:
    """What is to be started.

    Args:
        said: Of the unit.
        seen: Of its main process.
        words: What tells it to resume: it may have got them before.
    """
    line = " ".join(without(seen.argv, words))
    if line == said.command or _interpreted(line, said.command) or (seen.own_program and _blanked(line, said.command)):
        return Way.OWN
    if not seen.titled:
        return Way.SEEN
    return Way.OWN if seen.own_program else Way.BARE


def without(argv: tuple[str, ...], words: tuple[str, ...]) -> tuple[str, ...]:
    """A command less the words that it got when it was started again."""
    return argv[: -len(words)] if words and argv[-len(words) :] == words else argv


def note(chosen: Way, seen: Seen) -> str:
    """What people are to know of the comeback before it is needed; empty: nothing."""
    match chosen:
        case Way.OWN:
            return loses(seen.argv)
        case Way.BARE:
            return (
                "the program that saves is not the one that would be started again: behind a wrapper, it has a title "
                f"in place of its command; so the unit's own is started, and only ${RESUME_ARGS} tells it to resume"
            )
        case Way.SEEN:
            return seen.lost


def drop_in(chosen: Way, said: Said, words: tuple[str, ...], again: tuple[str, ...], context: str) -> str:
    """What the manager is told for this one start.

    Args:
        chosen: What is started.
        said: Of the unit.
        words: What tells it to resume.
        again: The command that makes a process as it was seen; it reads what was seen on its standard input.
        context: File that holds that.
    """
    lines = ["[Service]", *_outputs(said)]
    if chosen is Way.SEEN:
        prefix = "".join(sign for sign in _prefix(said.line) if sign in _KEPT)
        command = prefix + " ".join(map(word_of_command, again))
        lines.append(f"StandardInput=file:{context.replace('%', '%%')}")
        if said.output == "inherit":
            lines.append("StandardOutput=null")
    else:
        command = " ".join((said.line, *(map(word_of_command, words) if chosen is Way.OWN else ())))
        lines += (f"Environment={_quoted(entry)}" for entry in told(words))
    return "\n".join((*lines, "ExecStart=", f"ExecStart={command}", ""))


def told(words: tuple[str, ...]) -> tuple[str, str]:
    """What its environment tells who is to resume."""
    return f"{RESUMING}=1", f"{RESUME_ARGS}={' '.join(words)}"


def _outputs(said: Said) -> Iterable[str]:
    """What would begin an output anew, or write over it, appends."""
    for name, kind in (("StandardOutput", said.output), ("StandardError", said.error)):
        how, _, path = kind.partition(":")
        if how in ("file", "truncate"):
            yield f"{name}=append:{path}"


def _interpreted(line: str, command: str) -> bool:
    """Whether a command is a script, before which the kernel put what interprets it."""
    before = line.removesuffix(f" {command}")
    return command.startswith("/") and before != line and len(before.split()) <= _INTERPRETER_WORDS_MAX


def _blanked(line: str, command: str) -> bool:
    """Whether it is the command but for words that the program made unreadable, as a password."""
    pairs = list(zip(line.split(" "), command.split(" "), strict=False))
    equal = len(line.split(" ")) == len(command.split(" "))
    return equal and all(one == other or (one and len(set(one)) == 1) for one, other in pairs)


def _prefix(line: str) -> str:
    return line[: len(line) - len(line.lstrip(_PREFIXES))]


def values(texts: Iterable[str], wanted: str) -> list[str]:
    """What unit files give a service's setting, in the order in which the manager reads them (systemd.syntax(7)).

    An empty value empties the list that came before.
    """
    found: list[str] = []
    for text in texts:
        section = ""
        for line in _lines(text):
            if line.startswith("["):
                section = line
            name, sign, value = line.partition("=")
            if section == "[Service]" and sign and name.strip() == wanted:
                found = [*found, value.strip()] if value.strip() else []
    return found


def _lines(text: str) -> Iterable[str]:
    """Lines of a unit file: a backslash at its end puts the next one on, comments between them are passed over."""
    held = ""
    for line in text.split("\n"):
        if line.lstrip()[:1] in ("#", ";"):
            continue
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        yield (held + line).strip()
        held = ""
    if held:
        yield held.strip()


def command_said(shown: str) -> tuple[str, str, int]:
    """Program, words with one space between, and number of commands that `systemctl show -p ExecStart` gives."""
    count = shown.count(" ; ignore_errors=")
    path, _, rest = shown.strip().removeprefix("{ path=").partition(" ; argv[]=")
    return path, rest.rpartition(" ; ignore_errors=")[0], count


_ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"', ord("%"): "%%"}


def _quoted(word: str) -> str:
    """One word of a line of a unit (systemd.syntax(7)): also a CR would end the line."""
    return f'"{"".join(map(_escaped, word.encode(errors="surrogateescape")))}"'


def word_of_command(word: str) -> str:
    """One word of an ExecStart= line, where `$` would name a variable."""
    return _quoted(word).replace("$", "$$")


def _escaped(byte: int) -> str:
    return _ESCAPES.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}")


def data(said: Said) -> dict[str, Any]:
    """What the manager said, as JSON data."""
    return said._asdict()
