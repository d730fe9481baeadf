"""The demonstration: a small day of a market on this host, in about a minute.

Two tenants bring more work than the host's eight slots hold: hashing (`spin`), memory that grows (`grow`), and a 2 x 2
mesh (`mesh`). The slots fill; once first terms are over, in which nobody is displaced, a bid that beats every standing
limit, but not the friction of what it would displace, is refused; a mesh that bids enough displaces four; what was
displaced is saved, waits, and goes on from its checkpoint; a purse runs dry, and its work is parked until someone tops
it up. At the end every digest is compared with one that is computed here, and the journal is replayed.
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
from tegcore.units import MIB, credits_text
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
CAPTION_S = 3.5
"""Each caption stands so long at least, for it is read while the picture goes on."""
TOP_UP_UCR = 3_000_000

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
    Piece("whale", "bob", _spin(220), 400, 60_000),
    Piece("growing", "bob", ("grow", "--to-mib", "120", "--hold-s", "6"), 500, 8_000, mem_mib=24),
    Piece("pauper", "bob", _spin(200), 900, 900, mem_mib=512),
    Piece("light-1", "ada", _spin(180), 300, 3_000),
    Piece("light-2", "ada", _spin(180), 300, 3_000),
    Piece("light-3", "ada", _spin(180), 300, 3_000),
    Piece("light-4", "ada", _spin(180), 300, 3_000),
    Piece("light-5", "bob", _spin(180), 300, 3_000),
)
NUDGE = Piece("nudge", "ada", _spin(30), 310, 3_000)
SECOND_WAVE = (
    Piece("mesh", "ada", ("mesh", "--rounds", "80"), 1_000, 30_000, sizes=(2,)),
    Piece("late-1", "bob", _spin(30), 305, 3_000),
    Piece("late-2", "bob", _spin(30), 305, 3_000),
)


@dataclass
class Event:
    """One of the five things that the demonstration is there to show.

    Attributes:
        title: What it is.
        caption: What is to be seen when it happens: three lines of a terminal at most.
        at_s: When it happened; None: it has not yet.
    """

    title: str
    caption: str
    at_s: float | None = None


class Story:
    """The five events, as they happen, and the caption that is to be read now."""

    def __init__(self) -> None:
        self.queue = Event(
            "Jobs wait: all slots are taken",
            "Every slot of this host is taken, and {job} waits. It is not refused: it gets a slot when one is free, or "
            "when its bid is worth more than what runs.",
        )
        self.inertia = Event(
            "A higher bid that does not displace",
            "{job} bids {bid} credits a slot, more than the {least} of a running job, and still waits: to displace "
            "work costs friction on top, so that small bids move nothing.",
        )
        self.price = Event(
            "A second price",
            "{job} bids up to {bid} credits a slot and pays {price}: what the best bid that lost would have paid, and "
            "never its own. So it is safe to bid what a job is worth.",
        )
        self.eviction = Event(
            "A bid that does displace",
            "mesh needs four slots side by side, and bids enough for them: four jobs are preempted. Each is saved "
            "first, waits, and goes on later from its checkpoint.",
        )
        self.purse = Event(
            "A budget runs dry",
            "The budget of {job} is spent: it is saved and suspended, not lost. Its owner adds {more} credits, and it "
            "goes on from its checkpoint.",
        )
        self.events = (self.queue, self.inertia, self.price, self.eviction, self.purse)
        self._to_read: list[Event] = []
        self._read_since_s = 0.0

    def happened(self, event: Event, at_s: float, **told: str) -> None:
        """It is to be seen now; only the first time counts. What is told goes into its caption."""
        if event.at_s is None:
            event.at_s, event.caption = at_s, event.caption.format(**told)
            self._to_read.append(event)
            if len(self._to_read) == 1:
                self._read_since_s = at_s

    def now_read(self, now_s: float) -> Event | None:
        """The event whose caption stands; each has its time before the next takes its place."""
        while len(self._to_read) > 1 and now_s - self._read_since_s >= CAPTION_S:
            self._to_read.pop(0)
            self._read_since_s = now_s
        return self._to_read[0] if self._to_read else None

    def is_read(self, now_s: float) -> bool:
        """Whether the last caption has had its time."""
        self.now_read(now_s)
        return len(self._to_read) < 2 and now_s - self._read_since_s >= CAPTION_S


@dataclass
class Scene:
    """What is to be seen now; without a ledger, the parts are being started."""

    seconds: float
    workloads: list[dict[str, Any]] = field(default_factory=list)
    ledger: dict[str, Any] = field(default_factory=dict)
    decision: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    events: tuple[Event, ...] = ()
    caption: Event | None = None


class Demonstration:
    """Runs the scenario on a fresh stack, as slowly as what happens in it can be read.

    Args:
        folder: Where the stack and the summary go.
        broker: URL of a broker; empty: the built-in one.
        watch: Shown each scene.
    """

    def __init__(self, folder: Path, broker: str, watch: Callable[[Scene], None]) -> None:
        self._folder = folder
        self._watch = watch
        self._lines: list[str] = []
        self._starts = True
        self._seen: set[tuple[str, int, str]] = set()
        self._queued: set[str] = set()
        self._parked: set[str] = set()
        self._second_prices: set[int] = set()
        self._begun_s = self._started_s = time.monotonic()
        self.story = Story()
        self.first_picture_s = 0.0
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
            self._starts = False
            for tenant in ("ada", "bob"):
                mint = control.MintCredits(tenant=tenant, amount_ucr=TENANT_CREDITS * 1_000_000, key=fresh_key())
                self._session.ask("ledger", mint)
            self._submit(*FIRST_WAVE)
            self._until(lambda scene: _seated(scene) >= len(FIRST_WAVE), FIRST_WAVE_S)
            self._until(self._what_happened_is_read, FIRST_WAVE_S)
            self._until(self._first_terms_are_over, FIRST_WAVE_S)
            self._submit(NUDGE)
            self._until(lambda scene: scene.ledger["inertia_refusals"] > 0, FIRST_WAVE_S)
            self._until(self._what_happened_is_read, FIRST_WAVE_S)
            self._submit(*SECOND_WAVE)
            self._until(self._all_is_over, LIMIT_S)
            return self._summary()
        finally:
            self.stack.stop()

    def _say(self, line: str) -> None:
        self._lines.append(f"{self._now_s():5.1f} s  {line}")
        if self._starts:
            self._watch(Scene(self._now_s(), lines=self._lines))

    def _now_s(self) -> float:
        return time.monotonic() - self._started_s

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
            self._now_s(),
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
        self._tell(scene, reserve_ucr)
        scene.lines = self._lines
        scene.events, scene.caption = self.story.events, self.story.now_read(self._now_s())
        self.first_picture_s = self.first_picture_s or time.monotonic() - self._begun_s
        return scene

    def _tell(self, scene: Scene, reserve_ucr: int) -> None:
        """Say of each of the five events what is to be seen, when it is."""
        story, now_s = self.story, self._now_s()
        waiting = [row["name"] for row in scene.workloads if row["life"] in {"seeking", "ordered", "waiting"}]
        if waiting and _seated(scene) >= 1 << int(SETTINGS.host["log2_slots"]):
            story.happened(story.queue, now_s, job=waiting[0])
        if scene.ledger["inertia_refusals"]:
            bid, least = (credits_text(piece.limit * 1000) for piece in (NUDGE, FIRST_WAVE[-1]))
            story.happened(story.inertia, now_s, job=NUDGE.name, bid=bid, least=least)
        for row in scene.workloads:
            if reserve_ucr < row["price_ucr"] < row["limit_ucr"]:
                bid, price = credits_text(row["limit_ucr"]), credits_text(row["price_ucr"])
                story.happened(story.price, now_s, job=row["name"], bid=bid, price=price)
        if scene.ledger["evictions"]:
            story.happened(story.eviction, now_s)

    def _what_happened_is_read(self, _scene: Scene) -> bool:
        return self.story.is_read(self._now_s())

    def _first_terms_are_over(self, scene: Scene) -> bool:
        """Whether everybody who sits may be displaced."""
        granted = [row["granted_tick"] for row in self._session.ask("ledger", control.Leases()) if row["lease"]]
        over = max(granted, default=0) + MARKET["period_ticks"] * MARKET["term_periods"]
        return bool(over < scene.ledger["tick"])

    def _all_is_over(self, scene: Scene) -> bool:
        for row in scene.workloads:
            if row["life"] == "parked":
                self._parked.add(row["name"])
                top_up = control.TopUpWorkload(name=row["name"], amount_ucr=TOP_UP_UCR, key=fresh_key())
                self._session.ask("tegd", top_up)
                self._say(f"{row['name']}: its owner tops it up")
                self.story.happened(self.story.purse, self._now_s(), job=row["name"], more=credits_text(TOP_UP_UCR))
        return all(row["life"] == "ended" for row in scene.workloads) and self._what_happened_is_read(scene)

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
            "first_picture_s": round(self.first_picture_s, 1),
            "shown": {event.title: event.at_s and round(event.at_s, 1) for event in self.story.events},
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
