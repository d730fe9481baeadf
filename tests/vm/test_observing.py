"""Observe and act: the same shortage of memory on two hosts, of which one only says what it would do."""

from collections.abc import Callable
from pathlib import Path

import pytest
from vm.guest import Guest
from vm.host import Host

WORK = """
import os, sys, time
held, mib, random = [], int(sys.argv[1]), open("/dev/urandom", "rb")
while len(held) < mib:
    held.append(random.read(4096) + b"-" * (1 << 20) if sys.argv[2] == "soft" else random.read(1 << 20))
    time.sleep(float(sys.argv[3]))
second = 0
while second < int(sys.argv[4]) and not os.path.exists("/run/enough"):
    time.sleep(1)
    print("beat", second, sum(page[5000] for page in held) and len(held), flush=True)
    second += 1
print("done", len(held), flush=True)
"""
"""Grows by a MiB a pause, then rests until it is enough. Soft memory compresses, hard does not."""
REST = 10_000
SMALL_MIB = 80
"""Of zRAM: little more than the reserve of slots."""


@pytest.fixture(params=["observe", "act"])
def host(request: pytest.FixtureRequest, boot: Callable[..., Guest], installed: Path) -> Host:
    guest = boot(installed)
    made = Host(guest)
    guest.run(f"sed -i 's/^mode = .*/mode = \"{request.param}\"/' /etc/teg/airlock.toml")
    guest.run("systemctl start teg-zram tegd")
    guest.write("/usr/local/bin/work.py", WORK)
    return made


@pytest.mark.vm_long
def test_only_who_acts_freezes(host: Host, request: pytest.FixtureRequest) -> None:
    guest, acting = host.guest, host.tegctl("airlock")["memory"]["mode"] == "act"
    start = "cd /tmp && tegctl run --detach --rank {} --name {} -- python3 /usr/local/bin/work.py {}"
    guest.run(start.format(1, "weaker", f"250 soft 0 {REST}"))
    guest.until(lambda: "beat" in journal(host, "weaker"), 90, "the weaker has grown")
    guest.run(start.format(2, "stronger", "560 hard 0.05 5"))
    frozen = False

    def over() -> bool:
        nonlocal frozen
        frozen = frozen or any("teg-weaker" in path for path in host.frozen())
        return "done" in journal(host, "stronger")

    guest.until(over, 280, "the stronger is done")
    guest.run("touch /run/enough")
    guest.until(lambda: "done" in journal(host, "weaker"), 200, "the weaker is done")
    decisions = host.tegctl("airlock")["memory"]["history"]
    wanted = [act for entry in decisions for act in entry["acts"]]
    assert any(act.endswith("teg-weaker.service") for act in wanted), decisions
    assert frozen is acting
    assert all("observed only" in entry["why"] for entry in decisions if entry["acts"]) is not acting
    assert host.frozen() == []
    guest.close()


def test_when_zram_is_full_the_weaker_is_saved_to_disk(boot: Callable[..., Guest], installed: Path) -> None:
    guest = boot(installed)
    host = Host(guest)
    guest.run("sed -i 's/^mode = .*/mode = \"act\"\\nprove = false/' /etc/teg/airlock.toml")
    guest.run(f"echo TEG_ZRAM_BYTES={SMALL_MIB << 20} >> /etc/teg/zram.env; systemctl start teg-zram tegd")
    start = (
        "systemd-run --quiet --unit={1} --slice=teg.slice --setenv=TEG_RANK={0} --property=StandardOutput=append:{2} "
        "--property=StandardError=append:{2} python3 /usr/local/bin/work.py {3}"
    )
    guest.write("/usr/local/bin/work.py", WORK)
    guest.run(start.format(1, "weaker", "/var/tmp/weaker", f"250 soft 0 {REST}"))
    guest.until(lambda: "beat" in guest.run("cat /var/tmp/weaker"), 90, "the weaker has grown")
    guest.run(start.format(2, "stronger", "/var/tmp/stronger", "560 hard 0.05 5"))
    least_kib, seen = SMALL_MIB << 10, set()

    def over() -> bool:
        nonlocal least_kib
        size, used = map(int, guest.run("awk '/zram/ { print $3, $4 }' /proc/swaps").split())
        least_kib = min(least_kib, size - used)
        seen.update(row["state"] for row in host.tegctl("airlock")["workloads"] if row["workload"] == "weaker.service")
        return "done 560" in guest.run("cat /var/tmp/stronger")

    guest.until(over, 280, "the stronger is done")
    guest.run("sleep 3; touch /run/enough")
    guest.until(lambda: "done 250" in guest.run("cat /var/tmp/weaker"), 200, "the weaker is done")
    beats = [line.split()[1] for line in guest.run("grep beat /var/tmp/weaker").splitlines()]
    print(f"zRAM of {SMALL_MIB} MiB: at least {least_kib >> 10} MiB were free; the weaker was {sorted(seen)}")
    assert beats == [str(second) for second in range(len(beats))], "each once: it went on where it was saved"
    assert "parked" in seen, host.tegctl("airlock")["memory"]["history"]
    assert guest.run("awk '/^oom_kill / { print $2 }' /proc/vmstat").strip() == "0"
    assert host.frozen() == []
    guest.close()


def journal(host: Host, name: str) -> str:
    return host.guest.run(f"journalctl --no-pager -o cat _SYSTEMD_UNIT=teg-{name}.service")
