"""The potential over all hosts: a scan, and called so. What a TEG agent would choose if it saw every host."""

import numpy as np

from tegcore.field.fragmentation import Devices, Hosts, Law, Words, increments
from tegsim.policies.base import Floats, Scored


class Descent(Scored):
    """The host where the fragmentation potential rises least; equal ones by chance, so that names do not matter."""

    def __init__(self, law: Law, seed: int) -> None:
        super().__init__(seed)
        self._law = law

    def score(self, hosts: Hosts, request: Words) -> tuple[Floats, Devices]:
        """The rise, below zero."""
        rise, device = increments(hosts, request, self._law)
        return -np.round(rise, 6), device
