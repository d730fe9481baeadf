"""The package on a fresh host: what it puts there, what starts, how closed it is, and how it goes away."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from vm.guest import Guest
from vm.host import PYTHON, Host

EXPOSURE_MAX = {
    "zone-ledger": 1.2,
    "governor": 1.2,
    "tegd": 1.6,
    "teg-airlock": 2.0,
    "teg-broker": 1.2,
    "teg-deadman": 2.0,
    "teg-criu": 10.0,
}
REST_S = 60
INSTALL_DOC = Path(__file__).parents[2] / "docs/howto/install.md"


@pytest.fixture(scope="module")
def host(boot: Callable[..., Guest], installed: Path) -> Iterator[Host]:
    guest = boot(installed)
    yield Host(guest)
    guest.close()


def test_nothing_runs_until_it_is_started(host: Host) -> None:
    assert not any(host.active(unit) for unit in ("tegd", "teg-airlock", "zone-ledger", "governor"))
    assert host.guest.run("systemctl --failed --no-legend") == ""
    assert host.guest.run("tegctl --version").startswith("tegctl")


def test_units_are_as_closed_as_stated(host: Host) -> None:
    stated = INSTALL_DOC.read_text()
    for unit, most in EXPOSURE_MAX.items():
        said = host.guest.run(f"systemd-analyze security --no-pager {unit}.service")
        found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
        assert found, said
        assert float(found[1]) <= most, said
        assert f"| `{unit}` | {found[1]} |" in stated, f"{INSTALL_DOC} states another figure than {found[1]} for {unit}"


def test_starting_tegd_brings_both_sides_and_only_observes(host: Host) -> None:
    host.guest.run("systemctl start tegd")
    assert host.active("tegd", "teg-airlock")
    memory = host.tegctl("airlock")["memory"]
    assert (memory["mode"], memory["slice"], memory["phase"]) == ("observe", "teg.slice", "normal")
    assert host.guest.run(f"ps -o user= -p {host.pid('tegd')}").strip() == "teg"
    refused = host.guest.run("cd /tmp && sudo -u vagrant tegctl run -- true 2>&1; true")
    assert "tegctl run --rank" in refused or "not running" in refused, refused


def test_the_airlock_costs_next_to_nothing_at_rest(host: Host) -> None:
    """In software emulation, many times slower than a processor: the share of one core is an upper bound."""
    host.guest.run("systemctl start tegd")
    pid = host.pid("teg-airlock")
    read = f"awk '/^VmRSS/ {{ print $2 }}' /proc/{pid}/status; cut -d' ' -f1 /proc/{pid}/schedstat"
    _, before = map(int, host.guest.run(read).split())
    host.guest.run(f"sleep {REST_S}", limit_s=REST_S + 60)
    rss_kib, after = map(int, host.guest.run(read).split())
    share = (after - before) / 1e9 / REST_S
    print(f"airlock side, emulated: {rss_kib / 1024:.1f} MiB, {share:.2%} of a core at rest")
    assert rss_kib <= 30 << 10
    assert share < 0.05


def test_each_side_comes_back_when_it_is_killed(host: Host) -> None:
    host.guest.run("systemctl start tegd")
    for unit in ("tegd", "teg-airlock"):
        before = host.pid(unit)
        host.guest.run(f"kill -9 {before}")
        host.guest.until(lambda unit=unit, old=before: host.active(unit) and host.pid(unit) not in (0, old), 60, unit)
    host.guest.until(lambda: host.active("tegd", "teg-airlock"), 60, "both run")


def test_stopping_tegd_stops_both_and_work_of_the_slice_runs_on(host: Host) -> None:
    host.guest.run("systemctl start tegd; systemd-run --quiet --unit=on --slice=teg.slice sleep 300")
    host.guest.run("systemctl stop tegd")
    assert not host.active("tegd")
    assert not host.active("teg-airlock")
    assert host.active("on")
    assert host.frozen() == []
    host.guest.run("systemctl stop on")


def test_alone_work_runs_by_rank_under_the_airlock(host: Host) -> None:
    host.guest.run("systemctl start tegd")
    said = host.guest.run(
        "cd /tmp && tegctl run --rank 3 --name echo -- sh -c 'cat /proc/self/cgroup; exit 7'; echo $?"
    )
    assert "teg.slice/teg-echo.service" in said
    assert said.strip().endswith("7")
    host.guest.run("cd /tmp && tegctl run --rank 5 --detach --name long -- sleep 100")
    seen = host.guest.until(
        lambda: [row for row in host.tegctl("airlock")["workloads"] if row["workload"] == "teg-long.service"],
        20,
        "the airlock takes it in",
    )
    assert seen[0]["rank"] == 5
    own = host.guest.run("cd /tmp && sudo -u vagrant sudo tegctl run --rank 1 -- id -un")
    assert own.strip() == "vagrant"
    host.guest.run("systemctl stop teg-long")


def test_alone_work_has_environment_mask_limits_and_folder_of_where_it_was_typed(host: Host) -> None:
    host.guest.run("systemctl start tegd")
    typed = "cd /tmp && umask 027 && ulimit -S -n 700 && FOO='a \"b\" $c' tegctl run --rank 1 --detach --name typed"
    host.guest.run(f"{typed} -- sh -c 'echo \"$FOO\"; umask; ulimit -S -n; pwd; exec sleep 100'")
    journal = "journalctl --quiet --output=cat _SYSTEMD_UNIT=teg-typed.service"
    host.guest.until(lambda: host.guest.run(journal).count("\n") >= 4, 30, "it says how it runs")
    said = host.guest.run(journal).splitlines()[:4]
    assert said == ['a "b" $c', "0027", "700", "/tmp"]
    assert '"b"' not in host.guest.run("systemctl show teg-typed"), "it stands where everybody could see it"
    host.guest.run("systemctl stop teg-typed")


def test_zram_is_made_of_the_systems_own_tools(host: Host) -> None:
    host.guest.run("systemctl start teg-zram")
    swap = host.guest.run("swapon --noheadings --bytes --show=NAME,SIZE,PRIO")
    name, size, priority = swap.split()
    total = int(host.guest.run("awk '/^MemTotal/ { print $2 }' /proc/meminfo")) << 10
    assert name.startswith("/dev/zram")
    assert abs(int(size) - total) <= 1 << 16
    assert priority == "100"
    assert "[lz4]" in host.guest.run(f"cat /sys/block/{Path(name).name}/comp_algorithm")
    host.guest.run("systemctl stop teg-zram")
    assert host.guest.run("swapon --noheadings --show") == ""


def test_it_goes_away_and_takes_its_state_only_when_purged(host: Host) -> None:
    host.guest.run("systemctl start tegd; dpkg --remove teg", limit_s=200)
    assert not host.active("teg-airlock")
    assert host.guest.code("test -d /var/lib/teg/airlock") == 0
    assert host.guest.code(f"test -e {PYTHON}") == 1
    host.guest.run("dpkg --purge teg", limit_s=200)
    assert host.guest.code("test -e /var/lib/teg -o -e /etc/teg") == 1
