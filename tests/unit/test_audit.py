"""The auditor against the engine: two programs that share no line must come to the same balances."""

import ast
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import Driver, commands

from tegcore.units import UCR_MAX
from tegcore.wire.records import (
    Cordon,
    Fok,
    Genesis,
    HostUp,
    Market,
    Mint,
    NameIs,
    NameKind,
    Op,
    Record,
    Region,
    Shape,
    pack_all,
)
from zone_ledger import audit
from zone_ledger.accounts import Posting


def test_it_imports_nothing_of_teg() -> None:
    tree = ast.parse(Path(audit.__file__).read_text())
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert not [name for name in names if name.startswith(("teg", "zone_ledger", "governor"))]


@settings(max_examples=60, deadline=None)
@given(st.lists(commands, min_size=20, max_size=60))
def test_it_comes_to_the_balances_of_the_engine(drawn) -> None:
    driver, done = Driver(), 0
    found = audit.Audit(driver.engine.state.rules.number)
    for number, (op, host, body) in enumerate(drawn, 1):
        driver.command(op, host, body)
        money = driver.engine.state.accounts
        found.batch(number, pack_all(driver.journal[done:]), money.take_postings())
        done = len(driver.journal)
        assert {account: amount for account, amount in found.balances.items() if amount} == {
            tenant: amount for tenant, amount in money.balances.items() if amount
        }
        sums = (found.minted, found.escrow, found.evaporated, found.transferred_in, found.transferred_out)
        assert sums == (money.minted, money.escrow, money.evaporated, money.transferred_in, money.transferred_out)


def posting(kind: Posting, account: int, amount: int) -> bytes:
    return audit._POSTING.pack(kind, account, amount)


MINTED = Record(Op.MINT, 0, 0, 1, Mint(1, 500)).packed()


@pytest.mark.parametrize(
    ("records", "postings", "complaint"),
    [
        (b"", posting(Posting.MINT, 1, 500), "not ordered"),
        (MINTED, posting(Posting.MINT, 1, 501), "not ordered"),
        (MINTED, posting(Posting.MINT, 1, 500) * 2, "not ordered"),
        (MINTED, posting(Posting.MINT, 1, 500) + posting(Posting.GIVE_BACK, 1, 1), "below nothing"),
        (MINTED, posting(Posting.MINT, 1, 500) + posting(Posting.EVAPORATE, 0, 1), "below nothing"),
        (b"", audit._POSTING.pack(99, 1, 1), "unknown kind"),
        (b"", posting(Posting.SUBSIDISE, 1, -1), "a posting of -1"),
    ],
)
def test_it_finds_what_is_amiss(records: bytes, postings: bytes, complaint: str) -> None:
    with pytest.raises(audit.AuditError, match=complaint):
        audit.Audit().batch(1, records, postings)


BEYOND = {
    "boot 9223372036854775808": Record(Op.HOST_UP, 1, 2**63, 0, HostUp(0, 2, 0, 1, 1, 0)),
    "number 9223372036854775808": Record(Op.MINT, 0, 0, 2**63, Mint(1, 5)),
    "slot 16 of 16": Record(Op.CORDON, 0, 0, 1, Cordon(16, 1)),
    "a need of 4611686018427387904 a slot": Record(
        Op.FOK, 1, 1, 1, Fok(1, 1, Region(0, 4).packed(), Shape((2,)).packed(), 2**62, 0, 1, 0, 0, 0)
    ),
    "a name that is no UTF-8": Record(Op.NAME_IS, 0, 0, 0, NameIs(NameKind.HOST, 1, -1, 0, 0, 0, 0, 0, 0, 0)),
    "4611686018427387904 ucr, where 7 came before": Record(Op.MINT, 0, 0, 2, Mint(1, UCR_MAX)),
}


@pytest.mark.parametrize("what", BEYOND)
def test_it_names_what_is_past_all_that_a_ledger_can_hold(what: str) -> None:
    genesis = Record(Op.GENESIS, 0, 0, 0, Genesis(2, 100, 2, 40, 40, 60, 100, Market.FIXED))
    few = Record(Op.MINT, 0, 0, 1, Mint(1, 7))
    found = audit.Audit(rules=2)
    found.batch(1, pack_all([genesis, few]), posting(Posting.MINT, 1, 7))
    found.batch(2, pack_all([few._replace(seq=9, body=Mint(9, 0)), BEYOND[what]]), b"")
    assert (found.beyond, found.beyond_count) == ([(2, 2, what)], 1)
