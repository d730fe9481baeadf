"""What a claim is measured with, handed to it: seeds, size, traces, and someone who runs, keeps and shows its runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

Size = TypeVar("Size")

Result = dict[str, Any]
"""What a run leaves: numbers, strings and lists of them, as JSON holds them."""

Run = Callable[["Setting", str, int], Result]
"""One run of a claim: (setting, policy, seed). A function at the top of its module, a pure function of these."""


class Runner(Protocol):
    """Carries out runs, or remembers them."""

    def __call__(self, setting: "Setting", claim: str, policies: Sequence[str], run: Run) -> dict[str, list[Result]]:
        """Results by policy, one a seed, in order of seeds."""
        ...


class Setting(NamedTuple):
    """See the module.

    Attributes:
        quick: Smaller worlds: seconds a claim. `sized` picks by it.
        seeds: One run each; policies of a claim share them, so that they meet the same draws.
        traces: Folder of the trace files (data/README of the traces), if there is one.
        runner: See `Runner`.
    """

    quick: bool
    seeds: tuple[int, ...]
    traces: Path | None
    runner: Runner

    def runs(self, claim: str, policies: Sequence[str], run: Run) -> dict[str, list[Result]]:
        """All runs of a claim: by policy, one a seed. Runs that were done before by the same code are not repeated."""
        return self.runner(self, claim, policies, run)

    def sized(self, quick: Size, full: Size) -> Size:
        """One of two sizes."""
        return quick if self.quick else full

    def file(self, name: str) -> Path | None:
        """A trace file, if it is there."""
        path = self.traces / name if self.traces else None
        return path if path and path.is_file() else None


def run_all(setting: Setting, _claim: str, policies: Sequence[str], run: Run) -> dict[str, list[Result]]:
    """A runner that keeps nothing."""
    return {policy: [run(setting, policy, seed) for seed in setting.seeds] for policy in policies}
