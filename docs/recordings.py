"""What `docs/reference/money.md` shows of a real stack, printed by one: `make recordings`.

Each section brings up `tegctl up` in a state folder of its own, types what the page says, and puts what was printed
between the page's marks as it was printed. The first takes eleven minutes: its settings are the shipped ones.
"""

import getpass
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from docs.marks import put

PAGE = Path(__file__).parent / "reference" / "money.md"
QUICK = ("period_ticks=100", "term_periods=2", "renew_ticks=40", "grace_ticks=20", "notice_ticks=60")
"""A period of 5 s, a term of 10 s, a notice of 3 s."""
CLOCK = ("sh", "-c", "while :; do date; sleep 5; done")
MUTE = ("sh", "-c", "trap : USR1; while :; do sleep 1; done")
"""Takes the signal of a hook, and never makes its mark."""
LOOK_S = 0.5
START_S, SOON_S, BUDGET_S = 60.0, 120.0, 900.0


class Stack:
    """One `tegctl up`, and what a user types to it."""

    def __init__(self, folder: Path) -> None:
        self._state, self._folder = folder / "state", folder

    @contextmanager
    def up(self, *options: str) -> Iterator[None]:
        """It runs while this lasts."""
        command = self._command("up", "--set", "tegd.host=n1", *options)
        said = self._folder / "up.log"
        with said.open("wb") as log:
            running = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            self.until(lambda: "all parts answer" in said.read_text(), START_S)
            yield
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(START_S)

    def tegctl(self, *words: str) -> str:
        """What a command prints; it must succeed."""
        done = subprocess.run(self._command(*words), cwd=self._folder, capture_output=True, text=True, check=True)
        return done.stdout.strip("\n")

    def shows(self, pattern: str, limit_s: float) -> None:
        """Wait until `tegctl ps` shows this."""
        self.until(lambda: re.search(pattern, self.tegctl("ps")) is not None, limit_s)

    def until(self, holds: Callable[[], bool], limit_s: float) -> None:
        """Wait until a condition holds.

        Raises:
            TimeoutError: If it does not in time.
        """
        end_s = time.monotonic() + limit_s
        while not holds():
            if time.monotonic() > end_s:
                raise TimeoutError(f"not within {limit_s:.0f} s")
            time.sleep(LOOK_S)

    def log(self, name: str, text: str) -> str:
        """The first line of tegd's log that tells this of a job."""
        lines = (self._state / "tegd.log").read_text().splitlines()
        return next(line for line in lines if f"workload={name} " in line and text in line)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "tegctl.main", "--state", str(self._state), *words]


def budget(stack: Stack) -> Iterator[tuple[str, str]]:
    """A budget of ten periods, at fixed prices and with the settings as shipped."""
    with stack.up("--slots", "4"):
        stack.tegctl("run", "-d", "--name", "job", "--budget", "0.151670", "--", *CLOCK)
        stack.shows("its budget lasts", BUDGET_S)
        yield "budget ps low", stack.tegctl("ps")
        yield "budget why low", stack.tegctl("why", "job")
        yield "budget log low", stack.log("job", "budget lasts until")
        stack.shows(r"suspended.*short of", BUDGET_S)
        yield "budget ps parked", stack.tegctl("ps")
        yield "budget why parked", stack.tegctl("why", "job")
        yield "budget top-up", stack.tegctl("top-up", "job", "0.151670")
        stack.shows(r"running +\S+ +1 +n1 *$", SOON_S)
        yield "budget ps again", stack.tegctl("ps")
        yield "budget why again", stack.tegctl("why", "job")


def dry(stack: Stack) -> Iterator[tuple[str, str]]:
    """An account of 0.02 credits that two jobs live on, in the auction."""
    quick = [word for setting in (*QUICK, "ledger.welcome_credits=0.02") for word in ("--set", setting)]
    with stack.up("--slots", "4", "--market", "auction", *quick):
        for name in ("first", "second"):
            stack.tegctl("run", "-d", "--name", name, "--", *CLOCK)
            stack.shows(rf"{name} .*running", SOON_S)
        stack.shows("second .*lasts for", SOON_S)
        yield "dry ps low", stack.tegctl("ps")
        yield "dry why low", stack.tegctl("why", "second")
        yield "dry log low", stack.log("second", "lasts until")
        stack.shows("second .*pending.*less than", SOON_S)
        yield "dry ps gone", stack.tegctl("ps")
        yield "dry why gone", stack.tegctl("why", "second")
        yield "dry mint", stack.tegctl("mint", getpass.getuser(), "5")
        stack.shows("second .*running", SOON_S)
        yield "dry ps again", stack.tegctl("ps")


def save(stack: Stack) -> Iterator[tuple[str, str]]:
    """A hook that takes the signal and never marks, and a rival with a bid, in the auction."""
    with stack.up("--slots", "1", "--market", "auction", *(word for key in QUICK for word in ("--set", key))):
        stack.tegctl("run", "-d", "--name", "deaf", "--hook", "--", *MUTE)
        stack.shows("deaf .*running", SOON_S)
        time.sleep(12)  # in its first term nobody can displace it
        stack.tegctl("run", "-d", "--name", "rival", "--bid", "54.6/h", "--", *CLOCK)
        stack.shows("deaf .*preempted", SOON_S)
        yield "save ps notice", stack.tegctl("ps")
        yield "save why notice", stack.tegctl("why", "rival")
        stack.shows(r"rival .*running", SOON_S)
        yield "save ps after", stack.tegctl("ps")
        yield "save why after", stack.tegctl("why", "deaf")
        yield "save log after", stack.log("deaf", "hook did not save")


SECTIONS = {made.__name__: made for made in (budget, dry, save)}


def record(section: str) -> None:
    """Print a section anew, and put each part into the page as soon as it is there."""
    with tempfile.TemporaryDirectory(prefix="teg-recording-") as folder:
        for name, printed in SECTIONS[section](Stack(Path(folder))):
            PAGE.write_text(put(PAGE.read_text(), "recording", name, f"```\n{printed}\n```"))


if __name__ == "__main__":
    os.environ.pop("COLUMNS", None)
    for chosen in sys.argv[1:] or SECTIONS:
        record(chosen)
