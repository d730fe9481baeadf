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

| scenario | result | s | day, commit | machines |
|---|---|---|---|---|
"""


@dataclass
class Page:
    """Gathers reports of tests, and writes them.

    Args:
        path: Of the page.
        machines: What they ran on.
    """

    path: Path
    machines: str
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
        rows = self._known()
        for name, result in self.results.items():
            if result != "skipped" or name not in rows:
                when = f"{time.strftime('%Y-%m-%d')}, {commit}"
                rows[name] = f"| {name} | {WORDS[result]} | {self.seconds[name]:.0f} | {when} | {self.machines} |"
        self.path.write_text(HEAD + "".join(f"{row}\n" for row in rows.values()))

    def _known(self) -> dict[str, str]:
        """Rows of the page as it stands, by scenario."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return (
            {line.split("|")[1].strip(): line for line in lines[lines.index("|---|---|---|---|---|") + 1 :]}
            if lines
            else {}
        )
