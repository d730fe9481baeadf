"""The auditor: balances rebuilt from the journal alone, by someone who knows nothing of the market.

It imports nothing of TEG and reads two formats: 104-byte records (which command, tenant and amount) and 16-byte
postings (from where to where how much went). It adds up postings and checks each against the commands of its batch:
what is minted was ordered, what is held was offered, what is transferred was told to be; nothing goes below nothing.
Since rule set 2 an account pays as its leases run, so what is held is no longer offered in so many words.

It also names records that no ledger can hash, add up or place: an older program took them in and ended by them, this
one refuses them wherever it meets them.
"""

import sqlite3
import struct
from collections import Counter
from pathlib import Path
from typing import Any

_RECORD = struct.Struct("<HHIQQ10q")
_POSTING = struct.Struct("<IIq")
_MINT, _HOLD, _GIVE_BACK, _EVAPORATE, _SUBSIDISE, _OUT, _IN = range(1, 8)
_FOK, _MOVE, _TOP_UP, _MINT_OP, _OUT_OP, _IN_OP, _RULES_OP = 16, 17, 22, 32, 41, 42, 45
_GENESIS_OP, _NAME_OP, _CORDON_OP = 1, 2, 33
_WORD_MAX, _NEED_MAX, _UCR_MAX = 2**63 - 1, 2**62, 2**62
BEYOND_NAMED_MAX = 16
_ORDERED_BY = {_MINT: "mint", _HOLD: "hold", _OUT: "out", _IN: "in"}


class AuditError(Exception):
    """The books do not add up; says where."""


