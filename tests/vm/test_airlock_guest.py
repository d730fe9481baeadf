"""The airlock on a real kernel: killed at each state, gone for good, and every trap with its stated result."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from vm.guest import Guest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SOURCES = (
    *("tegd/__init__.py", "tegd/airlock"),
    *("tegcore/__init__.py", "tegcore/errors.py", "tegcore/clock.py", "tegcore/shells.py", "tegcore/units.py"),
    *("tegio/__init__.py", "tegio/clock.py", "tegio/notify.py", "tegio/seqpacket.py"),
)
PROGRAMS = (
    *("airlock_driver.py", "airlock_worker.py", "airlock_checks.py"),
    *("comeback_checks.py", "comeback_program.py"),
)
UNITS = ("teg-criu", "teg-deadman", "teg-airlock")
SET_UP = r"""
mkdir -p /etc/teg /run/teg-test /usr/lib/teg/bin /srv/work
ln -sf /usr/bin/python3 /usr/lib/teg/bin/python3
id teg > /dev/null 2>&1 || useradd --system teg
sed -i 's#-m tegd.airlock #/opt/teg/airlock_driver.py #' /etc/systemd/system/teg-airlock.service
for unit in teg-criu teg-deadman teg-airlock; do
    mkdir -p /etc/systemd/system/$unit.service.d
    printf '[Service]\nEnvironment=PYTHONPATH=/opt/teg\n' > /etc/systemd/system/$unit.service.d/tree.conf
done
echo ReadWritePaths=/run/teg-test >> /etc/systemd/system/teg-airlock.service.d/tree.conf
printf 'mode = "act"\nslice = "teg.slice"\nuid_min = 0\nprove = false\n' > /etc/teg/airlock.toml
python3 -m compileall -q /opt/teg
systemd-tmpfiles --create /usr/lib/tmpfiles.d/teg.conf
systemctl daemon-reload
systemctl start teg-criu teg-deadman teg-airlock
"""


@pytest.fixture(scope="module")
def airlock(boot: Callable[..., Guest], booted: Path) -> Iterator[Guest]:
    """A guest on which the airlock side of this tree runs by its own units, under the driver."""
    guest = boot(booted)
    for name in SOURCES:
        guest.put(ROOT / name, f"/opt/teg/{Path(name).parent}/")
    for name in PROGRAMS:
        guest.put(HERE / name, f"/opt/teg/{name}")
    for unit in UNITS:
        guest.put(ROOT / f"systemd/{unit}.service", f"/etc/systemd/system/{unit}.service")
    guest.put(ROOT / "systemd/teg.slice", "/etc/systemd/system/teg.slice")
    guest.put(ROOT / "systemd/teg.tmpfiles.conf", "/usr/lib/tmpfiles.d/teg.conf")
    guest.run(SET_UP, limit_s=300)
    yield guest
    guest.close()


SHORT = (
    *("killed_before_each_act", "dumped_and_restored", "proved", "deadman", "stopped_in_order", "disk_full"),
    "group_removed",
)
LONG = (
    *("killed_after_each_act", "dumper_killed", "airlock_killed_in_a_dump", "unit_dumped_and_restored", "criu_refuses"),
    *("hooks_that_fail", "pid_in_use_again", "fork_bomb", "watchdog"),
)


@pytest.mark.parametrize("check", [*SHORT, *(pytest.param(check, marks=pytest.mark.vm_long) for check in LONG)])
def test_on_a_real_kernel(airlock: Guest, check: str, record_property: Callable[[str, object], None]) -> None:
    said = airlock.run(f"python3 /opt/teg/airlock_checks.py {check}", limit_s=900)
    for key, value in json.loads(said.splitlines()[-1]).items():
        record_property(key, value)


COMEBACKS = (
    *("wrapper_of_tegctl_run", "forgotten_by_systemd", "start_that_fails", "ends_after_its_mark", "stopped_in_a_save"),
    *("work_that_ends_after_its_mark", "title_of_its_own", "kept_by_its_shell"),
)
COMEBACKS_LONG = (
    *("wrapper_in_a_unit_file", "wrapper_that_is_slow", "wrapper_with_its_own_output", "drops_its_rights"),
    *("the_command_itself", "output_that_begins_anew", "dumped_and_forgotten"),
)


@pytest.mark.parametrize(
    "check", [*COMEBACKS, *(pytest.param(check, marks=pytest.mark.vm_long) for check in COMEBACKS_LONG)]
)
def test_what_was_saved_comes_back_as_it_was(airlock: Guest, check: str) -> None:
    airlock.run(f"python3 /opt/teg/comeback_checks.py {check}", limit_s=1200)
