"""The claims' framework: intervals, runs that are kept, and a page and plots that follow from claims.json alone."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegsim.claims import plots, store
from tegsim.claims.bootstrap import mean_interval
from tegsim.claims.page import number, page
from tegsim.claims.record import Book, Plot, Series, Verdict, decode, encode
from tegsim.claims.registry import CLAIMS, measured, titles
from tegsim.claims.setting import Setting, run_all

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "docs" / "claims"


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_an_interval_holds_its_mean_and_stays_within_what_was_seen(values: list[float]) -> None:
    mean, low, high = mean_interval(values)
    slack = 1e-5 * max(1.0, *map(abs, values))
    assert min(values) - slack <= low <= mean <= high <= max(values) + slack


def test_an_interval_is_as_wide_as_theory_says() -> None:
    """The mean of 400 normal draws has a standard error of 1/20; its 95 % interval spans 3.92 of them."""
    source = np.random.default_rng(1)
    widths = [np.subtract(*mean_interval(source.normal(size=400).tolist())[:0:-1]) for _ in range(5)]
    assert np.mean(widths) == pytest.approx(3.92 / 20, rel=0.1)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_what_is_not_there_has_no_mean(values: list[float]) -> None:
    with pytest.raises(ValueError, match="no mean"):
        mean_interval(values)


# --- runs -----------------------------------------------------------------------------------------------------------

ran: list[tuple[str, int]] = []


def drawn(_setting: Setting, policy: str, seed: int) -> dict[str, Any]:
    ran.append((policy, seed))
    return {"x": seed / 3}


def broken(_setting: Setting, _policy: str, seed: int) -> dict[str, Any]:
    if seed == 2 and not ran:
        raise RuntimeError("power cut")
    ran.append(("", seed))
    return {"x": seed}


def silent(*_: object) -> None:
    return


def test_a_run_is_kept_and_told_as_such(tmp_path: Path) -> None:
    ran.clear()
    told = []
    setting = Setting(True, (1, 2), None, store.Store(tmp_path, lambda *seen: told.append(seen)))
    first = setting.runs("c", ("a", "b"), drawn)
    assert setting.runs("c", ("a", "b"), drawn) == first
    assert sorted(ran) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert [seen[3] for seen in told] == [False] * 4 + [True] * 4
    assert first == run_all(setting, "c", ("a", "b"), drawn)


def test_what_was_interrupted_goes_on_where_it_was(tmp_path: Path) -> None:
    ran.clear()
    setting = Setting(True, (1,), None, store.Store(tmp_path, silent))
    setting.runs("c", ("a",), broken)
    ran.clear()
    with pytest.raises(RuntimeError):
        setting._replace(seeds=(1, 2)).runs("c", ("a",), broken)
    ran.append(("", 0))
    assert setting._replace(seeds=(1, 2)).runs("c", ("a",), broken) == {"a": [{"x": 1}, {"x": 2}]}
    assert ran == [("", 0), ("", 2)]


def test_a_key_follows_the_size_and_the_function() -> None:
    quick = Setting(True, (1,), None, run_all)
    keys = {store.key(drawn, quick), store.key(drawn, quick._replace(quick=False)), store.key(broken, quick)}
    assert len(keys) == 3
    assert store.key(drawn, quick._replace(seeds=(9,))) in keys


def test_a_run_follows_from_what_its_function_reaches_and_from_nothing_else() -> None:
    source = "import a\nimport b\nX = 1\nTITLE = 2\ndef f():\n    return a.y + X\ndef g():\n    return b\n"
    reached = [store.ast.unparse(statement).split("\n")[0] for statement in store.reached(source, "f")]
    assert reached == ["import a", "X = 1", "def f():"]


def test_sources_reach_through_the_project() -> None:
    found = store.sources("tegsim.herd")
    assert {"tegsim.herd", "tegsim.crowd", "tegd.flight", "zone_ledger.book.quadtree"} <= found
    assert not {name for name in found if name.startswith("tegsim.claims")}


# --- the record, the page, the plots ----------------------------------------------------------------------------------


@pytest.mark.parametrize("module", CLAIMS, ids=lambda module: module.TITLE.name)
def test_a_claim_is_named_as_its_module_and_says_its_rule(module: Any) -> None:
    assert module.__name__ == f"tegsim.claims.{module.TITLE.name}"
    assert module.TITLE.rule
    assert module.TITLE.promised


@pytest.mark.parametrize("module", [module for module in CLAIMS if hasattr(module, "TRACES")], ids=str)
def test_a_claim_without_its_traces_is_skipped_and_says_so(module: Any, tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        claim = measured(module, Setting(True, (1,), folder, run_all))
        assert claim.verdict is Verdict.SKIPPED
        assert "TRACES=DIR" in claim.why


def committed() -> Book:
    return decode((COMMITTED / "claims.json").read_bytes())


def test_the_committed_page_is_a_function_of_the_committed_figures() -> None:
    book = committed()
    assert (COMMITTED / "README.md").read_text() == page(book)
    assert encode(book) == (COMMITTED / "claims.json").read_bytes()
    assert {path.stem for path in COMMITTED.glob("*.svg")} == {
        plot.name for claim in book.claims for plot in claim.plots
    }


def test_the_committed_figures_are_of_a_full_run_and_sane() -> None:
    book = committed()
    assert not book.quick
    names = [claim.name for claim in book.claims]
    assert names == [name for name in titles() if name in names]
    for claim in book.claims:
        assert claim.verdict is Verdict.SKIPPED or claim.ours
        for figure in (*claim.ours, *claim.baselines):
            assert figure.low <= figure.value <= figure.high, (claim.name, figure)
        for series in (series for plot in claim.plots for series in plot.series):
            assert series.style in {"level", "mark"} or len(series.x) == len(series.y)
            assert len(series.low) == len(series.high)
            assert len(series.low) in {0, len(series.y)}


def test_a_file_that_is_no_record_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(b'{"schema": 1, "quick": false, "claims": [{"name": "x"}]}')


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.5"), (1234.5, "1,234"), (3.14159, "3.14"), (25.04, "25.0")])
def test_numbers_are_for_people(value: float, text: str) -> None:
    assert number(value) == text


def test_a_plot_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    lines = [
        Series("a", [1.0, 10.0, 100.0], [0.0, 0.01, 3.0], [0.0, 0.005, 2.0], [0.1, 0.02, 4.0]),
        Series("b", [1.0, 100.0], [1.0, 2.0], style="points"),
        Series("limit", [], [2.5], style="level"),
        Series("bound", [20.0], [], style="mark"),
    ]
    plot = Plot("p", "title", "x", "y", lines, log="xy")
    first = plots.write(plot, tmp_path).read_bytes()
    assert plots.write(plot, tmp_path).read_bytes() == first
    bars = Plot("q", "title", "", "y", [Series("a", [0.0, 1.0], [1.0, 2.0], style="bars")], ["one", "two"])
    assert b"<svg" in plots.write(bars, tmp_path).read_bytes()
