"""The demonstration: a small day of a market on this host, in about a minute.

Two tenants bring more work than the host's eight slots hold: hashing (`spin`), memory that grows (`grow`), and a 2 x 2
mesh (`mesh`). The slots fill; a bid that beats every standing limit, but not the friction of what it would displace, is
refused; a mesh that bids enough displaces four; what was displaced is saved, waits, and goes on from its checkpoint;
a purse runs dry, and its work is parked until someone tops it up. At the end every digest is compared with one that is
computed here, and the journal is replayed.
"""

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tegcore.errors import RefusedError
from tegcore.units import MIB
from tegcore.wire import control
from tegctl.commands.verify import verified
from tegctl.samples.spin import unit
from tegctl.session import Session, fresh_key
from tegctl.stack import Stack, StackSettings

MARKET = {"period_ticks": 100, "term_periods": 2, "notice_ticks": 60, "epoch_ticks": 100}
PHYSICS = {"mu_credits": 0.05, "gas_credits": 0.001, "mem_k_credits": 1.0, "joules_per_credit": 45_500.0}
MEMORY = 4 << 30
TENANT_CREDITS = 200
LIMIT_S = 110.0
FIRST_WAVE_S = 15.0

SETTINGS = StackSettings(
    zone="demo",
    tenants=("ada", "bob"),
    ledger={"zone_k": 2, "market": "auction", "welcome_credits": 0.0, **MARKET, **PHYSICS},
    governor={"zone_k": 2, "epoch_ticks": MARKET["epoch_ticks"], **PHYSICS},
    host={"host": "demo-host", "log2_slots": 3, "mem_bytes": MEMORY},
)


@dataclass(frozen=True)
class Piece:
    """One workload of the demonstration: amounts in thousandths of a credit."""

    name: str
    tenant: str
    program: tuple[str, ...]
    limit: int
    endow: int
    sizes: tuple[int, ...] = (0,)
    mem_mib: int = 0

    def spec(self) -> control.WorkloadSpec:
        """As it is submitted."""
        module, *arguments = self.program
        return control.WorkloadSpec(
            argv=(sys.executable, "-m", f"tegctl.samples.{module}", *arguments),
            name=self.name,
            tenant=self.tenant,
            sizes=self.sizes,
            mem_bytes=self.mem_mib * MIB,
            cpu_milli=100,
            limit_ucr=self.limit * 1000,
            endow_ucr=self.endow * 1000,
            hook=control.Hook(),
        )


def _spin(units: int) -> tuple[str, ...]:
    return ("spin", "--units", str(units), "--pause-ms", "150")


FIRST_WAVE = (
    Piece("whale", "bob", _spin(160), 400, 60_000),
    Piece("growing", "bob", ("grow", "--to-mib", "120", "--hold-s", "6"), 500, 8_000, mem_mib=24),
    Piece("pauper", "bob", _spin(200), 900, 900, mem_mib=512),
    Piece("light-1", "ada", _spin(90), 300, 3_000),
    Piece("light-2", "ada", _spin(90), 300, 3_000),
    Piece("light-3", "ada", _spin(90), 300, 3_000),
    Piece("light-4", "ada", _spin(90), 300, 3_000),
    Piece("light-5", "bob", _spin(90), 300, 3_000),
)
NUDGE = Piece("nudge", "ada", _spin(30), 310, 3_000)
SECOND_WAVE = (
    Piece("mesh", "ada", ("mesh", "--rounds", "80"), 1_000, 30_000, sizes=(2,)),
    Piece("late-1", "bob", _spin(30), 305, 3_000),
    Piece("late-2", "bob", _spin(30), 305, 3_000),
)


@dataclass
class Scene:
    """What is to be seen now."""

    seconds: float
    workloads: list[dict[str, Any]] = field(default_factory=list)
    ledger: dict[str, Any] = field(default_factory=dict)
    decision: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


