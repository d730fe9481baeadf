"""Who has been silent for too long: hosts stand in the order in which they were heard last, the oldest in front.

A look costs what it finds, however many hosts there are. Nothing of it is kept: what follows from it, HOST_LOST, is a
command of the journal, and a ledger that starts anew gives every host its whole time again.
"""

from collections import OrderedDict
from collections.abc import Iterable

LOST_NS = 3_500_000_000
"""A host that was not heard for so long is lost: hosts are heard at least once a second."""


class Silence:
    """When hosts were heard.

    Args:
        hosts: By number; each counts as heard at the first look.
    """

    def __init__(self, hosts: Iterable[int]) -> None:
        self._heard_ns = OrderedDict.fromkeys(hosts, 0)
        self._deaf_until_ns = 0

    def heard(self, host: int, now_ns: int) -> None:
        """A host was heard; `now_ns` never goes back."""
        self._heard_ns[host] = now_ns
        self._heard_ns.move_to_end(host)

    def look(self, now_ns: int, *, deaf: bool) -> list[int]:
        """The hosts that were silent for longer than `LOST_NS`, in order of their numbers; each once until it is heard.

        Args:
            now_ns: Of the clock that `heard` is told.
            deaf: Nobody can be heard: silence counts from now on.
        """
        if deaf or not self._deaf_until_ns:
            self._deaf_until_ns = now_ns
        found = []
        while self._heard_ns:
            host, heard_ns = next(iter(self._heard_ns.items()))
            if now_ns - max(heard_ns, self._deaf_until_ns) <= LOST_NS:
                break
            del self._heard_ns[host]
            found.append(host)
        return sorted(found)
