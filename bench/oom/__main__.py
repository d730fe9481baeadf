"""Out-of-memory scenarios in a guest, with the airlock as the policy: `python -m bench.oom KIT [SCENARIO...]`.

KIT holds `build-image.sh` and `run-scenario.sh SCENARIO POLICY`, which prints one `RESULT {json}` line; its image is
made once in $OOMBAR_WORK. The policy is this tree's airlock side on the guest's own Python, which needs nothing else.
Other policies of the kit can be named with --beside, and run in turn with ours; scenarios are the kit's and those of
`more_scenarios`. --keep DIR keeps each run, and does not run it again; --plot DIR draws all that is kept, a figure a
scenario, and --page FILE puts the table of results between the marks of a page.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench.oom import guest, results
from bench.report import write

SHOWN = ("oom_kills", "lost_units", "wrong", "unfinished", "hb_max_s", "exec_max_s", "t_all_s", "min_avail_mib")
KERNEL, OURS = "zram", "tegd"


def main() -> None:
    """Run, print, keep, draw."""
    parser = argparse.ArgumentParser(prog="bench.oom", description=__doc__)
    parser.add_argument("kit", type=Path)
    parser.add_argument("scenarios", nargs="*", default=["S1", "S2", "S3", "S4", "S5"])
    parser.add_argument("--beside", action="append", default=[], help="another policy of the kit; zram is the kernel's")
    parser.add_argument("--runs", type=int, default=1, help="of ours; the others run once, in between")
    parser.add_argument("--keep", type=Path, help="folder of runs: those in it are not run again")
    parser.add_argument("--plot", type=Path, help="folder for one SVG a scenario")
    parser.add_argument("--page", type=Path, help="page that takes the table")
    wanted = parser.parse_args()
    if "OOMBAR_WORK" not in os.environ:
        sys.exit("bench.oom: set OOMBAR_WORK to a folder, and run the kit's build-image.sh once")
    cells = [
        (scenario, policy, number)
        for scenario in wanted.scenarios
        for number in range(wanted.runs)
        for policy in ([*wanted.beside, OURS] if number == 0 else [OURS])
    ]
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        kit = guest.kit(wanted.kit, Path(folder) / "kit")
        keep = wanted.keep or Path(folder) / "runs"
        for done, (scenario, policy, number) in enumerate(cells, 1):
            cell = keep / f"{scenario}-{policy}-{number}.json"
            run = results.kept(cell) or results.keep(cell, guest.run(kit, scenario, policy))
            runs.append(run)
            figures = "  ".join(f"{field} {run['result'].get(field)}" for field in SHOWN)
            print(f"{done}/{len(cells)} {scenario} {policy:10} {figures}", flush=True)
    write("oom", {"runs": [run["result"] | {"held": results.held(run)} for run in runs]})
    figures = []
    if wanted.plot:
        from bench.oom import plot  # noqa: PLC0415 - the `sim` extra

        figures = plot.draw(runs, wanted.plot)
        print(f"drawn: {', '.join(map(str, figures))}")
    if wanted.page:
        results.put(wanted.page, runs, figures)


if __name__ == "__main__":
    main()
