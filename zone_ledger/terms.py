"""The terms of tenants as operators set them by command: users, weight, whether closed to new orders.

Changes are counted, and each tenant remembers the number of its latest: a host that says up to which it knows is told
what came since.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import takewhile

from tegcore.tenancy import DEFAULT_WEIGHT

TENANTS_SET_MAX = 4096
USERS_MAX = 256
"""Of one tenant, those that were removed among them."""


@dataclass(slots=True)
class Terms:
    """Of one tenant.

    Attributes:
        changed: Number of the latest change.
        users: By number, who was added (True) or removed (False).
    """

    changed: int = 0
    weight: int = DEFAULT_WEIGHT
    closed: bool = False
    users: dict[int, bool] = field(default_factory=dict)


@dataclass(slots=True)
class TermsOfAll:
    """Of all tenants that have any.

    Attributes:
        changes: How many there were.
        by_tenant: By number of the tenant, the one that changed last at the end.
    """

    changes: int = 0
    by_tenant: dict[int, Terms] = field(default_factory=dict)

    def of(self, tenant: int) -> Terms:
        """Those of a tenant, whether it has any or not; not to be changed."""
        return self.by_tenant.get(tenant) or Terms()

    def is_closed(self, tenant: int) -> bool:
        """Whether a tenant's orders are refused; its leases run on."""
        return tenant in self.by_tenant and self.by_tenant[tenant].closed

    def set(self, tenant: int, weight: int, *, closed: bool) -> bool:
        """Set weight and door; False: there are too many tenants that have terms."""
        terms = self._changed(tenant)
        if terms is None:
            return False
        terms.weight, terms.closed = weight, closed
        return True

    def set_user(self, tenant: int, uid: int, *, on: bool) -> bool:
        """Add or remove a user; False: there are too many."""
        users = self.of(tenant).users
        if uid not in users and len(users) >= USERS_MAX:
            return False
        terms = self._changed(tenant)
        if terms is None:
            return False
        terms.users[uid] = on
        return True

    def after(self, change: int) -> list[tuple[int, Terms]]:
        """Tenants that changed after a change, in that order."""
        later = takewhile(lambda entry: entry[1].changed > change, reversed(self.by_tenant.items()))
        return list(later)[::-1]

    def words(self) -> Iterable[int]:
        """All of it, for a hash: nothing while there is none of it."""
        for tenant, terms in sorted(self.by_tenant.items()):
            yield from (-1, tenant, terms.changed, terms.weight, terms.closed)
            yield from (word for user in sorted(terms.users.items()) for word in user)

    def _changed(self, tenant: int) -> Terms | None:
        """A tenant's terms, moved to the end."""
        terms = self.by_tenant.pop(tenant, None)
        if terms is None and len(self.by_tenant) >= TENANTS_SET_MAX:
            return None
        self.changes += 1
        self.by_tenant[tenant] = terms = terms or Terms()
        terms.changed = self.changes
        return terms
