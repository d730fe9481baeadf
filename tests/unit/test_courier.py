"""What a seat can know of a brief before it is started."""

import os
from pathlib import Path

import pytest

from tegd.adapters.courier import surely_missing


def test_a_folder_that_is_hidden_from_the_agent_side_is_not_called_missing(tmp_path: Path) -> None:
    """Homes are: its unit sees none."""
    (tmp_path / "home" / "ada").mkdir(parents=True)
    assert not surely_missing(str(tmp_path / "home" / "ada"))
    assert surely_missing(str(tmp_path / "home" / "bob"))
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    tmp_path.parent.chmod(0o755)
    tmp_path.chmod(0o755)
    (tmp_path / "home").chmod(0)
    os.seteuid(65534)
    try:
        assert not surely_missing(str(tmp_path / "home" / "ada"))
    finally:
        os.seteuid(0)
