"""The phases of a host whose memory runs short, and what a reading means to it: one table (DESIGN 7)."""

from enum import StrEnum


class Phase(StrEnum):
    """Where the host is."""

    NORMAL = "normal"
    GLASSY = "glassy"
    SEALED = "sealed"
    SUSPENDED = "suspended"
    ESCAPING = "escaping"
    RESUMED = "resumed"


class Sign(StrEnum):
    """What a reading means."""

    SAVED = "saved"
    """The one that escapes is saved and ended, and there is room for the others."""
    MORE = "more"
    """It could not be saved, or there is still no room for the others."""
    BUSY = "busy"
    """A save is under way."""
    HELD = "held"
    """All are frozen, and one can be saved."""
    SPARE = "spare"
    """All are frozen, none can be saved, and one is expected to come to its end within what is left of the reserve."""
    STUCK = "stuck"
    """All are frozen, none can be saved, and none would come to its end."""
    DRY = "dry"
    """Even the strongest alone would use up the headroom before it could be frozen."""
    SHORT = "short"
    """Those that run would."""
    TIGHT = "tight"
    """Someone is at its memory.high, and throttled."""
    ROOM = "room"
    """There is room for the strongest of the frozen."""
    FULL = "full"
    """Nothing is short, and there is no room for them."""
    CALM = "calm"
    """Nothing is short, and nobody is frozen for memory."""


_ROWS: dict[Phase, dict[Sign, Phase]] = {
    Phase.NORMAL: {
        Sign.SPARE: Phase.RESUMED,
        Sign.DRY: Phase.SUSPENDED,
        Sign.SHORT: Phase.SEALED,
        Sign.TIGHT: Phase.GLASSY,
        Sign.BUSY: Phase.ESCAPING,
        Sign.HELD: Phase.SUSPENDED,
        Sign.STUCK: Phase.SUSPENDED,
        Sign.FULL: Phase.SEALED,
        Sign.ROOM: Phase.RESUMED,
    },
    Phase.GLASSY: {
        Sign.SPARE: Phase.RESUMED,
        Sign.DRY: Phase.SUSPENDED,
        Sign.SHORT: Phase.SEALED,
        Sign.CALM: Phase.NORMAL,
        Sign.BUSY: Phase.ESCAPING,
        Sign.HELD: Phase.SUSPENDED,
        Sign.STUCK: Phase.SUSPENDED,
        Sign.FULL: Phase.SEALED,
        Sign.ROOM: Phase.RESUMED,
    },
    Phase.SEALED: {
        Sign.SPARE: Phase.RESUMED,
        Sign.DRY: Phase.SUSPENDED,
        Sign.HELD: Phase.SUSPENDED,
        Sign.STUCK: Phase.SUSPENDED,
        Sign.BUSY: Phase.ESCAPING,
        Sign.ROOM: Phase.RESUMED,
        Sign.TIGHT: Phase.RESUMED,
        Sign.CALM: Phase.RESUMED,
    },
    Phase.SUSPENDED: {
        Sign.SPARE: Phase.RESUMED,
        Sign.HELD: Phase.ESCAPING,
        Sign.BUSY: Phase.ESCAPING,
        Sign.ROOM: Phase.RESUMED,
        Sign.TIGHT: Phase.RESUMED,
        Sign.CALM: Phase.RESUMED,
    },
    Phase.ESCAPING: {
        Sign.SPARE: Phase.RESUMED,
        Sign.SAVED: Phase.RESUMED,
        Sign.MORE: Phase.SUSPENDED,
        Sign.STUCK: Phase.SUSPENDED,
    },
    Phase.RESUMED: {
        Sign.SPARE: Phase.RESUMED,
        Sign.DRY: Phase.SUSPENDED,
        Sign.SHORT: Phase.SEALED,
        Sign.HELD: Phase.SUSPENDED,
        Sign.STUCK: Phase.SUSPENDED,
        Sign.BUSY: Phase.ESCAPING,
        Sign.FULL: Phase.SEALED,
        Sign.TIGHT: Phase.GLASSY,
        Sign.CALM: Phase.NORMAL,
    },
}
TABLE: dict[tuple[Phase, Sign], Phase] = {
    (phase, sign): _ROWS[phase].get(sign, phase) for phase in Phase for sign in Sign
}
"""Every phase under every sign; where a row says nothing, the host stays where it is."""
