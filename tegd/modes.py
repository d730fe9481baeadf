"""The modes of tegd, as a table: what absent pairs would mean is an error of the caller.

BOOT reads what is on disk. SYNC introduces the host until the ledger has told the truth about it. RUN is normal. LIMP:
the ledger is silent; leases are honoured to their terms and not past them, orders wait. SAFE is where every exit leads.
"""

from enum import Enum


class Mode(Enum):
    """Where the daemon is."""

    BOOT = "boot"
    SYNC = "sync"
    RUN = "run"
    LIMP = "limp"
    SAFE = "safe"


class Happening(Enum):
    """What moves it."""

    LOADED = "the store is read and the airlock side answers"
    SYNCED = "the ledger has told all it knows of this host"
    SILENCE = "no beat of the ledger for too long"
    BEAT = "the ledger is heard"
    DISOWNED = "the ledger does not know this boot"
    STOP = "the daemon is to end"


TRANSITIONS: dict[tuple[Mode, Happening], Mode] = {
    (Mode.BOOT, Happening.LOADED): Mode.SYNC,
    (Mode.BOOT, Happening.BEAT): Mode.BOOT,
    (Mode.BOOT, Happening.SILENCE): Mode.BOOT,
    (Mode.SYNC, Happening.SYNCED): Mode.RUN,
    (Mode.SYNC, Happening.BEAT): Mode.SYNC,
    (Mode.SYNC, Happening.SILENCE): Mode.SYNC,
    (Mode.SYNC, Happening.DISOWNED): Mode.SYNC,
    (Mode.RUN, Happening.BEAT): Mode.RUN,
    (Mode.RUN, Happening.SYNCED): Mode.RUN,
    (Mode.RUN, Happening.SILENCE): Mode.LIMP,
    (Mode.RUN, Happening.DISOWNED): Mode.SYNC,
    (Mode.LIMP, Happening.BEAT): Mode.RUN,
    (Mode.LIMP, Happening.SYNCED): Mode.RUN,
    (Mode.LIMP, Happening.SILENCE): Mode.LIMP,
    (Mode.LIMP, Happening.DISOWNED): Mode.SYNC,
    **{(mode, Happening.STOP): Mode.SAFE for mode in Mode},
}


def next_mode(mode: Mode, happening: Happening) -> Mode:
    """The mode after something happened.

    Raises:
        KeyError: If it cannot happen in this mode: the caller's error.
    """
    return TRANSITIONS[mode, happening]
