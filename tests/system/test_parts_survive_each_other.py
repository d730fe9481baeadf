"""Each part is killed at its work: the rest goes on, the part returns, nothing is lost, doubled or left frozen."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from system.host import Host

from tegcore.wire import control
from tegctl.commands.verify import verified
from tegctl.samples.spin import unit

pytestmark = pytest.mark.system

UNITS = 80
TERM_S = 10.0


def spin(units: int = UNITS) -> tuple[str, ...]:
    return (sys.executable, "-m", "tegctl.samples.spin", "--units", str(units), "--pause-ms", "150")


def digest_of(units: int) -> str:
    digest = ""
    for number in range(units):
        digest = unit(digest, number)
    return digest[:16]


def load(host: Host, count: int = 10) -> list[str]:
    return [
        host.submit(
            argv=spin(),
            name=f"work-{number}",
            tenant=("ada", "bob")[number % 2],
            limit_ucr=300_000 + number * 1000,
            endow_ucr=6_000_000,
            hook=control.Hook(),
        )
        for number in range(count)
    ]


def processes_of(host: Host) -> list[psutil.Process]:
    """Processes of the workloads of this stack, by their working folders."""
    folder = str(host.stack.state_dir / "work")
    return [
        process
        for process in psutil.process_iter(["cwd", "cmdline"])
        if (process.info["cwd"] or "").startswith(folder) and "tegctl.samples.spin" in (process.info["cmdline"] or [])
    ]


def no_slot_is_held_twice(host: Host) -> bool:
    held: set[int] = set()
    for lease in host.ask("ledger", control.Leases()):
        slots = (
            {slot for base, log2 in lease["blocks"] for slot in range(base, base + (1 << log2))}
            if lease["lease"]
            else set()
        )
        if slots & held:
            return False
        held |= slots
    return True


def credits_are_conserved(host: Host) -> bool:
    money = host.ask("ledger", control.LedgerView())["credits"]
    return money["minted"] == money["balances"] + money["escrow"] + money["evaporated"]


@pytest.mark.parametrize("part", ["ledger", "governor", "broker", "airlock", "tegd"])
def test_a_killed_part_returns_and_nothing_is_lost(host: Host, part: str) -> None:
    names = load(host)
    host.until(lambda: sum(host.work(name)["life"] == "seated" for name in names) == 8, 20)
    before = host.stack.pid(part)
    os.kill(before, signal.SIGKILL)
    host.until(lambda: host.stack.pid(part) != before, 10)
    host.until(lambda: host.ask("tegd", control.Host())["mode"] == "run", 30)
    host.until(
        lambda: bool(host.ask("ledger", control.LedgerView()) and host.ask("governor", control.GovernorView())), 30
    )
    assert no_slot_is_held_twice(host)
    assert credits_are_conserved(host)
    host.until(lambda: all(process.status() != psutil.STATUS_STOPPED for process in processes_of(host)), 5)
    host.until(lambda: all(host.work(name)["life"] == "ended" for name in names), 90)
    for name in names:
        assert host.log(name).strip().splitlines()[-1] == f"spin: {UNITS} units, digest {digest_of(UNITS)}", name
    assert credits_are_conserved(host)
    ledger = host.ask("ledger", control.LedgerView())
    assert ledger["credits"]["escrow"] == 0
    assert verified(Path(ledger["journal"]), ledger)["replay_hash_equal"] is True


def cpu_ns(process: psutil.Process) -> int:
    """What it has run for: finer than the clock ticks that psutil counts in."""
    return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0])


def test_a_lease_is_kept_to_its_term_and_not_past_it_while_the_ledger_is_away(host: Host) -> None:
    name = host.submit(argv=spin(140), tenant="ada", limit_ucr=300_000, endow_ucr=6_000_000, hook=control.Hook())
    host.until(lambda: host.work(name)["run"] == "running", 20)
    time.sleep(3)
    os.kill(host.stack.pid("ledger"), signal.SIGKILL)
    killed_s = time.monotonic()
    host.until(lambda: host.ask("tegd", control.Host())["mode"] == "limp", 10, hold=("ledger",))
    process = max(processes_of(host), key=cpu_ns)
    spent_ns = cpu_ns(process)
    while time.monotonic() - killed_s < TERM_S - 4:
        host.stack.tend(hold=("ledger",))
        time.sleep(0.2)
    assert process.is_running()
    assert cpu_ns(process) > spent_ns
    host.until(lambda: not processes_of(host), killed_s + TERM_S + 2 - time.monotonic(), hold=("ledger",))
    host.until(lambda: host.work(name)["life"] == "ended", 60)
    assert host.log(name).count("spin: from unit") == 2
    assert host.log(name).strip().splitlines()[-1] == f"spin: 140 units, digest {digest_of(140)}"


def test_a_copy_of_the_ledgers_folder_that_is_put_back_is_noticed_and_work_goes_on(host: Host, tmp_path: Path) -> None:
    folder, kept = host.stack.state_dir / "ledger", tmp_path / "kept"

    def replace(source: Path, target: Path) -> None:
        """Copy the ledger's folder while it is down."""
        os.kill(host.stack.pid("ledger"), signal.SIGTERM)
        host.until(lambda: not psutil.pid_exists(host.stack.pid("ledger")) or is_over("ledger"), 10, hold=("ledger",))
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)

    def is_over(part: str) -> bool:
        return psutil.Process(host.stack.pid(part)).status() == psutil.STATUS_ZOMBIE

    replace(folder, kept)
    host.until(lambda: host.ask("tegd", control.Host())["mode"] == "run", 30)
    name = host.submit(argv=spin(140), tenant="ada", limit_ucr=300_000, hook=control.Hook())
    host.until(lambda: host.work(name)["run"] == "running", 20)
    time.sleep(2)
    replace(kept, folder)
    host.until(lambda: host.ask("tegd", control.Why(name=name))["reasons"][0]["reason"] == "history", 20)
    later = host.submit(argv=("sh", "-c", "echo later"), tenant="bob", limit_ucr=300_000)
    for ended in (name, later):
        host.until(lambda ended=ended: host.work(ended)["life"] == "ended", 90)  # type: ignore[misc]
        assert host.work(ended)["exit_code"] == 0
    assert host.log(name).strip().splitlines()[-1] == f"spin: 140 units, digest {digest_of(140)}"
    assert credits_are_conserved(host)
    assert "went back" in (host.stack.state_dir / "tegd.log").read_text()
    ledger = host.ask("ledger", control.LedgerView())
    assert verified(Path(ledger["journal"]), ledger)["replay_hash_equal"] is True
