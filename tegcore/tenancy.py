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
        """Tenants that a user called `name` may spend as: its own first, then those that it was added to by command.

        Its own is the one under which the settings list it, else the one of its name, unless that lists others and this
        user is listed elsewhere; who was removed from the tenant of its name is the one of its number.
        """
        listed = [tenant for tenant in self.table if self._lists(tenant, uid)]
        added = sorted(tenant for tenant in self.changed if tenant not in listed and self._lists(tenant, uid))
        removed = not self.changed.get(name, {}).get(uid, True)
        if not listed and not added:
            return [f"u{uid}" if removed else name]
        is_named = name not in {*listed, *added} and not removed and not self.of(name)
        return [*listed, *([name] if is_named else []), *added]

    def _lists(self, tenant: str, uid: int) -> bool:
        return self.changed.get(tenant, {}).get(uid, uid in self.table.get(tenant, ()))
