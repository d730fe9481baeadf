"""Telemetry: each kernel file whole and garbled, a host with everything and one with nothing, rates of two readings."""

import math
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegcore.errors import DecodeError
from tegd.telemetry import parsers
from tegd.telemetry.model import NAN, HostModel, RawSample, rates
from tegd.telemetry.parsers import CpuTimes, NetBytes
from tegd.telemetry.sample import READ_BYTES_MAX, Sampler, _Source

FIXTURES = Path(__file__).parents[1] / "fixtures"
DISKS = frozenset({"nvme0n1", "sda"})
SECOND_NS = 1_000_000_000


def _disks(text: str) -> dict[str, int]:
    return parsers.io_ms(text, DISKS)


FILES: list[tuple[str, Callable[[str], Any], Any, str]] = [
    ("proc/stat", parsers.cpu_times, CpuTimes(7055 + 10 + 4725 + 94 + 1050, 887031), "line 1: 'ten'"),
    ("proc/meminfo", parsers.memory_bytes, (16_000_000 << 10, 12_000_000 << 10), "no line 'MemAvailable:'"),
    ("proc/net/dev", parsers.net_bytes, {"eth0": (83522651, 145877), "veth1": (9999999999, 1)}, "line 3"),
    ("proc/diskstats", _disks, {"nvme0n1": 66040, "sda": 500}, "line 1: 6 columns"),
    ("proc/pressure/cpu", parsers.stall_us, 61058068, "line 1"),
    ("proc/pressure/memory", parsers.stall_us, 61058068, "no line 'some'"),
    ("sys/class/thermal/thermal_zone0/temp", parsers.milli, 41.0, "'N/A' is no number"),
    ("sys/class/hwmon/hwmon2/power1_average", parsers.integer, 120_500_000, "'1e9' is no number"),
]


@pytest.mark.parametrize(("name", "parse", "expected", "problem"), FILES, ids=[row[0] for row in FILES])
def test_each_kernel_file(name: str, parse: Callable[[str], Any], expected: Any, problem: str) -> None:
    assert parse((FIXTURES / "host" / name).read_text()) == expected
    with pytest.raises(DecodeError, match=problem):
        parse((FIXTURES / "host-garbled" / name).read_text())


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FILES), st.data())
def test_no_text_breaks_a_parser(row: tuple[str, Callable[[str], Any], Any, str], data: st.DataObject) -> None:
    """A file cut anywhere, or with anything in it, is numbers or a DecodeError."""
    whole = (FIXTURES / "host" / row[0]).read_text()
    at = data.draw(st.integers(0, len(whole)))
    text = (
        whole[:at]
        + data.draw(st.sampled_from(["", "\0", "-", " x ", "²", "\n"]))
        + whole[at:] * data.draw(st.booleans())
    )
    with suppress(DecodeError):
        row[1](text)


def test_a_host_with_everything() -> None:
    sampler = Sampler(FIXTURES / "host")
    raw = sampler.read(5)
    assert raw.at_ns == 5
    assert raw.temperature_c == 67.5, "the hottest, of zones and of monitors, `device/` or not"
    assert raw.power_w == 120.5, "the average alone where a meter has both"
    assert raw.energy_uj is None, "meters of the host come before those of its processors"
    assert raw.link_bytes_per_s == {"eth0": 1.25e9}, "a virtual link has no speed"
    assert raw.io_ms == {"nvme0n1": 66040, "sda": 500}, "whole disks, once"
    absent = {name for name, state in sampler.sources().items() if not state.startswith("present")}
    assert absent == {"accelerator"}


def test_a_host_with_nothing_names_each_absence_once(tmp_path: Path) -> None:
    sampler = Sampler(tmp_path)
    raw = sampler.read(0)
    assert raw[1:8] == (None,) * 7
    assert all(map(math.isnan, (raw.temperature_c, raw.power_w)))
    sources = sampler.sources()
    assert {"cpu", "memory", "network", "io", "cpu pressure", "temperature", "power"} <= set(sources)
    assert all(state.startswith("absent: ") for state in sources.values())


def test_what_is_garbled_from_the_start_is_absent_with_its_reason() -> None:
    sources = Sampler(FIXTURES / "host-garbled").sources()
    assert "proc/stat" in sources["cpu"]
    assert "line 1" in sources["cpu"]
    assert sources["io pressure"].startswith("absent: proc/pressure/io")
    assert not any(state.startswith("present") for state in sources.values())


