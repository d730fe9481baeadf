"""Who may spend whose credits: the settings' table to begin with, and what was changed by command since, which wins."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

DEFAULT_WEIGHT = 1
"""Of a tenant for which nobody set another."""


@dataclass(frozen=True)
class Users:
    """The users of all tenants, by number.

    Attributes:
        table: By tenant, those that the settings list.
        changed: By tenant, those that were added (True) or removed (False) by command.
    """

    table: Mapping[str, Collection[int]] = field(default_factory=dict)
    changed: Mapping[str, Mapping[int, bool]] = field(default_factory=dict)

    def of(self, tenant: str) -> list[int]:
        """Those of a tenant that are listed; whoever is called as the tenant need not be."""
        changed = self.changed.get(tenant, {})
        listed = [uid for uid in self.table.get(tenant, ()) if changed.get(uid, True)]
        return listed + [uid for uid, on in changed.items() if on and uid not in listed]

    def tenants_of(self, uid: int, name: str) -> list[str]:
        """Tenants that a user called `name` may spend as, its first choice first: those that list it, then its name's.

        A tenant of its name that lists others is theirs, unless nothing lists this user; who was removed from it is the
        tenant of its number.
        """
        tenants = [*self.table, *(tenant for tenant in self.changed if tenant not in self.table)]
        listed = [tenant for tenant in tenants if self._lists(tenant, uid)]
        removed = not self.changed.get(name, {}).get(uid, True)
        if not listed:
            return [f"u{uid}" if removed else name]
        return listed if removed or self.of(name) else [*listed, name]

    def _lists(self, tenant: str, uid: int) -> bool:
        return self.changed.get(tenant, {}).get(uid, uid in self.table.get(tenant, ()))
