"""Scenarios beside those of the kit, in its own form: for a guest of 1024 MiB, scaled to the guest's size by the kit.

A copy of the kit takes them in (`bench.oom`). A swarm has no hook; one of a single process is a hookless workload.
"""

from typing import Any


def _work(name: str, role: str, at: int, args: str, **more: Any) -> dict[str, Any]:
    weight = 400 if role == "strong" else 100
    return {"name": name, "role": role, "weight": weight, "at": at, "args": args, **more}


def _swarm(name: str, role: str, at: int, count: int, args: str) -> dict[str, Any]:
    return _work(name, role, at, f"--swarm {count} --stagger-ms 150 {args}", swarm=count)


MORE: dict[str, list[dict[str, Any]]] = {
    # nothing is short: what the daemon costs at rest
    "M0": [_work("calm", "weak", 0, "--seed 60 --mib 16 --iters 240 --touch 1 --iter-ms 250")],
    # two stronger ones grow over a resident weaker one
    "M1": [
        _work("weak", "weak", 0, "--seed 61 --mib 300 --iters 300 --touch 1 --pace-ms 5 --iter-ms 25"),
        _work("left", "strong", 6, "--seed 62 --mib 420 --iters 100 --touch 1 --hot 64 --pace-ms 40 --iter-ms 20"),
        _work("right", "strong", 8, "--seed 63 --mib 460 --iters 100 --touch 1 --hot 64 --pace-ms 40 --iter-ms 20"),
    ],
    # the weaker one arrives late, and grows fast
    "M2": [
        _work("strong", "strong", 0, "--seed 64 --mib 620 --iters 300 --touch 1 --pace-ms 15 --iter-ms 25"),
        _work("weak", "weak", 12, "--seed 65 --mib 420 --iters 100 --touch 1 --pace-ms 10 --iter-ms 20"),
    ],
    # pages that compress and pages that do not, side by side
    "M3": [
        _work("soft", "weak", 0, "--seed 66 --mib 260 --iters 300 --touch 1 --pace-ms 5 --iter-ms 25"),
        _work("hard", "weak", 0, "--seed 67 --mib 240 --iters 300 --touch 1 --kind rand --pace-ms 5 --iter-ms 25"),
        _work("strong", "strong", 8, "--seed 68 --mib 520 --iters 50 --touch 1 --hot 64 --kind rand --pace-ms 40"),
    ],
    # two swarms beside a steady stronger one
    "M4": [
        _work("steady", "strong", 0, "--seed 70 --mib 200 --iters 450 --touch 1 --pace-ms 5 --iter-ms 25"),
        _swarm("bees", "weak", 3, 24, "--seed 700 --mib 20 --iters 40 --touch 1 --pace-ms 250 --iter-ms 150"),
        _swarm("ants", "weak", 6, 20, "--seed 800 --mib 24 --iters 40 --touch 1 --pace-ms 150 --iter-ms 150"),
    ],
    # a leak beside a swarm that outranks it
    "M5": [
        _swarm("swarm", "strong", 0, 24, "--seed 900 --mib 20 --iters 60 --touch 1 --pace-ms 200 --iter-ms 200"),
        _work("leak", "weak", 2, "--seed 71 --mib 700 --hot 16 --touch 1 --pace-ms 40"),
    ],
    # one without a hook, one with, under a stronger one that grows
    "M6": [
        _swarm("bare", "weak", 0, 1, "--seed 950 --mib 200 --iters 300 --touch 1 --pace-ms 10 --iter-ms 25"),
        _work("weak", "weak", 0, "--seed 72 --mib 260 --iters 300 --touch 1 --pace-ms 5 --iter-ms 25"),
        _work("strong", "strong", 8, "--seed 73 --mib 600 --iters 50 --touch 1 --hot 64 --pace-ms 40"),
    ],
    # six of several kinds
    "M7": [
        _work("one", "weak", 0, "--seed 74 --mib 160 --iters 300 --touch 1 --pace-ms 20 --iter-ms 25"),
        _work("two", "weak", 2, "--seed 75 --mib 200 --iters 200 --touch 1 --kind rand --pace-ms 30 --iter-ms 25"),
        _work("three", "weak", 4, "--seed 76 --mib 240 --iters 200 --touch 1 --pace-ms 30 --iter-ms 25"),
        _swarm("bees", "weak", 5, 12, "--seed 970 --mib 16 --iters 40 --touch 1 --pace-ms 250 --iter-ms 150"),
        _work("four", "strong", 6, "--seed 77 --mib 300 --iters 100 --touch 1 --pace-ms 40 --iter-ms 25"),
        _work("five", "strong", 8, "--seed 78 --mib 340 --iters 100 --touch 1 --hot 64 --pace-ms 30 --iter-ms 25"),
    ],
    # four equals that grow
    "M8": [
        _work(name, "weak", 0, f"--seed {80 + number} --mib 320 --iters 100 --touch 1 --pace-ms 60 --iter-ms 20")
        for number, name in enumerate(("east", "north", "south", "west"))
    ],
}
