"""The auditor against the engine: two programs that share no line must come to the same balances."""

import ast
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import Driver, commands

from tegcore.wire.records import Mint, Op, Record, pack_all
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
