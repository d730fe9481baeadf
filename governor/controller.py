"""The governor's core: telemetry and digests in; field, rates and certificates out. It gives no orders to any agent.

Telemetry that is wrong, missing, late or not finite never reaches a broadcast: a sample outside its bounds is counted
and passed over, and a field that does not come out finite is replaced by the last good one, which says how old it is.
"""

import math
import zlib
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from governor.barrier import Barrier, MassFit, Verdict, judge
from governor.gp.posterior import Hyperparameters, Posterior
from governor.landau import Landau, free_energy, order_parameter
from governor.phase import FIELD, REYNOLDS_LENGTH_SLOTS, Phase, Thresholds, classify, entropy_rate, reynolds
from tegcore.economics.cap import base_price, price_cap
from tegcore.economics.energy import Energy
from tegcore.errors import DecodeError
from tegcore.field.entropy import entropy
from tegcore.field.geometry import block_centre
from tegcore.field.potential import FieldFrame, clipped, evaluate
from tegcore.units import CLASS_COUNT_MAX
from tegcore.wire.messages import EPOCH_MAX, Digest, Motion, Telemetry
from tegcore.wire.records import Admit, Region, SetCap, SetRates, SetReserve

HOSTS_PER_BATCH_MAX = 5000
HOST_SILENT_TICKS = 100
FIELD_EVERY_TICKS = 5
CHANGED_SHARE = 0.02
CAP_REGIONS_LOG2 = 4
"""A zone has caps for 2^4 regions."""

FRICTION_CHANGED_SHARE = 0.05
CLOSED_TICKS = 2 * FIELD_EVERY_TICKS
"""Admission is closed for this long, unless the next micro-batch says so again."""

SMOOTHING = 0.02
"""Share of a tick in the running means of attempts and unmet demand: a time constant of 50 ticks."""


G_MAX = 20.0
"""Of the order parameter: at exp(20) nothing moves, and nothing that is told of it leaves its range."""

SLOT_W_MAX = 5000.0
"""No slot draws more: a sensor that says so is not believed."""


class Policy(NamedTuple):
    """What an epoch's rates are made of (DESIGN 8).

    Attributes:
        friction: gamma_0: friction is gamma_0 exp(g).
        temperature: T of the agents' noise.
        tax_permille: tax_0: holding tax is max(g, 0) tax_0.
        subsidy_permille: sub_0: subsidy is max(-g, 0) sub_0.
        cost_weight: lambda of the cost J (20).
        energy: None where reserves stay as rated.
    """

    mu_ucr: int
    gas_ucr: int
    burn_permille: int
    mem_k_ucr: int
    cpu_k_ucr: int
    peg: int
    friction: float = 1.0
    temperature: float = 0.5
    tax_permille: int = 200
    subsidy_permille: int = 100
    subsidy_ucr_max: int = 0
    cost_weight: float = 1.0
    energy: Energy | None = None


class Decision(NamedTuple):
    """What an epoch decided, and why: the certificate."""

    epoch: int
    tau: int
    phase: Phase
    reynolds: float
    entropy_rate: float
    g: float
    free_energy: float
    barrier: float
    bound: str
    cost: float
    stale: int


@dataclass(slots=True)
class _HostView:
    """What is known of a host: when it was heard, its entropy, its agents and how many of them seek."""

    tick: int
    position: tuple[float, float]
    entropy: float
    agents: int
    ghosts: int
    attempts: float
    temperature_c: float
    slots: int
    slot_class: int
    power_w: float


