"""What a shell given as `sh -c TEXT` does with words that are put after its own, and with a signal to it.

Work that is started again from its checkpoint is told so by words after its command (`--resume`) and by its environment
(`TEG_RESUMING`, `TEG_RESUME_ARGS`). To a shell, words after TEXT are `$0`, `$1`, ...: a TEXT that does not hand them on
keeps them, and the program begins from the start.
"""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import NamedTuple

_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "mksh", "ash"})
_POSITIONAL = re.compile(r"\$(?:[@*1-9]|\{[@*1-9])")
_NAME = re.compile(r"\$(?:0|\{0)")
_ANEW = re.compile(r"(?<![>=-])>(?![>&(=])(?!\s*/dev/)")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_LIST = re.compile(r"[;&|\n]")
_WITH_VALUE = ("-o", "+o", "-O", "+O")


class _Text(NamedTuple):
    """What a shell is to run, and how many words of its own come after it."""

    text: str
    after: int


def loses(argv: Sequence[str]) -> str:
    """Why a command that saves itself would not go on from its checkpoint, for people; empty: nothing is seen.

    Args:
        argv: The command, perhaps behind others that run it (`nice`, `env`).
    """
    if (found := _text(argv)) is None:
        return ""
    text, after = found
    reached = _POSITIONAL.search(text) if after else _NAME.search(text)
    if "TEG_RESUM" not in text and not reached:
        said = "hand them on, as `sh -c 'exec python train.py \"$@\"' sh`, or with `$TEG_RESUME_ARGS` in the text"
        return f"its shell keeps the words that tell it to resume (--resume) to itself, and it would begin anew: {said}"
    return unheard(argv)


def unheard(argv: Sequence[str]) -> str:
    """Why the signal that asks a command to save would not reach its program, for people; empty: nothing is seen."""
    found = _text(argv)
    if found is None or not _LIST.search(found.text) or re.search(r"\b(?:exec|trap)\b", found.text):
        return ""
    return (
        "the signal that asks it to save goes to its shell, not to its program, and is not answered: "
        "write `exec` before the program"
    )


def empties(argv: Sequence[str]) -> str:
    """Why what a command wrote would be gone when it is started again, for people; empty: nothing is seen."""
    found = _text(argv)
    if found is None or not _ANEW.search(_QUOTED.sub("", found.text)):
        return ""
    return "its shell empties the file that its output goes to when it is started again: write `>>` for `>`"


def _text(argv: Sequence[str]) -> _Text | None:
    """The text of the first shell in a command that is given one."""
    for at, word in enumerate(argv):
        if PurePath(word).name not in _SHELLS:
            continue
        given, rest = False, list(argv[at + 1 :])
        while rest and rest[0][:1] in ("-", "+") and rest[0] not in ("-", "--"):
            option = rest.pop(0)
            given = given or (option[0] == "-" and option[1:2] != "-" and "c" in option)
            if option in _WITH_VALUE and rest:
                rest.pop(0)
        if given and rest:
            return _Text(rest[1] if rest[0] == "--" and len(rest) > 1 else rest[0], len(rest) - 1)
        return None
    return None
