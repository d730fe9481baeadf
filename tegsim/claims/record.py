"""What is kept of a measured claim: enough to draw its plots and write its page from nothing else."""

from enum import StrEnum
from typing import NamedTuple

import msgspec


class Verdict(StrEnum):
    """What the figures say of a claim, by thresholds that were written down first."""

    REPRODUCED = "reproduced"
    PARTLY = "partly"
    NOT = "not"
    SKIPPED = "skipped"
    """Not measured: it needs trace files, and no folder was named."""


class Figure(msgspec.Struct, frozen=True):
    """A mean over seeds with its bootstrap interval (95 %); both ends are the value where there is one run only.

    Attributes:
        name: What it is a figure of, in plain words.
        unit: `%`, `rounds`, `kW`, ...
    """

    name: str
    value: float
    low: float
    high: float
    unit: str


class Series(msgspec.Struct, frozen=True):
    """A line of a plot: places, heights, and where known the interval of each height.

    Attributes:
        style: `line`, `points`, `bars` (x counts the bars from 0), `level` (one height, drawn across the plot) or
            `mark` (one place, drawn from bottom to top).
    """

    label: str
    x: list[float]
    y: list[float]
    low: list[float] = []
    high: list[float] = []
    style: str = "line"


class Plot(msgspec.Struct, frozen=True):
    """A plot as data.

    Attributes:
        name: Of its file, without ending.
        ticks: Names of the places 0, 1, ... of the x axis, for bars.
        log: Which axes are logarithmic: a string of `x` and `y`.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    series: list[Series]
    ticks: list[str] = []
    log: str = ""


class Claim(msgspec.Struct, frozen=True):
    """One claim.

    Attributes:
        name: Of its module.
        claim: In plain words.
        paper: Section.
        promised: What the paper says, as it says it.
        ours: What was measured: the first figure is the one that the verdict is about.
        baselines: The same of what it is compared with.
        verdict: See `Verdict`.
        why: The number behind the verdict and its cause.
        rule: The thresholds, in words.
        how: World, seeds, data, what is modelled and what is real.
    """

    name: str
    claim: str
    paper: str
    promised: str
    ours: list[Figure]
    baselines: list[Figure]
    verdict: Verdict
    why: str
    rule: str
    how: str
    plots: list[Plot] = []


class Book(msgspec.Struct, frozen=True):
    """All claims of one run: `claims.json`.

    Attributes:
        quick: Fewer seeds and smaller worlds.
    """

    schema: int
    quick: bool
    claims: list[Claim]


SCHEMA = 1


class Title(NamedTuple):
    """What a claim says of itself before it is measured: the first fields of `Claim`."""

    name: str
    claim: str
    paper: str
    promised: str
    rule: str


def skipped(title: Title) -> Claim:
    """The record of a claim whose data are not there."""
    why = "it replays trace files, which the project does not ship: name their folder with TRACES=DIR"
    return concluded(title, [], [], Verdict.SKIPPED, why, "")


def concluded(
    title: Title,
    ours: list[Figure],
    baselines: list[Figure],
    verdict: Verdict,
    why: str,
    how: str,
    plots: list[Plot] | None = None,
) -> Claim:
    """The record of a claim that was measured."""
    name, claim, paper, promised, rule = title
    return Claim(name, claim, paper, promised, ours, baselines, verdict, why, rule, how, plots or [])


def encode(book: Book) -> bytes:
    """As JSON for people and programs."""
    return msgspec.json.format(msgspec.json.encode(book), indent=1) + b"\n"


def decode(raw: bytes) -> Book:
    """The inverse of `encode`.

    Raises:
        msgspec.ValidationError: If it is not such a file.
    """
    return msgspec.json.decode(raw, type=Book)
