"""What is asked of the shell again and again until it is done: one host's errands between itself and others.

What is to be done follows from what is on disk with each workload; here is only when to ask, and whether it is under
way. None of it outlives the program.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

from tegcore.backoff import Backoff
from tegcore.wire.messages import Party, PeerHost
from tegcore.wire.records import Region
from tegd.effects import AskPeers, Effect

if TYPE_CHECKING:
    from tegd.node import Node

CYCLES_PER_S = 20
RETRY_CYCLES = 4
"""At most, before what failed is tried again; it doubles to `RETRY_CYCLES_MAX`."""
RETRY_CYCLES_MAX = 400
_OF_OTHERS = {"party", "peer"}


@dataclass(slots=True)
class _Errand:
    """Something that is asked of the shell until it is done."""

    backoff: Backoff
    next_cycle: int = 0
    busy: bool = False


@dataclass
class Errands:
    """What trips and stays share.

    Args:
        node: Whose work it is.
        log2_slots: This host has 2^this slots.

    Attributes:
        grants: What the ledger told of each lease that this host ordered or that sits on it.
        parties: Who has to do with them, once asked.
        peers: How hosts are reached, as the ledger said last.
    """

    node: "Node"
    log2_slots: int
    grants: dict[int, Any] = field(default_factory=dict)
    parties: dict[int, Party] = field(default_factory=dict)
    peers: dict[str, PeerHost] = field(default_factory=dict)
    _errands: dict[Hashable, _Errand] = field(default_factory=dict)
    _since: dict[Hashable, int] = field(default_factory=dict)

    def _due(self, *key: Hashable) -> bool:
        """Whether something is to be asked for now; then it is busy until `_done` or `_failed`."""
        errand = self._errand(key)
        if errand.busy or self.node.cycle < errand.next_cycle:
            return False
        errand.busy = True
        return True

    def _done(self, *key: Hashable) -> None:
        self._errands.pop(key, None)

    def _failed(self, *key: Hashable) -> None:
        errand = self._errand(key)
        errand.busy, errand.next_cycle = False, self.node.cycle + round(errand.backoff.pause())

    def _errand(self, key: Hashable) -> _Errand:
        """Jitter is drawn per host and errand, so that what failed together is not tried together."""
        if key not in self._errands:
            seed = self.node.seed ^ crc32(repr((self.node.host, key)).encode())
            self._errands[key] = _Errand(Backoff(RETRY_CYCLES, RETRY_CYCLES_MAX, RETRY_CYCLES_MAX, seed))
        return self._errands[key]

    def heard_again(self) -> None:
        """This host was cut off, and is not any more: what failed meanwhile is asked for at once."""
        for errand in self._errands.values():
            errand.backoff.failures, errand.next_cycle = 0, self.node.cycle

    def _passed(self, *key: Hashable) -> int:
        """Cycles since this was asked about first."""
        return self.node.cycle - self._since.setdefault(key, self.node.cycle)

    def _forget_errands(self, ref: int) -> None:
        """Nothing more is asked for a workload; keys name it first or second, but for those of leases and hosts."""
        for kept in (self._errands, self._since):
            for key in [key for key in kept if isinstance(key, tuple) and ref in key[:2] and key[0] not in _OF_OTHERS]:
                del kept[key]

    def own_region(self) -> Region:
        """This host's slots."""
        assert self.node.zone is not None
        return Region(self.node.zone.base, self.log2_slots)

    def _is_up(self, host: str) -> bool:
        return host == self.node.host or (host in self.peers and self.peers[host].up)

    def _ask_party(self, lease: int, hosts: tuple[str, ...] = ()) -> list[Effect]:
        if not self._due("party", lease):
            return []
        self._failed("party", lease)
        return [AskPeers((lease,), hosts)]

    def unreached(self, host: str) -> list[Effect]:
        """A host could not be spoken to: where is it now?"""
        self.peers.pop(host, None)
        if not self._due("peer", host):
            return []
        self._failed("peer", host)
        return [AskPeers((), (host,))]
