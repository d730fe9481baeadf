"""Every program that the Makefile runs is this project's, whatever else is installed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = re.compile(r"^\t(?:@?(?:\w+=\S+ )*)\$\(BIN\)/python -m ([\w.]+)", re.MULTILINE)
FIND = """
import sys
from importlib.util import find_spec
found = find_spec(sys.argv[1])
print((find_spec(sys.argv[1] + ".__main__") if found.submodule_search_locations else found).origin)
"""


@pytest.mark.parametrize("module", sorted(set(RUN.findall((ROOT / "Makefile").read_text()))))
def test_a_module_that_the_makefile_runs_is_found_in_this_tree(module: str) -> None:
    path = "tests" if module.startswith("vm.") else ""
    found = subprocess.run(
        [sys.executable, "-c", FIND, module],
        cwd=ROOT,
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert Path(found.stdout.strip()).is_relative_to(ROOT)
