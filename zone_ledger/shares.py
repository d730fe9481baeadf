"""Fair shares of tenants at fixed prices: what each has held of late, over its weight (as Slurm's multifactor has it).

Use is slot time of which half is forgotten in a half-life. All of it decays alike, so nothing has to be decayed while
it is compared: use is kept in a unit that grows, G(t) = 2^(t/h) since the last half-life began, and a tenant that holds
n from t1 to t2 has used n (G(t2) - G(t1)) of it. So each tenant is one number, changed when what it holds changes, and
once a half-life the unit is halved again.
"""

from dataclasses import dataclass, field
from functools import lru_cache

from tegcore.economics.fixed import exp2_q32, over_ln2
from tegcore.units import PERMILLE
from zone_ledger.leases import Lease


@dataclass(slots=True)
class Use:
    """Of one tenant.

    Attributes:
        before: What it has used, less what it would have used by holding what it holds now all the time.
        holds: Thousandths of slots that it holds.
    """

    before: int = 0
    holds: int = 0


@dataclass(slots=True)
class Shares:
    """Of all tenants that hold something, or did of late.

    Attributes:
        half_life_ticks: Half of what was used is forgotten in so many; 0: nothing is kept, and shares decide nothing.
    """

    half_life_ticks: int = 0
    by_tenant: dict[int, Use] = field(default_factory=dict)

    @property
    def on(self) -> bool:
        """Whether shares decide."""
        return self.half_life_ticks > 0

    def begins(self, lease: Lease, tick: int) -> None:
        """A tenant holds a lease's slots from now on."""
        self._hold(lease, 1, tick)

    def ends(self, lease: Lease, tick: int) -> None:
        """It holds them no more."""
        self._hold(lease, -1, tick)

    def of(self, tenant: int, tick: int) -> int:
        """What a tenant has used, in a unit that is the same for all of them in one tick."""
        use = self.by_tenant.get(tenant)
        return max(0, use.before + use.holds * _unit(tick, self.half_life_ticks)) if use else 0

    def slot_ticks(self, tenant: int, tick: int) -> int:
        """The same for people: slot-ticks, of which half was forgotten in each half-life."""
        if not self.on:
            return 0
        unit = _unit(tick, self.half_life_ticks)
        return over_ln2(self.of(tenant, tick) * self.half_life_ticks) // (unit * PERMILLE)

    def passes(self, tick: int) -> None:
        """A tick passes: at the end of a half-life the unit is halved, and who has used nothing is forgotten."""
        if self.on and tick % self.half_life_ticks == 0:
            for use in self.by_tenant.values():
                use.before >>= 1
            self.by_tenant = {tenant: use for tenant, use in self.by_tenant.items() if use.holds or use.before > 0}

    def words(self) -> list[int]:
        """All of it, for a hash: nothing while shares decide nothing."""
        if not self.on:
            return []
        uses = [word for tenant, use in sorted(self.by_tenant.items()) for word in (tenant, use.before, use.holds)]
        return [-2, self.half_life_ticks, len(uses), *uses]

    def _hold(self, lease: Lease, sign: int, tick: int) -> None:
        if self.on:
            milli_slots = sign * (lease.shape.share_permille or lease.shape.slots * PERMILLE)
            use = self.by_tenant.setdefault(lease.tenant, Use())
            use.holds += milli_slots
            use.before -= milli_slots * _unit(tick, self.half_life_ticks)


@lru_cache(maxsize=8)
def _unit(tick: int, half_life_ticks: int) -> int:
    """G: from 2^31 to 2^32, so that what a whole zone has used is a word."""
    return exp2_q32(((tick % half_life_ticks) << 32) // half_life_ticks) >> 1
