"""What a stack that is stopped says of the jobs that it ran: which go on, which begin anew, which are over."""

from pathlib import Path

from tegctl import farewell
from tegctl.farewell import Fate


def test_what_is_not_to_start_again_is_over_for_good(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    ended = {1: Fate.ENDED, 2: Fate.ENDED, 3: Fate.SAVED}
    fates = farewell.with_over(ended, once={2, 3})
    assert fates == {1: Fate.ENDED, 2: Fate.OVER, 3: Fate.SAVED}
    said = farewell.lines(fates, {1: "plain", 2: "once", 3: "hooked"})
    assert any(line.startswith("ended for good") and line.endswith(": once") for line in said)
    assert any("starts again from its beginning" in line and line.endswith(": plain") for line in said)
    farewell.leave(tmp_path, fates)
    assert "next `tegctl up`" not in farewell.of_one(tmp_path, 2, "once")
    assert "once was ended with it for good" in farewell.of_one(tmp_path, 2, "once")
