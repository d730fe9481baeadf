"""What `tegctl up` brings up, in a folder of its own, at a chosen speed; and `tegctl` as a user types it.

Prices, friction and welcome are the shipped ones: only the market's times differ, so that a term passes in seconds.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from system.host import Host

from tegcore.wire import control
from tegctl.commands.verify import verified
from tegctl.demonstration import MARKET
from tegctl.stack import StackSettings

SHIPPED: Mapping[str, int] = {}
DEMO: Mapping[str, int] = MARKET
"""A period of 5 s, a term of 10 s, a notice of 3 s."""
LONG_NOTICE = {**DEMO, "notice_ticks": 160}
"""Time to act within a notice, on a busy machine too."""
SHORT_PERIODS = {**DEMO, "period_ticks": 20, "term_periods": 10}
"""A period of 1 s, all else as in `DEMO`."""
WELCOME_UCR = 1_000_000_000
COMMAND_S_MAX = 60.0
TICK_S = 0.05

GATED = 'echo begun >> "$TEG_NAME.runs"; while [ ! -e "$TEG_NAME.go" ]; do sleep 0.2; done; echo ok'
"""Work that notes each time it begins, and ends well once its test lets it."""


class Up(Host):
    """One host, and one user who has said nothing about money.

    Args:
        folder: Of its own; work runs in `work` there.
        speed: Settings of the ledger.
    """

    def __init__(self, folder: Path, slots: int, market: str, speed: Mapping[str, int]) -> None:
        log2 = (slots - 1).bit_length()
        zone = {"zone_k": max(1, -(-log2 // 2))}
        ledger = {**zone, "market": market, **speed}
        governor = zone | ({"epoch_ticks": speed["epoch_ticks"]} if speed else {})
        super().__init__(folder, StackSettings(ledger=ledger, governor=governor, host={"log2_slots": log2}))
        self.speed = speed
        self.folder = folder / "user"
        self.folder.mkdir()

    # --- what a user types ------------------------------------------------------------------------------------------

    def tegctl(self, *words: str) -> str:
        """What it prints; it must succeed."""
        command = [sys.executable, "-m", "tegctl.main", "--state", str(self.stack.state_dir), *words]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=COMMAND_S_MAX, check=False
        )
        assert done.returncode == 0, f"tegctl {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def run(self, name: str, *options: str, argv: Sequence[str] = ("sh", "-c", GATED)) -> str:
        return self.tegctl("run", "-d", "--name", name, *options, "--", *argv).strip()

    def why(self, name: str) -> dict[str, Any]:
        """As `tegctl -o json why` prints it."""
        return dict(json.loads(self.tegctl("-o", "json", "why", name))["items"])

    # --- what is seen -----------------------------------------------------------------------------------------------

    def life(self, name: str) -> str:
        return str(self.work(name)["life"])

    def runs(self, name: str) -> bool:
        row = self.work(name)
        return (row["life"], row["run"]) == ("seated", "running")

    def reasons(self, name: str) -> dict[str, dict[str, Any]]:
        """Why it waits, by reason, without the wait for a command line to start."""
        return {reason["reason"]: reason for reason in self.ask("tegd", control.Why(name=name))["reasons"]}

    def told(self, name: str) -> str:
        """All that its owner is told of it now."""
        said = self.ask("tegd", control.Why(name=name))
        return str((said["reasons"], said["history"], said["outcome"]))

    def lease(self, name: str) -> tuple[int, int]:
        row = self.work(name)
        return row["lease"], row["token"]

    def ledger(self) -> dict[str, Any]:
        return dict(self.ask("ledger", control.LedgerView()))

    def reserve_ucr(self) -> int:
        return max(row["reserve_ucr"] for row in self.ask("ledger", control.BookView()))

    def first_term_end(self, name: str) -> int:
        """The tick at which the first term of the lease of a workload is over."""
        number, _ = self.lease(name)
        rows = self.ask("ledger", control.Leases())
        granted = next(int(row["granted_tick"]) for row in rows if number and row["lease"] == number)
        return granted + self.speed["period_ticks"] * self.speed["term_periods"]

    def rich_bid(self) -> str:
        """60 times the reserve, as `--bid` takes it."""
        return f"{60 * self.reserve_ucr() / 1e6:.6f}"

    # --- time -------------------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], bool], limit_s: float, hold: tuple[str, ...] = ()) -> None:
        """See `Host.until`; a failure tells what has happened to all work."""
        try:
            super().until(condition, limit_s, hold)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story()}") from None

    def until_tick(self, tick: int, holds: Callable[[], bool] = lambda: True) -> None:
        """Let time pass up to a tick of the ledger, while a condition holds."""
        left_s = 3 * TICK_S * (tick - self.ledger()["tick"]) + 10
        end_s = time.monotonic() + left_s
        while self.ledger()["tick"] < tick:
            self.stack.tend()
            assert holds(), self.story()
            assert time.monotonic() < end_s, f"the ledger is not at tick {tick} after {left_s:.0f} s"
            time.sleep(0.1)

    def for_ticks(self, ticks: int, holds: Callable[[], bool]) -> None:
        """Let so many ticks pass while a condition holds."""
        self.until_tick(self.ledger()["tick"] + ticks, holds)

    def story(self) -> str:
        """What has happened to all work, for a failure."""
        lines = [f"ledger: {self.ledger()}"]
        for row in self.ask("tegd", control.Workloads()):
            said = self.ask("tegd", control.Why(name=row["name"]))
            lines.append(f"{row['name']}: {said['life']} {said['outcome']!r} limit {said['limit_ucr']}")
            lines += [f"  reason {reason}" for reason in said["reasons"]]
            lines += [f"  {step['tick']}  {step['text']}" for step in said["history"][-12:]]
        return "\n".join(lines)

    # --- gated work -------------------------------------------------------------------------------------------------

    def let_end(self, *names: str) -> None:
        for name in names:
            (self.folder / f"{name}.go").touch()

    def begun(self, name: str) -> int:
        """How often it was begun."""
        path = self.folder / f"{name}.runs"
        return len(path.read_text().splitlines()) if path.exists() else 0

    # --- what must always hold --------------------------------------------------------------------------------------

    def check(self) -> None:
        """Credits are conserved, and the journal replays to the same state."""
        ledger = self.ledger()
        money = ledger["credits"]
        assert money["minted"] == money["balances"] + money["escrow"] + money["evaporated"]
        assert verified(Path(ledger["journal"]), ledger)["replay_hash_equal"] is True


Maker = Callable[[int, str, Mapping[str, int]], Up]
"""Brings one up: slots, market, and the speed, `DEMO` by default."""
