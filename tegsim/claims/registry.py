"""Which claims there are, in the order of the page. A new one is a module with `TITLE` and `measure`, and a line here.

A module that replays traces lists the files that it needs in `TRACES`; where one is missing, it is skipped.
"""

from types import ModuleType

from tegsim.claims import (
    auction,
    cooling,
    cost,
    deadlock,
    economy,
    fear,
    herd,
    packing,
    phases,
    settling,
    starvation,
    strides,
)
from tegsim.claims.record import Claim, Title, skipped
from tegsim.claims.setting import Setting

CLAIMS: tuple[ModuleType, ...] = (
    cost,
    packing,
    fear,
    cooling,
    settling,
    herd,
    deadlock,
    phases,
    starvation,
    auction,
    economy,
    strides,
)


def titles() -> dict[str, Title]:
    """Every claim's title, by name."""
    return {module.TITLE.name: module.TITLE for module in CLAIMS}


def measured(module: ModuleType, setting: Setting) -> Claim:
    """Measure a claim, or say what it lacks."""
    if any(setting.file(name) is None for name in getattr(module, "TRACES", ())):
        return skipped(module.TITLE)
    claim: Claim = module.measure(setting)
    return claim
