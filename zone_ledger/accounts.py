"""Accounts: where every micro-credit is, always and exactly.

`minted + transferred_in = balances + escrow + evaporated + transferred_out` holds after every movement and is asserted
there. Escrow is one sum: purses, periods paid ahead, and the endowments of orders that wait.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Accounts:
    """Balances by tenant's number, and the ledger's sums, all in ucr."""

    balances: dict[int, int] = field(default_factory=dict)
    minted: int = 0
    escrow: int = 0
    evaporated: int = 0
    transferred_in: int = 0
    transferred_out: int = 0
    balance_sum: int = 0

    def open(self, tenant: int) -> None:
        """A new account with nothing in it."""
        assert tenant not in self.balances, f"tenant {tenant} has an account"
        self.balances[tenant] = 0

    def mint(self, tenant: int, amount_ucr: int) -> None:
        """New credits into an account."""
        self.minted += amount_ucr
        self._credit(tenant, amount_ucr)

    def hold(self, tenant: int, amount_ucr: int) -> None:
        """From an account into escrow; the account must have it."""
        assert 0 <= amount_ucr <= self.balances[tenant], f"tenant {tenant} has no {amount_ucr} ucr"
        self.escrow += amount_ucr
        self._credit(tenant, -amount_ucr)

    def give_back(self, tenant: int, amount_ucr: int) -> None:
        """From escrow into an account."""
        assert 0 <= amount_ucr <= self.escrow, f"escrow has no {amount_ucr} ucr"
        self.escrow -= amount_ucr
        self._credit(tenant, amount_ucr)

    def evaporate(self, amount_ucr: int) -> None:
        """From escrow to nobody."""
        assert 0 <= amount_ucr <= self.escrow, f"escrow has no {amount_ucr} ucr"
        self.escrow -= amount_ucr
        self.evaporated += amount_ucr
        self._assert_conserved()

    def check(self) -> None:
        """Assert the sums against the accounts themselves."""
        assert self.balance_sum == sum(self.balances.values())
        assert all(balance >= 0 for balance in self.balances.values())
        self._assert_conserved()

    def _credit(self, tenant: int, amount_ucr: int) -> None:
        self.balances[tenant] += amount_ucr
        self.balance_sum += amount_ucr
        self._assert_conserved()

    def _assert_conserved(self) -> None:
        came = self.minted + self.transferred_in
        assert came == self.balance_sum + self.escrow + self.evaporated + self.transferred_out, "credits not conserved"
