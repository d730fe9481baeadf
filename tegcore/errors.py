"""Faults of the world, in families that carry the exit code of the program that they end.

Expected refusals are not errors: they are results with a `Reason` (tegcore.wire.records). What is raised here is what a
caller cannot go on from: each message says what happened, where, and what to try. The exit codes follow sysexits(3).
"""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of all programs."""

    OK = 0
    FAILED = 1
    USAGE = 64
    DATA = 65
    UNAVAILABLE = 69
    IO = 74
    NO_PERMISSION = 77
    CONFIG = 78


class TegError(Exception):
    """The root of all faults.

    Args:
        message: What happened, and where.
        hint: What to try; empty where there is nothing to try.
    """

    exit_code = Exit.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(TegError):
    """A setting that is unknown, of the wrong type or out of range."""

    exit_code = Exit.CONFIG


class DecodeError(TegError):
    """Bytes from outside that are not a message of the contract."""

    exit_code = Exit.DATA


class JournalError(TegError):
    """A journal that cannot be read, written, or trusted."""

    exit_code = Exit.IO


class UnavailableError(TegError):
    """A peer (broker, ledger, airlock, socket) that does not answer."""

    exit_code = Exit.UNAVAILABLE


class PermissionDeniedError(TegError):
    """A peer that may not do what it asked for."""

    exit_code = Exit.NO_PERMISSION


class RefusedError(TegError):
    """A command line's request that was refused with a reason, where the program ends because of it."""

    exit_code = Exit.FAILED
