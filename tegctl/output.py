"""A job's output, as it is shown: each line once, and in the place of those that are gone their number."""

import sys
from typing import Any

import click


class Output:
    """Shows parts of one job's output as they come.

    Attributes:
        run: Whose output the last part was.
        lines: How many lines of that run are shown, or told to be gone.
    """

    def __init__(self) -> None:
        self.run = ""
        self.lines = 0
        self._whole = True

    def show(self, part: dict[str, Any]) -> None:
        """Print what a part holds; what is missing before it is told on standard error."""
        run = part.get("run", self.run)
        if run != self.run:
            self.run, self.lines = run, 0
        if (line := part.get("line")) is not None:
            if not part["begins"]:
                self._tell(line - self.lines, part["keeps"], over_share=part["over_share"])
            self.lines = line
        data = part["bytes"]
        if data:
            sys.stdout.buffer.write(data)
            self._whole = data.endswith(b"\n")
            self.lines += data.count(b"\n")
        sys.stdout.buffer.flush()

    def _tell(self, missing: int, keeps: int, *, over_share: bool) -> None:
        if not self._whole:
            # What is left of a line that was cut is not to look like the beginning of the next.
            sys.stdout.buffer.write(b"\n")
            sys.stdout.buffer.flush()
            self._whole = True
        what = f"{missing:,} lines were" if missing != 1 else "1 line was"
        # A part of a line, or what the job itself took out of its output again.
        what = what if missing > 0 else "some output was"
        why = f"the log keeps the last {_size(keeps)}"
        if over_share:
            why += ", for its tenant's output is over its share of this host (tenant_log_bytes)"
        click.echo(f"... {what} dropped here: {why}", err=True)


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"


def gone(log: dict[str, Any]) -> str:
    """What `why` says of a log that is not whole: one of `control.Why`'s answer."""
    what = f"of its output the last {_size(log['keeps'])} are kept: {log['lines']:,} lines before are dropped"
    if log["share"]:
        what += f"; its tenant's output was over its share of this host, {_size(log['share'])} (tenant_log_bytes)"
    return what
