"""The guests themselves: what tests of TEG rely on."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from vm.guest import Guest, Lan
from vm.image import Image

OWNER = """
import sys, time
from pathlib import Path
from vm.guest import Guest
from vm.image import Image
guest = Guest(Image(Path(sys.argv[1])))
guest.start(Path(sys.argv[2]))
guest.qmp("query-status")
print(guest.pid, guest.folder, flush=True)
time.sleep(600)
"""


def test_it_runs_what_is_asked_and_says_how_it_ended(guest: Guest) -> None:
    assert guest.run("cat; hostname", data=b"in\n") == "in\nn1\n"
    assert guest.code("exit 7") == 7
    assert guest.run("systemctl --failed --no-legend") == ""


def test_it_has_what_tests_need_of_a_kernel(guest: Guest) -> None:
    assert {"cpuset", "cpu", "io", "memory", "pids"} <= set(guest.run("cat /sys/fs/cgroup/cgroup.controllers").split())
    assert guest.run("cat /proc/pressure/memory").startswith("some")
    assert guest.code("zramctl --find --size 16M && swapon --version") == 0


def test_temperature_and_power_are_set_from_outside(guest: Guest) -> None:
    def celsius() -> float:
        return int(guest.run("cat /sys/class/thermal/thermal_zone0/temp")) / 1000

    def watts() -> float:
        return int(guest.run("cat /sys/class/hwmon/hwmon*/device/power1_average")) / 1e6

    guest.raise_temperature(45.0, 90.0)
    guest.until(lambda: abs(celsius() - 45.0) < 0.2 and abs(watts() - 90.0) < 1, 10, "45 C and 90 W")
    guest.raise_temperature(80.0, 123.4)
    guest.until(lambda: abs(celsius() - 80.0) < 0.2 and abs(watts() - 123.4) < 1, 10, "80 C and 123.4 W")


def test_a_file_arrives(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"\0" * 5000)
    guest.put(tmp_path / "one", "/root/here/one")
    assert guest.run("stat -c %s /root/here/one").strip() == "5000"


def test_halted_it_does_not_answer_and_goes_on_after(guest: Guest) -> None:
    before = int(guest.run("cut -d. -f1 /proc/uptime"))
    guest.stop()
    assert guest.qmp("query-status")["status"] == "paused"
    guest.cont()
    assert int(guest.run("cut -d. -f1 /proc/uptime")) <= before + 20


@pytest.mark.vm_long
def test_guests_of_a_lan_hear_each_other_until_a_link_is_cut(boot: Callable[..., Guest], booted: Path) -> None:
    lan = Lan()
    one, two = boot(booted, "n1", lan), boot(booted, "n2", lan)
    ping = f"ping -c 1 -W 5 {two.address}"
    assert (one.run("hostname"), two.run("hostname")) == ("n1\n", "n2\n")
    one.until(lambda: one.code(ping) == 0, 20, "the other answers")
    two.set_link(up=False)
    assert one.code(ping) != 0
    two.set_link(up=True)
    one.until(lambda: one.code(ping) == 0, 20, "the other answers again")
    one.close()
    two.close()


@pytest.mark.vm_long
def test_after_a_power_cut_it_boots_again_with_what_was_synced(boot: Callable[..., Guest], booted: Path) -> None:
    cut = boot(booted, "n1")
    cut.run("echo kept > /root/kept; sync; echo lost > /run/lost")
    cut.reset()
    assert cut.run("cat /root/kept; hostname") == "kept\nn1\n"
    assert cut.code("test -e /run/lost") == 1
    cut.close()


def test_it_ends_with_its_owner(image: Image, booted: Path) -> None:
    words = [sys.executable, "-c", OWNER, str(image.folder), str(booted)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        watched = os.pidfd_open(int(pid))
        assert "qemu" in Path(f"/proc/{pid}/cmdline").read_text()
        owner.kill()
    try:
        assert select.select([watched], [], [], 30)[0], "QEMU outlived who started it"
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(watched, signal.SIGKILL)
        os.close(watched)
        shutil.rmtree(folder, ignore_errors=True)
