"""What the service manager is asked to start, and how its answer is heard."""

import time

from tegd.airlock.adapters.manager import Services, run, unit_of
from tegd.airlock.adapters.units import Slice


def test_what_a_program_says_when_it_fails_is_told() -> None:
    assert run(["true"], 5000) == ""
    assert run(["sh", "-c", "echo no room >&2; exit 1"], 5000) == "no room"
    assert run(["sh", "-c", "exit 3"], 5000) == "sh failed"
    assert "No such file" in run(["/nonexistent"], 5000)


def test_a_program_that_does_not_end_is_not_waited_for() -> None:
    begun = time.monotonic()
    assert run(["sleep", "60"], 100) == "no answer within 100 ms"
    assert time.monotonic() - begun < 30


def test_its_own_services_are_not_taken_for_units_that_others_started(tmp_path) -> None:
    folder = tmp_path / "teg.slice"
    for name in (unit_of("7.1"), "web.service", "x.scope", "plain"):
        (folder / name).mkdir(parents=True)
    assert sorted(Slice("teg.slice", tmp_path).names()) == ["web.service", "x.scope"]
    assert Services("teg.slice", "teg/work", tmp_path).folder("7.1") == folder / "teg-work-7.1.service"
