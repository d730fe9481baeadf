"""Which shells are seen to keep the words of a resume to themselves, or the signal that asks for a save."""

import pytest

from tegcore.shells import empties, loses, unheard

HANDED_ON = [
    ["python", "train.py"],
    ["sh", "script.sh"],
    ["sh", "-c", 'exec python train.py "$@"', "sh"],
    ["sh", "-c", 'cd sub && exec python train.py "${@}" > out', "sh"],
    ["bash", "-lc", "exec python train.py $*", "bash"],
    ["bash", "-e", "-c", "exec python train.py $1", "bash"],
    ["bash", "-o", "pipefail", "-c", 'exec python train.py "$@"', "bash"],
    ["sh", "-c", "exec python train.py $TEG_RESUME_ARGS"],
    ["sh", "-c", "[ -n $TEG_RESUMING ] && exec python train.py --go-on; exec python train.py"],
    ["sh", "-c", "exec python train.py $0"],
    ["nice", "-n", "5", "sh", "-c", 'exec python train.py "$@"', "sh"],
    ["sh", "-c", 'trap "kill -USR1 $!" USR1; python train.py "$@" & wait', "sh"],
    ["python", "sh", "-v"],
    ["sh"],
    [],
]
KEPT = [
    ["sh", "-c", "exec python train.py"],
    ["/bin/sh", "-c", "cd sub && exec python train.py > out"],
    ["bash", "-lc", "python train.py"],
    ["env", "A=b", "bash", "-ec", "exec python train.py", "bash"],
    ["nice", "sh", "-c", "exec python train.py"],
    ["sh", "-c", 'exec python train.py "$@"'],
    ["sh", "-c", "exec python train.py $0", "sh"],
]


@pytest.mark.parametrize("argv", HANDED_ON)
def test_what_hands_them_on_is_not_spoken_of(argv: list[str]) -> None:
    assert loses(argv) == ""


@pytest.mark.parametrize("argv", KEPT)
def test_what_keeps_them_is_told(argv: list[str]) -> None:
    assert "keeps the words" in loses(argv)
    assert '"$@"' in loses(argv), "and what to write"


@pytest.mark.parametrize("text", ['python train.py "$@"; exit $?', 'cd sub && python train.py "$@" | tee out'])
def test_a_shell_that_stays_before_its_program_takes_the_signal(text: str) -> None:
    assert "goes to its shell" in loses(["sh", "-c", text, "sh"])
    assert unheard(["sh", "-c", text, "sh"]) == loses(["sh", "-c", text, "sh"])
    assert unheard(["sh", "-c", f"exec {text}"]) == ""


@pytest.mark.parametrize(
    ("text", "anew"),
    [
        ("exec a > out", True),
        ("exec a >out.log 2>&1", True),
        ("exec a 2> err", True),
        ("exec a >> out 2>&1", False),
        ("exec a > /dev/null", False),
        ("exec a 'b > c' \"d > e\"", False),
        ("exec a", False),
    ],
)
def test_an_output_that_begins_anew_is_told(text: str, *, anew: bool) -> None:
    assert bool(empties(["sh", "-c", text])) is anew
    assert empties(["a", "-c", text]) == ""
