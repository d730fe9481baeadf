"""Scenarios: what a simulated cluster is made of, what is run on it, and which faults may be on, and how hard.

A scenario is a TOML file (tegsim/scenarios). It gives ranges; a seed picks from each. Whether a fault is on at all is
drawn too, so that each seed has some faults and not others: bugs hide where everything happens at once. A key that is
not known, or a number out of its range, is refused.
"""

import tomllib
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from tegcore.errors import ConfigError
from tegsim.kernel import Stream

Span = tuple[float, float]
"""From, to: a seed draws from between."""


class Name(StrEnum):
    """Every fault that there is."""

    LOSS = "loss"
    """Share of messages that are lost."""
    DOUBLES = "doubles"
    """Share that come twice."""
    DAMAGE = "damage"
    """Share in which a bit flips."""
    LATE = "late"
    """Share that others overtake."""
    PARTITION = "partition"
    """A program is cut off from the broker: one way or both."""
    CLOG = "clog"
    """What a program says, or hears, is held up and comes at once."""
    CUT = "cut"
    """A connection breaks; the last will speaks."""
    BROKER = "broker"
    """The broker goes and comes back, perhaps without what it retained."""
    DISK = "disk"
    """Share of the ledger's writes that fail, for a while."""
    SLOW_DISK = "slow_disk"
    """Writes of the ledger that take so long (share: of a second), for a while."""
    LEDGER = "ledger"
    """The ledger dies at a boundary; share: how often its machine loses power."""
    GOVERNOR = "governor"
    """The governor dies at a boundary."""
    AGENT = "agent"
    """An agent side dies at a boundary."""
    AIRLOCK = "airlock"
    """An airlock side dies at a boundary."""
    POWER = "power"
    """A host loses power."""
    PAUSE = "pause"
    """An agent side gets no processor for a while."""
    DRIFT = "drift"
    """How much faster or slower clocks run, in millionths."""
    STEP = "step"
    """A wall clock is set; share: by how many hours at most."""
    HOOKS = "hooks"
    """Share of saves that hang, and of checkpoints that cannot be made durable."""
    STARTS = "starts"
    """Share of commands that cannot be started, or take no notice of a request to end."""
    OPERATOR = "operator"
    """Operators drain, cordon, pin, evict, mint, transfer, and ask the same again."""
    OWNER = "owner"
    """Owners cancel their work, or give it more credits."""


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault.

    Attributes:
        chance: Share of seeds in which it is on.
        every_s: Mean time between two of it.
        lasts_s: How long each lasts.
        share: How hard it is; what of, `Name` says.
    """

    chance: Annotated[float, Meta(ge=0, le=1)] = 0.5
    every_s: Span = (5.0, 20.0)
    lasts_s: Span = (0.5, 5.0)
    share: Span = (0.0, 0.0)


class Zone(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ledger's settings; times in ticks."""

    zone_k: Annotated[int, Meta(ge=1, le=10)] = 3
    period_ticks: Annotated[int, Meta(ge=10)] = 60
    term_periods: Annotated[int, Meta(ge=1)] = 2
    renew_ticks: Annotated[int, Meta(ge=1)] = 20
    grace_ticks: Annotated[int, Meta(ge=1)] = 40
    notice_ticks: Annotated[int, Meta(ge=1)] = 30
    epoch_ticks: Annotated[int, Meta(ge=1)] = 60
    auction: Annotated[float, Meta(ge=0, le=1)] = 0.7
    snapshot_records: Span = (60, 600)
    keep_batches: Span = (0, 100)


class Work(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is run.

    Attributes:
        count: Pieces of work, over the whole time.
        lasts_s: How long each must run.
        limit: Its limit over the reserve.
        periods: For how many periods at that limit it is endowed.
        sizes_min, sizes: log2 of its slots, at least and at most.
        checkpoint_s: Seconds between its saves in passing; 0: none are made.
        savable: Share with a hook.
        here: Share that may sit on the host of its submission only.
        hook_s: What the hook takes.
        mem_mib: Memory at first.
        grows_mib_per_s: And its growth.
        use: Share of its processors that it keeps busy.
    """

    count: Span = (6, 24)
    lasts_s: Span = (1.0, 15.0)
    limit: Span = (1.0, 4.0)
    periods: Span = (1.0, 12.0)
    sizes_min: Annotated[int, Meta(ge=0, le=8)] = 0
    sizes: Annotated[int, Meta(ge=0, le=8)] = 2
    checkpoint_s: Span = (0, 0)
    savable: Annotated[float, Meta(ge=0, le=1)] = 0.7
    here: Annotated[float, Meta(ge=0, le=1)] = 0.3
    hook_s: Span = (0.05, 0.8)
    mem_mib: Span = (0, 200)
    grows_mib_per_s: Span = (0, 40)
    use: Span = (0.1, 1.0)


class Scenario(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scenario.

    Attributes:
        hosts: How many.
        log2_slots: Of each host.
        storm_s: How long faults last.
        settle_s: How long after them all must agree.
        re_max: Re_max of the governor's barrier.
        rest: Hosts with nothing to do take a second as one cycle, and hear the latest of broadcasts only.
        faults: By name.
    """

    hosts: Span = (2, 5)
    log2_slots: Annotated[int, Meta(ge=0, le=6)] = 2
    storm_s: Span = (20, 40)
    settle_s: Annotated[float, Meta(gt=0)] = 30.0
    re_max: Span = (4.0, 32.0)
    rest: bool = False
    zone: Zone = Zone()
    work: Work = Work()
    faults: dict[Name, Fault] = {}


def read(text: str, name: str) -> Scenario:
    """A scenario from the text of its file.

    Raises:
        ConfigError: If it says what is not known or cannot be; the message names the key.
    """
    try:
        scenario = msgspec.convert(tomllib.loads(text), Scenario)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{name}: {error}", "see docs/reference/simulator.md for every key") from None
    slots = int(scenario.hosts[1]) << scenario.log2_slots
    if slots > 4**scenario.zone.zone_k:
        raise ConfigError(
            f"{name}: {slots} slots do not fit in a zone of 4^{scenario.zone.zone_k}", "raise zone.zone_k"
        )
    return scenario


class Mood(Struct, frozen=True, kw_only=True):
    """One fault as a seed has it: on, so often, so long, so hard."""

    every_s: float
    lasts_s: Span
    share: float


def moods(scenario: Scenario, draws: Stream) -> dict[Name, Mood]:
    """Which faults are on, and how hard. Each fault draws alike whether it is there or not."""
    found = {}
    for name in Name:
        on, every, share = draws.draw(), draws.draw(), draws.draw()
        fault = scenario.faults.get(name)
        if fault is not None and on < fault.chance:
            low, high = fault.every_s
            least, most = fault.share
            found[name] = Mood(
                every_s=low + (high - low) * every, lasts_s=fault.lasts_s, share=least + (most - least) * share
            )
    return found
