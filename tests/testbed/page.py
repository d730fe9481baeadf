"""The last result of the scenarios, as a page of the docs: written by the run itself."""

import os
import platform
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

WORDS = {"passed": "passed", "failed": "**failed**", "skipped": "not possible here"}


@dataclass
class Page:
    """Gathers reports of tests, and writes them.

    Args:
        path: Of the page.
        where: What the machines ran on.
    """

    path: Path
    where: str
    begun_s: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.partition("::test_")[2].replace("_", " ")
        self.seconds[name] = self.seconds.get(name, 0.0) + report.duration
        if report.when == "call" or report.outcome != "passed":
            worse = self.results.get(name) == "failed"
            self.results[name] = "failed" if worse else report.outcome

    def pytest_sessionfinish(self) -> None:
        commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
        rows = [f"| {name} | {WORDS[self.results[name]]} | {self.seconds[name]:.0f} |" for name in self.results]
        passed = sum(result == "passed" for result in self.results.values())
        minutes = (time.monotonic() - self.begun_s) / 60
        text = f"""# Scenarios of several hosts: the last run

{passed} of {len(rows)} passed in {minutes:.1f} minutes; the first scenario pays for the start of the machines.
{time.strftime("%Y-%m-%d")}, commit {commit.stdout.strip()}, {self.where}
({os.cpu_count()} processors, {platform.machine()}).
After each of them: credits are conserved, the journal replays to the ledger's state, nothing is left frozen, held or
running.

| scenario | result | s |
|---|---|---|
"""
        self.path.write_text(text + "".join(f"{row}\n" for row in rows))
