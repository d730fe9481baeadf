"""One small parser a kernel file: text in, numbers out. What is missing or garbled is an error that names the line."""

from typing import NamedTuple

from tegcore.errors import DecodeError


class CpuTimes(NamedTuple):
    """Jiffies of all processors since boot."""

    busy: int
    total: int


class NetBytes(NamedTuple):
    """Bytes of one interface since boot."""

    received: int
    sent: int


def _line(text: str, start: str, what: str) -> tuple[int, list[str]]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and words[0] == start:
            return number, words
    raise DecodeError(f"{what}: there is no line {start!r}")


def _number(word: str, what: str, line: int) -> int:
    if not word.isdecimal():
        raise DecodeError(f"{what}, line {line}: {word!r} is no number")
    return int(word)


def cpu_times(text: str) -> CpuTimes:
    """/proc/stat: the line of all processors; idle and iowait do not count as busy, guest time is in user time."""
    line, words = _line(text, "cpu", "/proc/stat")
    if len(words) < 9:
        raise DecodeError(f"/proc/stat, line {line}: {len(words)} words")
    times = [_number(word, "/proc/stat", line) for word in words[1:9]]
    total = sum(times)
    return CpuTimes(total - times[3] - times[4], total)


def memory_bytes(text: str) -> tuple[int, int]:
    """/proc/meminfo: (total, available) in bytes."""
    found = []
    for key in ("MemTotal:", "MemAvailable:"):
        line, words = _line(text, key, "/proc/meminfo")
        found.append(_number(words[1] if len(words) > 1 else "", "/proc/meminfo", line) << 10)
    return found[0], found[1]


def net_bytes(text: str) -> dict[str, NetBytes]:
    """/proc/net/dev: of each interface but the loopback."""
    found = {}
    for number, line in enumerate(text.splitlines()[2:], 3):
        name, colon, rest = line.partition(":")
        words = rest.split()
        if not colon or len(words) < 9:
            raise DecodeError(f"/proc/net/dev, line {number}: {len(words)} columns")
        if name.strip() != "lo":
            received, sent = (_number(words[column], "/proc/net/dev", number) for column in (0, 8))
            found[name.strip()] = NetBytes(received, sent)
    return found


def io_ms(text: str, devices: frozenset[str]) -> dict[str, int]:
    """/proc/diskstats: milliseconds that each of these whole devices was busy."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if len(words) < 14:
            raise DecodeError(f"/proc/diskstats, line {number}: {len(words)} columns")
        if words[2] in devices:
            found[words[2]] = _number(words[12], "/proc/diskstats", number)
    return found


def stall_us(text: str) -> int:
    """/proc/pressure/*: microseconds in which some task waited, since boot."""
    line, words = _line(text, "some", "/proc/pressure")
    total = next((word for word in words if word.startswith("total=")), "")
    return _number(total.removeprefix("total="), "/proc/pressure", line)


def integer(text: str) -> int:
    """A sysfs file of one number, which may be negative."""
    word = text.strip()
    if not word.removeprefix("-").isdecimal():
        raise DecodeError(f"line 1: {word[:40]!r} is no number")
    return int(word)


def milli(text: str) -> float:
    """A sysfs file of one number in thousandths, such as a temperature."""
    return integer(text) / 1000