class Audit:
    """Balances, and the sums that must always agree.

    Attributes:
        balances: ucr by tenant's number.
        rules: Rule set that the batch read last was under.
        beyond: (batch, record from 1, what) of the first records that are past what a ledger can hold.
        beyond_count: How many there are.
    """

    def __init__(self, rules: int = 1) -> None:
        self.balances: Counter[int] = Counter()
        self.minted = self.escrow = self.evaporated = self.transferred_in = self.transferred_out = 0
        self.subsidised = self.standing = self.batches = self.records = 0
        self.rules = rules
        self.beyond: list[tuple[int, int, str]] = []
        self.beyond_count = self._slots = 0

    def batch(self, number: int, records: bytes, postings: bytes) -> None:
        """Take in one batch.

        Raises:
            AuditError: If a posting has no command, a balance would fall below 0, or the sums disagree.
        """
        self._look_for_beyond(number, records)
        ordered = self._ordered(records)
        for kind, account, amount in _POSTING.iter_unpack(postings):
            if kind in _ORDERED_BY and not (kind == _HOLD and self.rules >= 2):
                order = (_ORDERED_BY[kind], account, amount)
                if not ordered[order]:
                    raise AuditError(f"batch {number}: {order} was booked and not ordered")
                ordered[order] -= 1
            self._book(number, kind, account, amount)
        came = self.minted + self.transferred_in
        there = sum(self.balances.values()) + self.escrow + self.evaporated + self.transferred_out
        if came != there:
            raise AuditError(f"batch {number}: {came} ucr came and {there} are there")
        self.batches += 1

    def _look_for_beyond(self, number: int, records: bytes) -> None:
        came = self.minted + self.transferred_in
        for place, (op, _, _, boot, seq, *args) in enumerate(_RECORD.iter_unpack(records), 1):
            if op == _GENESIS_OP:
                self._slots = 1 << 2 * args[0]
            coming = args[1] if op == _MINT_OP else args[3] if op == _IN_OP else 0
            what = _past_words(boot, seq) or self._past_zone(op, args)
            if not what and came + coming > (_UCR_MAX if self.rules >= 2 else _WORD_MAX):
                what = f"{coming} ucr, where {came} came before"
            came += 0 if what else coming
            if what:
                self.beyond_count += 1
                self.beyond += [(number, place, what)] if len(self.beyond) < BEYOND_NAMED_MAX else []

    def _past_zone(self, op: int, args: list[int]) -> str:
        """What an order, a name or a cordon holds that no zone has; empty: nothing."""
        if op == _CORDON_OP and self._slots and not 0 <= args[0] < self._slots:
            return f"slot {args[0]} of {self._slots}"
        if op in {_FOK, _MOVE}:
            log2 = max((args[3] & _WORD_MAX) >> 8 * block & 0xFF for block in range(4)) - 1
            need = max(args[4], args[5])
            return f"a need of {need} a slot" if 0 <= log2 <= 64 and need << log2 >= _NEED_MAX else ""
        if op == _NAME_OP:
            try:
                struct.pack("<8q", *args[2:]).rstrip(b"\0").decode()
            except UnicodeDecodeError:
                return "a name that is no UTF-8"
        return ""

    def _ordered(self, records: bytes) -> Counter[tuple[str, int, int]]:
        ordered: Counter[tuple[str, int, int]] = Counter()
        for op, _, _, _, _, *args in _RECORD.iter_unpack(records):
            self.records += 1
            if op in {_FOK, _MOVE}:
                ordered["hold", args[1], args[7]] += 1
            elif op == _TOP_UP:
                ordered["hold", args[2], args[3]] += 1
            elif op == _MINT_OP:
                ordered["mint", args[0], args[1]] += 1
            elif op == _RULES_OP:
                self.rules = max(self.rules, args[0])
            elif op in {_OUT_OP, _IN_OP}:
                ordered["out" if op == _OUT_OP else "in", args[1], args[3]] += 1
        return ordered

    def _book(self, number: int, kind: int, account: int, amount: int) -> None:
        if amount <= 0:
            raise AuditError(f"batch {number}: a posting of {amount}")
        match kind:
            case 1:
                self.minted += amount
                self.balances[account] += amount
            case 2:
                self.balances[account] -= amount
                self.escrow += amount
            case 3:
                self.escrow -= amount
                self.balances[account] += amount
            case 4:
                self.escrow -= amount
                self.evaporated += amount
            case 5:
                self.minted += amount
                self.subsidised += amount
                self.escrow += amount
            case 6:
                self.balances[account] -= amount
                self.transferred_out += amount
            case 7:
                self.transferred_in += amount
                self.balances[account] += amount
            case 8:
                self.minted += amount
                self.standing += amount
                self.escrow += amount
            case 9:
                self.minted += amount
                self.balances[account] += amount
            case _:
                raise AuditError(f"batch {number}: a posting of unknown kind {kind}")
        if self.balances[account] < 0 or self.escrow < 0:
            raise AuditError(f"batch {number}: account {account} or escrow falls below nothing")

    def result(self) -> dict[str, Any]:
        """What was found, in ucr."""
        return {
            "batches": self.batches,
            "records": self.records,
            "minted": self.minted,
            "of_it_subsidy": self.subsidised,
            "of_it_standing": self.standing,
            "escrow": self.escrow,
            "evaporated": self.evaporated,
            "transferred_in": self.transferred_in,
            "transferred_out": self.transferred_out,
            "beyond": [{"batch": batch, "record": place, "what": what} for batch, place, what in self.beyond],
            "beyond_count": self.beyond_count,
            "balances": {str(account): amount for account, amount in sorted(self.balances.items()) if amount},
        }


def _past_words(boot: int, seq: int) -> str:
    """What a record's head holds that is no signed 64-bit word; empty: nothing."""
    if boot > _WORD_MAX:
        return f"boot {boot}"
    return f"number {seq}" if seq > _WORD_MAX else ""


def audit(path: Path) -> Audit:
    """Rebuild balances from a whole journal with postings.

    Raises:
        AuditError: If the books do not add up, or the journal does not begin at the beginning.
    """
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        named = db.execute("SELECT value FROM meta WHERE key = 'rules'").fetchone()
        found = Audit(int(named[0]) if named else 1)
        for number, records, postings in db.execute("SELECT number, records, postings FROM batches ORDER BY number"):
            if number != found.batches + 1:
                raise AuditError(f"the journal has batch {number} where {found.batches + 1} should be")
            found.batch(number, records, postings or b"")
    except sqlite3.Error as error:
        raise AuditError(f"{path}: {error}") from None
    finally:
        db.close()
    return found
