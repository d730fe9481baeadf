"""Observe and act: the same shortage of memory on two hosts, of which one only says what it would do."""

from collections.abc import Callable
from pathlib import Path

import pytest
from vm.guest import Guest
from vm.host import Host

WORK = """
import sys, time
held, mib, random = [], int(sys.argv[1]), open("/dev/urandom", "rb")
while len(held) < mib:
    held.append(random.read(4096) + b"-" * (1 << 20) if sys.argv[2] == "soft" else random.read(1 << 20))
    time.sleep(float(sys.argv[3]))
for second in range(int(sys.argv[4])):
    time.sleep(1)
    print("beat", second, sum(page[5000] for page in held) and len(held), flush=True)
print("done", len(held), flush=True)
"""
"""Grows by a MiB a pause, then rests. Soft memory compresses, hard does not."""


@pytest.fixture(params=["observe", "act"])
def host(request: pytest.FixtureRequest, boot: Callable[..., Guest], installed: Path) -> Host:
    guest = boot(installed)
    made = Host(guest)
    guest.run(f"sed -i 's/^mode = .*/mode = \"{request.param}\"/' /etc/teg/airlock.toml")
    guest.run("systemctl start teg-zram tegd")
    guest.write("/usr/local/bin/work.py", WORK)
    return made


def test_only_who_acts_freezes(host: Host, request: pytest.FixtureRequest) -> None:
    guest, acting = host.guest, host.tegctl("airlock")["memory"]["mode"] == "act"
    start = "cd /tmp && tegctl run --detach --rank {} --name {} -- python3 /usr/local/bin/work.py {}"
    guest.run(start.format(1, "weaker", "250 soft 0 60"))
    guest.until(lambda: "beat" in journal(host, "weaker"), 90, "the weaker has grown")
    guest.run(start.format(2, "stronger", "560 hard 0.1 5"))
    frozen = False

    def over() -> bool:
        nonlocal frozen
        frozen = frozen or any("teg-weaker" in path for path in host.frozen())
        return "done" in journal(host, "stronger")

    guest.until(over, 280, "the stronger is done")
    guest.until(lambda: "done" in journal(host, "weaker"), 200, "the weaker is done")
    decisions = host.tegctl("airlock")["memory"]["history"]
    wanted = [act for entry in decisions for act in entry["acts"]]
    assert any(act.endswith("teg-weaker.service") for act in wanted), decisions
    assert frozen is acting
    assert all("observed only" in entry["why"] for entry in decisions if entry["acts"]) is not acting
    assert host.frozen() == []
    guest.close()


def journal(host: Host, name: str) -> str:
    return host.guest.run(f"journalctl --no-pager -o cat _SYSTEMD_UNIT=teg-{name}.service")
