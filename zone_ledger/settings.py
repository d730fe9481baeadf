"""The zone ledger's settings: one table for file, environment, flags and help."""

from typing import Annotated

from msgspec import Meta, Struct

from tegcore.config.ranges import CREDITS_MAX, JOULES_MAX, RATED_W_MAX, SCARCITY_MAX, Uid
from tegcore.economics.energy import Energy
from tegcore.units import TICKS_PER_HOUR, UCR_PER_CREDIT, ZONE_K_MAX
from tegcore.wire.records import INCOME_STANDING


def _ticks(default_text: str) -> Meta:
    return Meta(ge=1, le=2**31, description=f"{default_text} Fixed when the ledger is made.")


class LedgerSettings(Struct, frozen=True, kw_only=True):
    """See each description; times are in ticks of 50 ms."""

    zone: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="Name of the zone.")] = "zone"
    state_dir: Annotated[str, Meta(description="Folder of the journal; default: ledger in the state folder.")] = ""
    broker: Annotated[str, Meta(description="MQTT broker, mqtt://HOST:PORT.")] = "mqtt://127.0.0.1:1883"
    tls_ca: Annotated[str, Meta(description="Certificate of the authority, for mqtts://; empty: the system's.")] = ""
    tls_certificate: Annotated[str, Meta(description="This program's certificate.")] = ""
    tls_key: Annotated[str, Meta(description="Its key; default: tls.key among the credentials.")] = ""
    key_file: Annotated[str, Meta(description="The zone's secret; default: zone.key in the state folder.")] = ""
    zone_k: Annotated[int, Meta(ge=1, le=ZONE_K_MAX, description="The zone has 2^k x 2^k slots.")] = 5
    market: Annotated[
        str, Meta(pattern="^(fixed|auction)$", description="Of a fresh ledger: fixed prices or auction.")
    ] = "fixed"
    period_ticks: Annotated[int, _ticks("Length of a rent period.")] = 1200
    term_periods: Annotated[int, Meta(ge=1, le=1000, description="Periods of a term, from each RENEW.")] = 3
    renew_ticks: Annotated[int, _ticks("How often a host renews.")] = 40
    grace_ticks: Annotated[int, _ticks("Beyond term + 1 %, before an unheard host's slots are let again.")] = 40
    notice_ticks: Annotated[int, _ticks("Between notice and eviction.")] = 600
    epoch_ticks: Annotated[int, _ticks("The governor's epoch.")] = 1200
    patience_ticks: Annotated[int, _ticks("After waiting so long without a promised start, work is kept slots.")] = (
        12_000
    )
    woken_bids: Annotated[
        int, Meta(ge=1, le=1 << 16, description="In the auction, how many that wait are told of room at once.")
    ] = 16
    share_half_life_ticks: Annotated[
        int,
        Meta(
            ge=0,
            le=2**31,
            description="At fixed prices, who waits goes by its tenant's use over its weight, then by age; half of the"
            " use is forgotten in so many ticks (a week: 12096000). 0: by age alone.",
        ),
    ] = 0
    rated_w: Annotated[
        tuple[Annotated[float, Meta(ge=0, le=RATED_W_MAX)], ...],
        Meta(min_length=1, max_length=8, description="Rated power by slot class."),
    ] = (700.0,)
    scarcity: Annotated[
        tuple[Annotated[float, Meta(ge=0, le=SCARCITY_MAX)], ...],
        Meta(min_length=1, max_length=8, description="Price factor by slot class."),
    ] = (1.0,)
    pue: Annotated[float, Meta(ge=1, le=5, description="Power usage effectiveness of the site.")] = 1.3
    joules_per_credit: Annotated[float, Meta(ge=1, le=JOULES_MAX, description="The energy peg.")] = 3.6e6
    mu_credits: Annotated[
        float, Meta(ge=0, le=CREDITS_MAX, description="Static friction per unit of mass, until an epoch sets it.")
    ] = 0.0
    gas_credits: Annotated[
        float, Meta(ge=0, le=CREDITS_MAX, description="Fee of an expansion, until an epoch sets it.")
    ] = 0.0001
    burn_permille: Annotated[int, Meta(ge=0, le=1000, description="Burnt of what returns from a purse.")] = 10
    mem_k_credits: Annotated[
        float, Meta(ge=0, le=CREDITS_MAX, description="k of the memory price (15), per period.")
    ] = 0.01
    cpu_k_credits: Annotated[float, Meta(ge=0, le=CREDITS_MAX, description="k of the cpu price (15), per period.")] = (
        0.0
    )
    income: Annotated[
        str,
        Meta(
            pattern=r"^(standing|\d+(\.\d+)?)$",
            description="What every tenant earns: standing (at fixed prices all that is charged), or credits an hour.",
        ),
    ] = "standing"
    welcome_credits: Annotated[
        float, Meta(ge=0, le=CREDITS_MAX, description="Minted into each account as it is opened.")
    ] = 0.0
    snapshot_records: Annotated[int, Meta(ge=1, le=2**62, description="Commands between two snapshots.")] = 200_000
    keep_batches: Annotated[
        int, Meta(ge=0, le=2**62, description="Batches kept in the journal behind its snapshots; 0: all, for ever.")
    ] = 0
    operators: Annotated[tuple[Uid, ...], Meta(description="Users, by number, that may operate beside root.")] = ()
    tenants: Annotated[
        dict[str, tuple[Uid, ...]],
        Meta(description="Users, by number, of each tenant, to begin with; others are tenants by their own name."),
    ] = {}

    @property
    def income_ucr(self) -> int:
        """What every tenant earns a period, or `INCOME_STANDING`."""
        if self.income == "standing":
            return INCOME_STANDING
        return round(float(self.income) * UCR_PER_CREDIT * self.period_ticks / TICKS_PER_HOUR)

    def reserve_ucr(self, slot_class: int) -> int:
        """Reserve of a slot for a period, from its rated power."""
        energy = Energy(self.period_ticks, self.pue, self.scarcity)
        return energy.reserve_ucr(self.rated_w[slot_class], self.joules_per_credit, slot_class)
