"""The last result of each scenario, as a page of the docs: written by the runs themselves."""

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

WORDS = {"passed": "passed", "failed": "**failed**", "skipped": "not possible there"}
HEAD = """# Scenarios of several hosts: the last result of each

On three machines, emulated on two processors that did other work too. A run writes what it ran and leaves the rest. The
first scenario pays for the start of the machines. After each of them: credits are conserved, the journal replays to the
ledger's state, nothing is left frozen, held or running.

"""
COLUMNS = """| scenario | result | s | day, commit | machines |
|---|---|---|---|---|
"""
WHOLE = "All of them in one run: "


@dataclass
class Page:
    """Gathers reports of tests, and writes them.

    Args:
        path: Of the page.
        machines: What they ran on.
    """

    path: Path
    machines: str
    begun_s: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.partition("::test_")[2].replace("_", " ")
        self.seconds[name] = self.seconds.get(name, 0.0) + report.duration
        if self.results.get(name) != "failed" and (report.when == "call" or report.outcome != "passed"):
            self.results[name] = report.outcome

    def pytest_sessionfinish(self) -> None:
        words = ["git", "describe", "--always", "--dirty"]
        commit = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
        when = f"{time.strftime('%Y-%m-%d')}, {commit}"
        whole, rows = self._known()
        if self.results.keys() >= rows.keys():
            passed = sum(result == "passed" for result in self.results.values())
            took_s = time.monotonic() - self.begun_s
            whole = f"{WHOLE}{passed} of {len(self.results)} passed, {took_s:.0f} s ({when}, {self.machines}).\n"
        for name, result in self.results.items():
            if result != "skipped" or name not in rows:
                rows[name] = f"| {name} | {WORDS[result]} | {self.seconds[name]:.0f} | {when} | {self.machines} |"
        table = "".join(f"{row}\n" for row in rows.values())
        self.path.write_text(HEAD + (whole and f"{whole}\n") + COLUMNS + table)

    def _known(self) -> tuple[str, dict[str, str]]:
        """What the page says of the last run of all, and its rows by scenario."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        whole = next((f"{line}\n" for line in lines if line.startswith(WHOLE)), "")
        rows = [line for line in lines if line.startswith("| ")][1:]
        return whole, {row.split("|")[1].strip(): row for row in rows}
