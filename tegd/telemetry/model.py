"""From two raw readings and the time between them to shares, in [0, 1]; NaN where there is no source.

Counters that ran back (a device went away, a counter wrapped) make a share of 0, not a negative one.
"""

from typing import NamedTuple

from tegcore.wire.messages import Sample
from tegd.telemetry import parsers

NAN = float("nan")


class RawSample(NamedTuple):
    """One reading: None, or NaN for levels, where there is no source.

    Attributes:
        net: Of the links whose speed is known.
        io_ms: Busy time of each disk.
        link_bytes_per_s: Speed of each of those links.
    """

    at_ns: int
    cpu: parsers.CpuTimes | None
    memory: tuple[int, int] | None
    net: dict[str, parsers.NetBytes] | None
    io_ms: dict[str, int] | None
    cpu_stall_us: int | None
    memory_stall_us: int | None
    io_stall_us: int | None
    temperature_c: float
    power_w: float
    energy_uj: int | None
    link_bytes_per_s: dict[str, float]


class HostModel(NamedTuple):
    """How used a host is: the larger of utilisation and pressure-stall share.

    Attributes:
        io: Of the busiest disk.
        network: Of the link that carries most for its speed, in its busier direction.
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


def _link_shares(before: RawSample, now: RawSample, elapsed_us: float) -> list[float]:
    assert before.net is not None
    assert now.net is not None
    shares = []
    for link, speed in now.link_bytes_per_s.items():
        if link in before.net and link in now.net:
            was, is_ = before.net[link], now.net[link]
            carried = max(is_.received - was.received, is_.sent - was.sent)
            shares.append(_share(carried, speed * elapsed_us / 1e6))
    return shares


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
        shared = before.io_ms.keys() & now.io_ms.keys()
        busy = max((_share((now.io_ms[disk] - before.io_ms[disk]) * 1000, elapsed_us) for disk in shared), default=0.0)
        io = max(busy, _stall(before.io_stall_us, now.io_stall_us, elapsed_us))
    if before.net is not None and now.net is not None:
        network = max(_link_shares(before, now, elapsed_us), default=NAN)
    if now.temperature_c == now.temperature_c:
        heat = _share(now.temperature_c - idle_c, critical_c - idle_c)
    if before.energy_uj is not None and now.energy_uj is not None and now.energy_uj >= before.energy_uj:
        power_w = (now.energy_uj - before.energy_uj) / max(elapsed_us, 1.0)
    return HostModel(now.at_ns, cpu, memory, io, network, heat, now.temperature_c, power_w)


def sample_of(model: HostModel) -> Sample:
    """The model as telemetry has it."""
    return Sample(
        model.at_ns,
        model.cpu,
        model.memory,
        model.io,
        model.network,
        NAN,
        model.heat,
        NAN,
        model.temperature_c,
        model.power_w,
    )
