"""Rule sets: which rules of the market a journal was written under.

A journal's header names the set that it began with (none named: 1), and a RULES record the tick from which a later one
holds. A replay applies each record under the set that held when it was written, so a change of rules never changes what
an old journal leads to. A program writes under the latest set alone.
"""

from typing import NamedTuple

from tegcore.errors import JournalError


class RuleSet(NamedTuple):
    """The rules in which sets differ.

    Attributes:
        number: What journals call it.
        accounts_pay: A lease without an endowment is paid from its tenant's account as it runs, or by a standing
            income; an account that runs dry gives up its newest leases first.
        named_displace: Only a bid that a person named displaces, only where nothing free fits, no lease in its first
            term, and at the challenger's cost from the notice on; a challenger that goes takes the notice back.
        whole_cost: Of blocks, the one is taken that costs least with its memory and cpu at (15), not by slots alone.
        wide_last: In the auction wide orders are cleared after the local groups of their tick; ties go by age, and so
            does who is cleared in a tick that has no room for all.
        group_bids_max: A group that is cleared by value per slot takes this many bids a tick; more wait.
        group_steps_max: And no more than what so many steps of clearing come to, where it is not 0: half a tick.
    """

    number: int
    accounts_pay: bool
    named_displace: bool
    whole_cost: bool
    wide_last: bool
    group_bids_max: int
    group_steps_max: int


RULE_SETS = {
    1: RuleSet(
        1,
        accounts_pay=False,
        named_displace=False,
        whole_cost=False,
        wide_last=False,
        group_bids_max=256,
        group_steps_max=0,
    ),
    2: RuleSet(
        2,
        accounts_pay=True,
        named_displace=True,
        whole_cost=True,
        wide_last=True,
        group_bids_max=512,
        group_steps_max=16_000,
    ),
}
LATEST = max(RULE_SETS)


def rule_set(number: int) -> RuleSet:
    """The rule set of a number.

    Raises:
        JournalError: If this program does not know it.
    """
    found = RULE_SETS.get(number)
    if found is None:
        raise JournalError(
            f"a journal under rule set {number}: this program knows up to {LATEST}", "update the program"
        )
    return found