@dataclass
class Controller:
    """The governor of one zone.

    Attributes:
        paused: g is held at 0.
        rejected: Samples passed over.
    """

    epoch_ticks: int
    policy: Policy
    hyper: Hyperparameters = field(default_factory=Hyperparameters)
    law: Landau = field(default_factory=Landau)
    thresholds: Thresholds = field(default_factory=Thresholds)
    barrier: Barrier = field(default_factory=Barrier)
    verdict: Verdict = field(default_factory=lambda: judge(0.0, 0.0, 0.0, Barrier()))
    paused: bool = False
    rejected: int = 0
    digest: Digest | None = None
    phase: Phase = Phase.LAMINAR
    decision: Decision | None = None
    frame: FieldFrame | None = None
    frame_tick: int = 0
    _posterior: Posterior | None = None
    _hosts: dict[str, _HostView] = field(default_factory=dict)
    _fresh: set[str] = field(default_factory=set)
    _sent: FieldFrame | None = None
    _sent_tick: int = 0
    _attempts: float = 0.0
    _unmet: float = 0.0
    _epoch: int = 0
    _last_decided: int = -1
    _watched: tuple[int, float, float] | None = None
    _mass: MassFit | None = None
    _sent_friction: float = 0.0

    # --- in ---------------------------------------------------------------------------------------------------------

    def hear(self, telemetry: Telemetry) -> None:
        """Take in a host's telemetry; the latest sample counts, if it is within its bounds."""
        try:
            region = Region.unpacked(Region(telemetry.base, telemetry.log2_slots).packed())
        except DecodeError:
            self.rejected += 1
            return
        sample = telemetry.samples[-1] if telemetry.samples else None
        motion = telemetry.motion
        if sample is None or len(telemetry.samples) > HOSTS_PER_BATCH_MAX or not _sane_motion(motion):
            self.rejected += 1
            return
        levels = (sample.cpu, sample.memory, sample.io, sample.network)
        shares = np.array([[*levels, sample.accelerator, sample.heat, sample.fragmentation]])
        known = shares[np.isfinite(shares)]
        if np.isinf(shares).any() or (known < 0).any() or (known > 1).any() or known.size == 0:
            self.rejected += 1
            return
        tick = self.digest.tick if self.digest else 0
        attempts = motion.attempts_slots / motion.ticks if motion.ticks > 0 else 0.0
        attempts = min(attempts, REYNOLDS_LENGTH_SLOTS * motion.agents)
        value = float(entropy(shares)[0])
        self._hosts[telemetry.host] = _HostView(
            tick,
            block_centre(region),
            value,
            motion.agents,
            motion.ghosts,
            attempts,
            sample.temperature_c,
            region.slots,
            telemetry.slot_class,
            sample.power_w,
        )
        self._fresh.add(telemetry.host)

    def hosts(self) -> dict[str, dict[str, float | None]]:
        """What was heard of each host last, and how many ticks ago; None where there is no such sensor."""
        tick = self.digest.tick if self.digest else 0
        return {
            name: {
                "entropy": view.entropy,
                "temperature_c": view.temperature_c if math.isfinite(view.temperature_c) else None,
                "ticks_ago": tick - view.tick,
            }
            for name, view in sorted(self._hosts.items())
        }

    def take(self, digest: Digest, side: float) -> None:
        """Take in a zone's digest: a tick has passed."""
        if self.digest is not None and digest.tick <= self.digest.tick:
            return
        self.digest = digest
        if self._posterior is None:
            self._posterior = Posterior(side, self.hyper)
        living = [host for host in self._hosts.values() if digest.tick - host.tick <= HOST_SILENT_TICKS]
        agents = sum(host.agents for host in living)
        attempts = sum(host.attempts for host in living) / agents if agents else 0.0
        self._attempts += SMOOTHING * (attempts - self._attempts)
        wanted = max(digest.demand_slots, sum(host.ghosts for host in living))
        unmet = wanted / digest.slots if digest.slots else 0.0
        self._unmet += SMOOTHING * (unmet - self._unmet)

    def watch(self) -> Admit | None:
        """Each micro-batch: what the barrier asks for (28); an order to close admission, if friction cannot do it."""
        digest = self.digest
        if digest is None or digest.tick % FIELD_EVERY_TICKS:
            return None
        if self._mass is None:
            self._mass = MassFit(self.barrier.mass)
        now, (tick, before, rate_before) = self._reynolds(digest), self._watched or (digest.tick - 1, 0.0, 0.0)
        if tick == digest.tick:
            return None
        rate = (now - before) / (digest.tick - tick) if self._watched else 0.0
        acceleration = (rate - rate_before) / (digest.tick - tick)
        self._mass.see(self.friction, rate_before, acceleration)
        at = self.barrier._replace(mass=self._mass.mass)
        self.verdict = judge(now, rate, acceleration + self.friction * rate / at.mass, at)
        self._watched = (digest.tick, now, rate)
        if self.paused or not self.verdict.closed:
            return None
        return Admit(0, digest.tick + CLOSED_TICKS)

    def _reynolds(self, digest: Digest) -> float:
        agents = sum(host.agents for host in self._hosts.values() if digest.tick - host.tick <= HOST_SILENT_TICKS)
        return reynolds(agents, digest.slots, self._attempts)

    # --- out --------------------------------------------------------------------------------------------------------

    def project(self) -> FieldFrame | None:
        """The field, if it is time and it has changed enough, or an epoch has passed since it was sent last."""
        digest = self.digest
        if digest is None or self._posterior is None or digest.tick % FIELD_EVERY_TICKS:
            return None
        self._refit(digest.tick)
        if self.frame is None:
            return None
        overdue = digest.tick - self._sent_tick >= self.epoch_ticks
        braked = abs(self.friction - self._sent_friction) > FRICTION_CHANGED_SHARE * self._sent_friction
        if self._sent is not None and not (overdue or braked or _changed(self._sent, self.frame)):
            return None
        self._sent, self._sent_tick, self._sent_friction = self.frame, digest.tick, self.friction
        return self.frame

    def _refit(self, tick: int) -> None:
        assert self._posterior is not None
        names = sampled(sorted(self._fresh), tick)
        if not names:
            return
        positions = np.array([self._hosts[name].position for name in names])
        values = np.array([self._hosts[name].entropy for name in names])
        self._fresh.difference_update(names)
        self._posterior.observe(positions, values, tick)
        frame = self._posterior.frame()
        if (
            np.isfinite(frame.weights.value).all()
            and np.isfinite(frame.weights.rate).all()
            and math.isfinite(frame.mean)
        ):
            self.frame, self.frame_tick = frame, tick

    def decide(self) -> tuple[Decision, SetRates] | None:
        """At each epoch: phase, order parameter, and the rates that follow."""
        digest = self.digest
        if digest is None or digest.tick // self.epoch_ticks == self._last_decided:
            return None
        self._last_decided = digest.tick // self.epoch_ticks
        reynolds_now = self._reynolds(digest)
        entropy_now = entropy_rate(digest.used_rent_ucr, digest.reserve_ucr)
        self.phase = classify(self.phase, reynolds_now, entropy_now, self._unmet, self.thresholds)
        push = FIELD[self.phase]
        g = 0.0 if self.paused else max(-G_MAX, min(G_MAX, order_parameter(reynolds_now, push, self.law)))
        self._epoch = min(max(self._epoch, digest.epoch) + 1, EPOCH_MAX)
        landau = self.policy.friction * math.exp(g)
        braking = not self.paused and self.verdict.friction > landau
        friction = max(landau, self.verdict.friction) if braking else landau
        bound = "paused" if self.paused else "barrier" if braking or self.verdict.closed else "landau"
        cost = self._mean_entropy() + self.policy.cost_weight * friction * self._attempts**2
        self.decision = Decision(
            self._epoch,
            digest.tau,
            self.phase,
            reynolds_now,
            entropy_now,
            g,
            free_energy(g, reynolds_now, push, self.law),
            self.verdict.h,
            bound,
            cost,
            digest.tick - self.frame_tick,
        )
        return self.decision, self._rates(g)

    def _rates(self, g: float) -> SetRates:
        policy = self.policy
        return SetRates(
            self._epoch,
            policy.mu_ucr,
            round(max(g, 0.0) * policy.tax_permille),
            round(max(-g, 0.0) * policy.subsidy_permille),
            policy.subsidy_ucr_max,
            policy.gas_ucr,
            policy.burn_permille,
            policy.mem_k_ucr,
            policy.cpu_k_ucr,
            policy.peg,
        )

    def caps(self) -> list[SetCap]:
        """Price caps (6) of the zone's regions, by the field at their centres; none before there is a field."""
        digest, frame = self.digest, self.frame
        if digest is None or frame is None or digest.slots == 0 or digest.reserve_ucr == 0:
            return []
        log2 = max(0, 2 * (int(frame.side) - 1).bit_length() - CAP_REGIONS_LOG2)
        regions = [Region(base << log2, log2) for base in range(int(frame.side) ** 2 >> log2)]
        sample = evaluate(frame, np.array([block_centre(region) for region in regions]))
        caps = price_cap(base_price(digest.reserve_ucr / digest.slots), clipped(sample.value)).value
        return [SetCap(region.packed(), round(cap)) for region, cap in zip(regions, caps.tolist(), strict=True)]

    def reserves(self) -> list[SetReserve]:
        """Reserves by what slots of each class drew last, on average; of classes that nobody measures, none."""
        energy, digest = self.policy.energy, self.digest
        if energy is None or digest is None:
            return []
        drawn: dict[int, tuple[float, int]] = {}
        for host in self._hosts.values():
            sound = 0.0 < host.power_w <= SLOT_W_MAX * host.slots and 0 <= host.slot_class < CLASS_COUNT_MAX
            if sound and digest.tick - host.tick <= HOST_SILENT_TICKS:
                watts, slots = drawn.get(host.slot_class, (0.0, 0))
                drawn[host.slot_class] = watts + host.power_w, slots + host.slots
        return [
            SetReserve(kind, energy.reserve_ucr(watts / slots, self.policy.peg, kind))
            for kind, (watts, slots) in sorted(drawn.items())
        ]

    def sample(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Positions, shape (n, 2), and entropies, shape (n,), of the hosts that are heard: for hyperparameters."""
        hosts = list(self._hosts.values())
        return np.array([host.position for host in hosts]).reshape(-1, 2), np.array([host.entropy for host in hosts])

    def tune(self, hyper: Hyperparameters) -> None:
        """From now on the field is projected with these."""
        self.hyper = hyper
        if self._posterior is not None:
            self._posterior.tune(hyper)

    @property
    def friction(self) -> float:
        """Friction: gamma_0 exp(g), or more if the barrier asks for it; always above 0."""
        landau = self.policy.friction * math.exp(self.decision.g if self.decision else 0.0)
        return landau if self.paused else max(landau, self.verdict.friction)

    def _mean_entropy(self) -> float:
        return float(np.mean([host.entropy for host in self._hosts.values()])) if self._hosts else 0.0


def sampled(names: list[str], tick: int) -> list[str]:
    """At most 5,000 of the hosts, by a hash of host and time: each gets its turn."""
    rounds = -(-len(names) // HOSTS_PER_BATCH_MAX)
    if rounds <= 1:
        return names
    chosen = [name for name in names if (zlib.crc32(name.encode()) + tick // FIELD_EVERY_TICKS) % rounds == 0]
    return chosen[:HOSTS_PER_BATCH_MAX]


def _sane_motion(motion: Motion) -> bool:
    counted = 0 <= motion.ghosts <= motion.agents < 1_000_000
    return (
        counted and math.isfinite(motion.attempts_slots) and motion.attempts_slots >= 0 and math.isfinite(motion.mass)
    )


def _changed(before: FieldFrame, now: FieldFrame) -> bool:
    scale = max(1e-3, float(np.abs(before.weights.value).max()), abs(before.mean))
    moved = max(float(np.abs(now.weights.value - before.weights.value).max()), abs(now.mean - before.mean))
    return moved > CHANGED_SHARE * scale
