"""The tenants that this host knows: those of its settings, and those that the ledger tells it of.

The beat says how many changes to tenants there were. Who knows fewer asks for what came after, page by page; what was
told before is kept on disk, and serves until all is told anew.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec

from tegcore.tenancy import Users
from tegcore.wire.messages import Tenants

ASK_AGAIN_CYCLES = 20
"""A question that is not answered is asked again after so many."""


class Tenant(msgspec.Struct, frozen=True):
    """As the ledger told.

    Attributes:
        token: To spend as it.
        closed: Its orders are refused.
        users: By number, who was added (True) or removed (False) by command.
    """

    name: str
    token: int
    closed: bool
    users: dict[int, bool]


class Tenancy:
    """One host's.

    Args:
        table: Users of each tenant, as the settings say.
        tokens: Tokens that were put on this host.
        kept: What the ledger told before this start.

    Attributes:
        tokens: Token of each tenant that may submit here; changed in place.
    """

    def __init__(
        self, table: Mapping[str, Collection[int]], tokens: Mapping[str, int], kept: Iterable[Tenant] = ()
    ) -> None:
        self._table = table
        self._given = dict(tokens)
        self._before = {tenant.name: tenant for tenant in kept}
        self._told: dict[str, Tenant] = {}
        self._known, self._changes = 0, 0
        self._asked_cycle = -ASK_AGAIN_CYCLES
        self.tokens: dict[str, int] = {}
        self._settle()

    @property
    def users(self) -> Users:
        """Who may spend as whom."""
        return Users(self._table, {name: tenant.users for name, tenant in self._all().items()})

    @property
    def behind(self) -> bool:
        """Whether the ledger has more to tell."""
        return self._known < self._changes

    def is_closed(self, name: str) -> bool:
        """Whether a tenant takes no new work."""
        tenant = self._all().get(name)
        return tenant is not None and tenant.closed

    def begin_anew(self) -> None:
        """A session begins: the ledger may be another than before, with as many changes."""
        self._before, self._told, self._known = self._all(), {}, 0
        self._asked_cycle = -ASK_AGAIN_CYCLES

    def beaten(self, changes: int) -> None:
        """The ledger says how many changes there were."""
        if changes < self._known:
            self.begin_anew()
        self._changes = changes
        if not changes and self._before:
            self._before = {}
            self._settle()

    def question(self, cycle: int) -> int | None:
        """The change after which the ledger is to tell, if it is to be asked in this cycle."""
        if not self.behind or cycle < self._asked_cycle + ASK_AGAIN_CYCLES:
            return None
        self._asked_cycle = cycle
        return self._known

    def take(self, message: Tenants, opened: Callable[[bytes, str], int]) -> list[Tenant] | None:
        """Take in what the ledger tells; all that is to be kept, once all is told.

        Args:
            message: Of the ledger.
            opened: Opens the sealed token of a tenant of that name.
        """
        if message.after != self._known or message.upto < message.after:
            return None
        for told in message.tenants:
            users = dict.fromkeys(told.users, True) | dict.fromkeys(told.without, False)
            self._told[told.name] = Tenant(told.name, opened(told.token, told.name), told.closed, users)
        self._known = message.upto
        self._asked_cycle = -ASK_AGAIN_CYCLES
        if not self.behind:
            self._before = {}
        self._settle()
        return None if self.behind else list(self._told.values())

    def _all(self) -> dict[str, Tenant]:
        return self._before | self._told

    def _settle(self) -> None:
        self.tokens.clear()
        self.tokens.update(self._given | {name: tenant.token for name, tenant in self._all().items()})