def test_what_garbles_later_is_absent_for_that_sample_and_counted(tmp_path: Path) -> None:
    root = tmp_path / "host"
    shutil.copytree(FIXTURES / "host", root)
    sampler = Sampler(root)
    good = (root / "proc/meminfo").read_text()
    (root / "proc/meminfo").write_text("nonsense")
    assert sampler.read(1).memory is None
    assert "1 faults" in sampler.sources()["memory"]
    (root / "proc/meminfo").write_text(good)
    assert sampler.read(2).memory is not None


def test_a_list_of_the_kernel_is_read_beyond_its_first_page_and_cut_after_a_line() -> None:
    """A host may have more disks and links than a read gives at once."""
    first = _Source(Path("/proc/kallsyms"), str).read()
    whole = _Source(Path("/proc/kallsyms"), str, is_list=True).read()
    assert len(first) <= os.sysconf("SC_PAGE_SIZE") < len(whole) <= READ_BYTES_MAX
    assert whole.startswith(first)
    assert whole.endswith("\n")


def test_energy_of_which_a_part_is_missing_is_missing(tmp_path: Path) -> None:
    """Else the part that comes back would look like a huge power."""
    for package in (0, 1):
        meter = tmp_path / f"sys/class/powercap/intel-rapl:{package}"
        meter.mkdir(parents=True)
        (meter / "energy_uj").write_text("1000000\n")
    sampler = Sampler(tmp_path)
    assert sampler.read(1).energy_uj == 2_000_000
    (tmp_path / "sys/class/powercap/intel-rapl:1/energy_uj").write_text("")
    assert sampler.read(2).energy_uj is None


def raw(at_ns: int, **changes: Any) -> RawSample:
    base = RawSample(
        at_ns,
        CpuTimes(100, 1000),
        (1000, 750),
        {"eth0": NetBytes(0, 0)},
        {"a": 9000, "b": 10},
        0,
        0,
        0,
        50.0,
        NAN,
        0,
        {"eth0": 1e6},
    )
    return base._replace(**changes)


def model(**changes: Any) -> HostModel:
    return rates(raw(0), raw(SECOND_NS, **changes), 30.0, 90.0)


def test_rates_of_a_second() -> None:
    found = model(
        cpu=CpuTimes(125, 1100),
        net={"eth0": NetBytes(100_000, 400_000)},
        io_ms={"a": 9000, "b": 510},
        memory_stall_us=900_000,
        energy_uj=80_000_000,
    )
    assert found == (SECOND_NS, 0.25, 0.9, 0.5, 0.4, pytest.approx(1 / 3), 50.0, 80.0)


def test_the_busiest_disk_counts_not_the_oldest() -> None:
    assert model(io_ms={"a": 9000, "b": 10 + 1000}).io == 1.0


def test_pressure_counts_where_it_is_larger() -> None:
    assert model(cpu=CpuTimes(110, 1100), cpu_stall_us=600_000).cpu == 0.6
    assert model(cpu=CpuTimes(170, 1100), cpu_stall_us=600_000).cpu == 0.7


@pytest.mark.parametrize(
    ("absent", "field"),
    [
        ({"cpu": None}, "cpu"),
        ({"memory": None}, "memory"),
        ({"io_ms": None}, "io"),
        ({"net": None}, "network"),
        ({"link_bytes_per_s": {}}, "network"),
        ({"temperature_c": NAN}, "heat"),
        ({"energy_uj": None}, "power_w"),
    ],
)
def test_what_is_absent_is_not_a_number(absent: dict[str, Any], field: str) -> None:
    assert math.isnan(getattr(model(**absent), field))


def test_counters_that_ran_back_make_no_rate() -> None:
    found = rates(
        raw(0, cpu=CpuTimes(500, 2000), net={"eth0": NetBytes(10**9, 10**9)}, energy_uj=10**9, cpu_stall_us=10**9),
        raw(SECOND_NS),
        30.0,
        90.0,
    )
    assert (found.cpu, found.io, found.network) == (0.0, 0.0, 0.0)
    assert math.isnan(found.power_w)


_COUNT = st.integers(0, 2**64)


@settings(max_examples=200, deadline=None)
@given(st.lists(_COUNT, min_size=12, max_size=12), st.integers(0, 10**12))
def test_shares_stay_within_zero_and_one(counts: list[int], elapsed_ns: int) -> None:
    one, two = (
        raw(
            0,
            cpu=CpuTimes(part[0], part[1]),
            net={"eth0": NetBytes(part[2], part[3])},
            io_ms={"a": part[4]},
            cpu_stall_us=part[5],
        )
        for part in (counts[:6], counts[6:])
    )
    found = rates(one, two._replace(at_ns=elapsed_ns), 30.0, 90.0)
    assert all(0.0 <= share <= 1.0 for share in (found.cpu, found.memory, found.io, found.network, found.heat))
