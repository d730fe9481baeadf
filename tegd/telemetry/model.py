"""From two raw readings and the time between them to shares, in [0, 1]; NaN where there is no source.

Counters that ran back (a device went away, a counter wrapped) make a share of 0, not a negative one.
"""

from typing import NamedTuple

from tegd.telemetry.sample import NAN, RawSample

NET_BYTES_PER_S_MAX = 1.25e9
"""Taken for a host's network where links do not say: 10 Gbit/s."""


class HostModel(NamedTuple):
    """How used a host is: the larger of utilisation and pressure-stall share.

    Attributes:
        heat: (T - T_idle) / (T_crit - T_idle).
        temperature_c: Hottest sensor.
        power_w: Of all meters.
    """

    at_ns: int
    cpu: float
    memory: float
    io: float
    network: float
    heat: float
    temperature_c: float
    power_w: float


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0


def _stall(before: int | None, now: int | None, elapsed_us: float) -> float:
    return _share(now - before, elapsed_us) if before is not None and now is not None else 0.0


def rates(before: RawSample, now: RawSample, idle_c: float, critical_c: float) -> HostModel:
    """The model at the later of two readings.

    Args:
        before: The earlier reading.
        now: The later one.
        idle_c: Temperature that counts as no heat.
        critical_c: Temperature that counts as all of it.
    """
    elapsed_us = (now.at_ns - before.at_ns) / 1000
    cpu = memory = io = network = heat = NAN
    power_w = now.power_w
    if before.cpu and now.cpu:
        busy = _share(now.cpu.busy - before.cpu.busy, now.cpu.total - before.cpu.total)
        cpu = max(busy, _stall(before.cpu_stall_us, now.cpu_stall_us, elapsed_us))
    if now.memory:
        total, available = now.memory
        memory = max(_share(total - available, total), _stall(before.memory_stall_us, now.memory_stall_us, elapsed_us))
    if before.io_ms is not None and now.io_ms is not None:
        busy = _share((now.io_ms - before.io_ms) * 1000, elapsed_us)
        io = max(busy, _stall(before.io_stall_us, now.io_stall_us, elapsed_us))
    if before.net and now.net:
        carried = max(now.net.received - before.net.received, now.net.sent - before.net.sent)
        network = _share(carried / max(elapsed_us, 1.0) * 1e6, NET_BYTES_PER_S_MAX)
    if now.temperature_c == now.temperature_c:
        heat = _share(now.temperature_c - idle_c, critical_c - idle_c)
    if before.energy_uj is not None and now.energy_uj is not None and now.energy_uj >= before.energy_uj:
        power_w = (now.energy_uj - before.energy_uj) / max(elapsed_us, 1.0)
    return HostModel(now.at_ns, cpu, memory, io, network, heat, now.temperature_c, power_w)
