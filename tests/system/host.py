"""The whole stack on this host, for tests that need real processes."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tegcore.wire import control
from tegctl.demonstration import SETTINGS
from tegctl.session import Session, fresh_key
from tegctl.stack import Stack, StackSettings


class Host:
    """A stack whose tenants have credits, and what tests ask of it; by default the demonstration's."""

    def __init__(self, folder: Path, settings: StackSettings = SETTINGS) -> None:
        self.tenants = settings.tenants
        self.stack = Stack(folder / "stack", settings)
        self.session = Session(self.stack.state_dir, "json")

    def start(self) -> None:
        self.stack.start()
        for tenant in self.tenants:
            self.ask("ledger", control.MintCredits(tenant=tenant, amount_ucr=100_000_000, key=fresh_key()))

    def ask(self, program: str, request: control.AnyRequest) -> Any:
        return self.session.ask(program, request)

    def submit(self, **spec: Any) -> str:
        return self.ask("tegd", control.Submit(spec=control.WorkloadSpec(**spec), key=fresh_key()))["name"]

    def work(self, name: str) -> dict[str, Any]:
        return next(row for row in self.ask("tegd", control.Workloads()) if row["name"] == name)

    def log(self, name: str) -> str:
        parts = self.session.stream("tegd", control.Logs(name=name))
        return b"".join(part["bytes"] for part in parts).decode()

    def until(self, condition: Callable[[], bool], limit_s: float, hold: tuple[str, ...] = ()) -> None:
        """Tend the stack until a condition holds; a part that does not answer meanwhile makes it not hold."""
        until_s = time.monotonic() + limit_s
        while time.monotonic() < until_s:
            self.stack.tend(hold)
            try:
                if condition():
                    return
            except Exception as error:
                last: object = error
            else:
                last = "the condition is false"
            time.sleep(0.1)
        raise AssertionError(f"not within {limit_s} s: {last}")