class Demonstration:
    """Runs the scenario on a fresh stack.

    Args:
        folder: Where the stack and the summary go.
        broker: URL of a broker; empty: the built-in one.
        watch: Shown each scene.
    """

    def __init__(self, folder: Path, broker: str, watch: Callable[[Scene], None]) -> None:
        self._folder = folder
        self._watch = watch
        self._lines: list[str] = []
        self._seen: set[tuple[str, int, str]] = set()
        self._queued: set[str] = set()
        self._parked: set[str] = set()
        self._second_prices: set[int] = set()
        self._started_s = time.monotonic()
        settings = StackSettings(**{**SETTINGS.__dict__, "broker": broker})
        self.stack = Stack(folder / "stack", settings, self._say)
        self._session = Session(self.stack.state_dir, "json")

    def run(self) -> dict[str, Any]:
        """Play it to its end; returns the summary.

        Raises:
            RefusedError: If something that must be seen was not.
        """
        try:
            self.stack.start()
            self._started_s = time.monotonic()
            for tenant in ("ada", "bob"):
                mint = control.MintCredits(tenant=tenant, amount_ucr=TENANT_CREDITS * 1_000_000, key=fresh_key())
                self._session.ask("ledger", mint)
            self._submit(*FIRST_WAVE)
            self._until(lambda scene: _seated(scene) >= len(FIRST_WAVE), FIRST_WAVE_S)
            self._submit(NUDGE)
            self._until(lambda scene: scene.ledger["inertia_refusals"] > 0, FIRST_WAVE_S)
            self._submit(*SECOND_WAVE)
            self._until(self._top_up_the_parked, LIMIT_S)
            return self._summary()
        finally:
            self.stack.stop()

    def _say(self, line: str) -> None:
        self._lines.append(f"{time.monotonic() - self._started_s:5.1f} s  {line}")

    def _submit(self, *pieces: Piece) -> None:
        for piece in pieces:
            self._session.ask("tegd", control.Submit(spec=piece.spec(), key=fresh_key()))

    def _until(self, reached: Callable[[Scene], bool], limit_s: float) -> None:
        until_s = time.monotonic() + limit_s
        while time.monotonic() < until_s:
            self.stack.tend()
            scene = self._look()
            self._watch(scene)
            if reached(scene):
                return
            time.sleep(0.25)

    def _look(self) -> Scene:
        scene = Scene(
            time.monotonic() - self._started_s,
            self._session.ask("tegd", control.Workloads()),
            self._session.ask("ledger", control.LedgerView()),
            self._session.ask("governor", control.GovernorView())["decision"] or {},
        )
        reserve_ucr = max((row["reserve_ucr"] for row in self._session.ask("ledger", control.BookView())), default=0)
        for row in scene.workloads:
            if row["life"] == "seeking":
                self._queued.add(row["name"])
            if row["price_ucr"] > reserve_ucr:
                self._second_prices.add(row["lease"])
            for step in self._session.ask("tegd", control.Why(name=row["name"]))["history"]:
                mark = (row["name"], step["tick"], step["text"])
                if mark not in self._seen and step["text"] != "accepted":
                    self._seen.add(mark)
                    self._say(f"{row['name']}: {step['text']}")
        scene.lines = self._lines
        return scene

    def _top_up_the_parked(self, scene: Scene) -> bool:
        for row in scene.workloads:
            if row["life"] == "parked":
                self._parked.add(row["name"])
                top_up = control.TopUpWorkload(name=row["name"], amount_ucr=3_000_000, key=fresh_key())
                self._session.ask("tegd", top_up)
                self._say(f"{row['name']}: its owner tops it up")
        return all(row["life"] == "ended" for row in scene.workloads)

    # --- the end ----------------------------------------------------------------------------------------------------

    def _summary(self) -> dict[str, Any]:
        scene = self._look()
        host = self._session.ask("tegd", control.Host())
        ledger = self._session.ask("ledger", control.LedgerView())
        replayed = verified(Path(ledger["journal"]), ledger)
        pieces = (*FIRST_WAVE, NUDGE, *SECOND_WAVE)
        right = {piece.name: self._finished_right(piece) for piece in pieces}
        sources = host["sources"]
        summary = {
            "orders": ledger["orders"],
            "leases": ledger["leases_granted"],
            "credits": {name: ledger["credits"][name] for name in ("minted", "balances", "escrow", "evaporated")},
            "ticks": ledger["tick"],
            "ticks_skipped": ledger["ticks_skipped"],
            "tick_lateness_ms": {name: ledger["tick_lateness_ms"][name] for name in ("p50", "p99")},
            "order_round_trip_ms": {name: host["order_round_trip_ms"][name] for name in ("p50", "p99")},
            "replay_hash_equal": replayed["replay_hash_equal"],
            "telemetry": {
                "present": sorted(name for name, state in sources.items() if state.startswith("present")),
                "absent": sorted(name for name, state in sources.items() if not state.startswith("present")),
            },
            "workloads": {row["name"]: row["outcome"] for row in scene.workloads},
            "finished_right": sum(right.values()),
            "queued": len(self._queued),
            "leases_above_reserve": len(self._second_prices),
            "evictions": ledger["evictions"],
            "inertia_refusals": ledger["inertia_refusals"],
            "bankruptcies": max(ledger["bankruptcies"], len(self._parked)),
            "expansions": host["expansions"],
            "epochs": self._session.ask("governor", control.GovernorView())["decision"]["epoch"],
            "seconds": round(scene.seconds, 1),
        }
        path = self._folder / "summary.json"
        path.write_text(json.dumps(summary, indent=2) + "\n")
        missing = _missing(summary, [name for name, fine in right.items() if not fine])
        if missing:
            raise RefusedError(
                "the demonstration did not show " + ", ".join(missing), f"read {path} and {self.stack.state_dir}"
            )
        return summary

    def _finished_right(self, piece: Piece) -> bool:
        """Whether a workload's last line says what its work must come to, however often it was moved."""
        parts = self._session.stream("tegd", control.Logs(name=piece.name))
        log = b"".join(part["bytes"] for part in parts).decode(errors="replace")
        last = log.strip().splitlines()[-1] if log.strip() else ""
        if piece.program[0] == "spin":
            units = int(piece.program[2])
            digest = ""
            for number in range(units):
                digest = unit(digest, number)
            return last == f"spin: {units} units, digest {digest[:16]}"
        return re.match(r"(grow: held 120 MiB|mesh: 80 rounds)", last) is not None


def _seated(scene: Scene) -> int:
    return sum(row["life"] == "seated" for row in scene.workloads)


def _missing(summary: dict[str, Any], wrong: list[str]) -> list[str]:
    credits_now = summary["credits"]
    conserved = credits_now["minted"] == sum(credits_now[name] for name in ("balances", "escrow", "evaporated"))
    shown = {
        "a queue": summary["queued"] > 0,
        "a second price": summary["leases_above_reserve"] > 0,
        "an eviction": summary["evictions"] > 0,
        "an eviction that inertia refuses": summary["inertia_refusals"] > 0,
        "a bankruptcy": summary["bankruptcies"] > 0,
        "a just-in-time expansion": summary["expansions"] > 0,
        "a replay that reaches the same state": summary["replay_hash_equal"] is True,
        "credits conserved": conserved,
        f"the right end of {', '.join(wrong)}": not wrong,
    }
    return [what for what, fine in shown.items() if not fine]
