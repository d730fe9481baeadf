"""Accounts: where every micro-credit is, always and exactly.

`minted + transferred_in = balances + escrow + evaporated + transferred_out` holds after every movement and is asserted
there. Escrow is one sum: purses, periods paid ahead, and the endowments of orders that wait.

Every movement leaves a *posting*, which is journaled beside the commands that caused it: whoever adds up postings must
come to the same balances without knowing a rule of the market (`zone-ledger audit`).
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum

_POSTING = struct.Struct("<IIq")
POSTING_BYTES = _POSTING.size


class Posting(IntEnum):
    """From where to where an amount went; `account` is the tenant's number, 0 where none is concerned."""

    MINT = 1
    """From nowhere into an account."""
    HOLD = 2
    """From an account into escrow."""
    GIVE_BACK = 3
    """From escrow into an account."""
    EVAPORATE = 4
    """From escrow to nobody."""
    SUBSIDISE = 5
    """From nowhere into escrow: into the purse of a lease of that account."""
    TRANSFER_OUT = 6
    """From an account to another ledger."""
    TRANSFER_IN = 7
    """From another ledger into an account."""
    STANDING = 8
    """From nowhere into escrow: what a standing income covers of a lease of that account."""
    INCOME = 9
    """From nowhere into an account, at its tenant's rate."""


class _Marked:
    """Room for what is no part of what is kept."""

    __slots__ = ("changed",)

    def __init__(self) -> None:
        self.changed: set[int] = set()


@dataclass(slots=True)
class Accounts(_Marked):
    """Balances by tenant's number, and the ledger's sums, all in ucr.

    Attributes:
        changed: Tenants whose balance is another since this was last emptied; derived, and not kept.
    """

    balances: dict[int, int] = field(default_factory=dict)
    minted: int = 0
    escrow: int = 0
    evaporated: int = 0
    transferred_in: int = 0
    transferred_out: int = 0
    balance_sum: int = 0
    _postings: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        _Marked.__init__(self)
        self.changed.update(self.balances)

    def take_postings(self) -> bytes:
        """The postings since the last call, 16 bytes each: kind, account, amount."""
        taken, self._postings = b"".join(self._postings), []
        return taken

    def open(self, tenant: int) -> None:
        """A new account with nothing in it."""
        assert tenant not in self.balances, f"tenant {tenant} has an account"
        self.balances[tenant] = 0
        self.changed.add(tenant)

    def mint(self, tenant: int, amount_ucr: int) -> None:
        """New credits into an account."""
        self.minted += amount_ucr
        self._credit(tenant, amount_ucr, Posting.MINT)

    def subsidise(self, tenant: int, amount_ucr: int) -> None:
        """New credits into escrow, for the purse of a lease."""
        self.minted += amount_ucr
        self.escrow += amount_ucr
        self._post(Posting.SUBSIDISE, tenant, amount_ucr)

    def cover(self, tenant: int, amount_ucr: int) -> None:
        """New credits into escrow: what a lease is charged that a standing income covers."""
        self.minted += amount_ucr
        self.escrow += amount_ucr
        self._post(Posting.STANDING, tenant, amount_ucr)

    def earn(self, tenant: int, amount_ucr: int) -> None:
        """New credits into an account, at its tenant's rate."""
        self.minted += amount_ucr
        self._credit(tenant, amount_ucr, Posting.INCOME)

    def transfer_out(self, tenant: int, amount_ucr: int) -> None:
        """From an account to another ledger; the account must have it."""
        assert 0 <= amount_ucr <= self.balances[tenant], f"tenant {tenant} has no {amount_ucr} ucr"
        self.transferred_out += amount_ucr
        self._credit(tenant, -amount_ucr, Posting.TRANSFER_OUT)

    def transfer_in(self, tenant: int, amount_ucr: int) -> None:
        """From another ledger into an account."""
        self.transferred_in += amount_ucr
        self._credit(tenant, amount_ucr, Posting.TRANSFER_IN)

    def hold(self, tenant: int, amount_ucr: int) -> None:
        """From an account into escrow; the account must have it."""
        assert 0 <= amount_ucr <= self.balances[tenant], f"tenant {tenant} has no {amount_ucr} ucr"
        self.escrow += amount_ucr
        self._credit(tenant, -amount_ucr, Posting.HOLD)

    def give_back(self, tenant: int, amount_ucr: int) -> None:
        """From escrow into an account."""
        assert 0 <= amount_ucr <= self.escrow, f"escrow has no {amount_ucr} ucr"
        self.escrow -= amount_ucr
        self._credit(tenant, amount_ucr, Posting.GIVE_BACK)

    def evaporate(self, amount_ucr: int) -> None:
        """From escrow to nobody."""
        assert 0 <= amount_ucr <= self.escrow, f"escrow has no {amount_ucr} ucr"
        self.escrow -= amount_ucr
        self.evaporated += amount_ucr
        self._post(Posting.EVAPORATE, 0, amount_ucr)

    def check(self) -> None:
        """Assert the sums against the accounts themselves."""
        assert self.balance_sum == sum(self.balances.values())
        assert all(balance >= 0 for balance in self.balances.values())
        self._assert_conserved()

    def _credit(self, tenant: int, amount_ucr: int, kind: Posting) -> None:
        self.balances[tenant] += amount_ucr
        self.balance_sum += amount_ucr
        self.changed.add(tenant)
        self._post(kind, tenant, abs(amount_ucr))

    def _post(self, kind: Posting, tenant: int, amount_ucr: int) -> None:
        self._assert_conserved()
        if amount_ucr:
            self._postings.append(_POSTING.pack(kind, tenant, amount_ucr))

    def _assert_conserved(self) -> None:
        came = self.minted + self.transferred_in
        assert came == self.balance_sum + self.escrow + self.evaporated + self.transferred_out, "credits not conserved"
