"""What every verb shares: where to ask, how to print, and what to do with a refusal."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tegcore.errors import PermissionDeniedError, RefusedError
from tegcore.wire.control import AnyRequest, Reply
from tegctl.remote import forwarded
from tegio.control import ControlClient
from tegio.paths import socket_path

_PROGRAMS = {"tegd": "tegd", "ledger": "zone-ledger", "governor": "governor"}


@dataclass(frozen=True)
class Session:
    """One command line.

    Attributes:
        state_dir: State folder of the programs of this machine.
        output: `table` or `json`.
        on: Another machine whose programs are asked, as ssh is told it; empty: this one.
        ledger_on: The machine of ledger and governor, where it is another than `on`.
        remote_state: State folder on other machines.
    """

    state_dir: Path
    output: str
    on: str = ""
    ledger_on: str = ""
    remote_state: Path = Path("/var/lib/teg")

    def client(self, name: str) -> ControlClient:
        """Of `tegd`, `ledger` or `governor`."""
        program, machine = _PROGRAMS[name], self.on if name == "tegd" else self.ledger_on or self.on
        if not machine:
            return ControlClient(socket_path(self.state_dir, name), program)
        hint = f"look there: `ssh {machine} systemctl status {program}`; --remote-state if its folder is another"
        return ControlClient(forwarded(machine, self.remote_state, name), f"{program} of {machine}", hint)

    def demand_here(self, verb: str) -> None:
        """Refuse what cannot be done for another machine.

        Raises:
            click.UsageError: If another machine was named.
        """
        if machine := self.on or self.ledger_on:
            raise click.UsageError(
                f"`tegctl {verb}` works on its own machine, not with --on: `ssh {machine} tegctl {verb}`"
            )

    def ask(self, name: str, request: AnyRequest) -> Any:
        """The data of the answer.

        Raises:
            RefusedError: With what the program said.
        """
        return _granted(self.client(name).ask(request))

    def stream(self, name: str, request: AnyRequest) -> Iterator[Any]:
        """The data of every answer."""
        return (_granted(reply) for reply in self.client(name).stream(request))


def _granted(reply: Reply) -> Any:
    if reply.ok:
        return reply.data
    family = PermissionDeniedError if reply.reason == PermissionDeniedError.__name__ else RefusedError
    raise family(reply.message, reply.hint)


@contextlib.contextmanager
def refused_as(what: str) -> Iterator[None]:
    """Have a refusal begin with what it means for who asked.

    Raises:
        RefusedError: What was raised within, with that in front.
        OSError: What was raised within, with that behind it.
    """
    try:
        yield
    except (PermissionDeniedError, RefusedError) as error:
        raise type(error)(f"{what}: {error}", error.hint) from None
    except OSError as error:
        error.strerror = f"{error.strerror}; {what}"
        raise


def fresh_key() -> int:
    """An idempotency key: asking again with it changes nothing twice."""
    return secrets.randbits(62)
