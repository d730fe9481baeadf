"""What the agent side must not forget, on a real disk."""

from pathlib import Path

import pytest

from tegcore.errors import JournalError
from tegcore.wire.control import Hook, WorkloadSpec
from tegd.adapters.store import Store
from tegd.roster import ENDED_KEPT_MAX
from tegd.workload import Life, Waits, Workload


def workload(ref: int, life: Life = Life.SEEKING, uid: int = 7) -> Workload:
    spec = WorkloadSpec(argv=("true",), sizes=(2, 1), hook=Hook())
    work = Workload(ref, f"w{ref}", "ada", uid, 7, 100 + ref, spec, life)
    work.waits = Waits("PRICE", 5, 6, 7)
    work.note(3, "accepted")
    return work


def test_what_was_kept_is_there_for_the_next_start(tmp_path: Path) -> None:
    store = Store(tmp_path / "work.sqlite")
    first, second = workload(1), workload(2, Life.SEATED)
    second.lease, second.token, second.term_end_ns, second.blocks = 9, 2**40, 2**50, ((4, 2),)
    store.keep(first, second)
    again = Store(tmp_path / "work.sqlite")  # the first was not closed: a killed daemon closes nothing
    assert again.load() == [first, second]
    assert (again.by_key(7, 101), again.by_key(7, 102), again.by_key(8, 101)) == (1, 2, None)
    store.close()
    again.close()


def test_no_number_is_given_twice(tmp_path: Path) -> None:
    boots, refs = [], []
    for _ in range(3):
        store = Store(tmp_path / "work.sqlite")
        boots.append(store.next_boot())
        refs.append(store.next_ref())
        store.keep(workload(refs[-1], Life.ENDED))
        store.load()
        store.close()
    assert boots == sorted(set(boots))
    assert refs == [1, 2, 3]


def test_of_what_is_over_the_latest_are_kept_and_of_what_lives_all(tmp_path: Path) -> None:
    store = Store(tmp_path / "work.sqlite")
    count = ENDED_KEPT_MAX + 20
    store.keep(workload(1), *(workload(ref, Life.ENDED) for ref in range(2, count + 2)))
    refs = [work.ref for work in store.load()]
    assert refs[0] == 1
    assert refs[1:] == list(range(22, count + 2))
    store.close()


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    path = tmp_path / "work.sqlite"
    path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(JournalError, match=str(path)):
        Store(path)
