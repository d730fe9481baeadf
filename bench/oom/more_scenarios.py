"""Scenarios beside those of the kit, in its own form: for a guest of 1024 MiB, scaled to the guest's size by the kit.

A copy of the kit takes them in (`bench.oom`). A swarm has no hook; one of a single process is a hookless workload.
D1, D2 and so on are drawn from their number.
"""

import random
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
    # nine of very different sizes and rates
    "M9": [
        _work("mite", "weak", 0, "--seed 110 --mib 12 --iters 300 --touch 1 --pace-ms 200 --iter-ms 50"),
        _work("slow", "weak", 0, "--seed 111 --mib 120 --iters 100 --touch 1 --pace-ms 150 --iter-ms 25"),
        _work("bulk", "weak", 1, "--seed 112 --mib 520 --iters 60 --touch 1 --pace-ms 12 --iter-ms 25"),
        _work("hard", "weak", 2, "--seed 113 --mib 90 --iters 200 --touch 1 --kind rand --pace-ms 40 --iter-ms 25"),
        _swarm("bees", "weak", 3, 10, "--seed 1100 --mib 14 --iters 30 --touch 1 --pace-ms 120 --iter-ms 150"),
        _work("mid", "strong", 3, "--seed 114 --mib 220 --iters 100 --touch 1 --pace-ms 60 --iter-ms 25"),
        _work("small", "strong", 5, "--seed 115 --mib 60 --iters 200 --touch 2 --pace-ms 10 --iter-ms 40"),
        _work("rush", "strong", 10, "--seed 116 --mib 380 --iters 40 --touch 1 --hot 64 --pace-ms 8 --iter-ms 20"),
        _work("late", "weak", 14, "--seed 117 --mib 160 --iters 60 --touch 1 --pace-ms 25 --iter-ms 25"),
    ],
    # two that grow as fast as the guest can
    "M10": [
        _work("weak", "weak", 0, "--seed 120 --mib 620 --iters 100 --touch 1 --pace-ms 0 --iter-ms 25"),
        _work("strong", "strong", 1, "--seed 121 --mib 660 --iters 100 --touch 1 --pace-ms 0 --iter-ms 25"),
    ],
    # a stronger one comes late, to a host that is full
    "M11": [
        _work("low", "weak", 0, "--seed 130 --mib 420 --iters 500 --touch 1 --pace-ms 5 --iter-ms 25"),
        _work("high", "weak", 0, "--seed 131 --mib 480 --iters 500 --touch 1 --pace-ms 5 --iter-ms 25"),
        _work("strong", "strong", 20, "--seed 132 --mib 640 --iters 60 --touch 1 --hot 64 --pace-ms 15 --iter-ms 20"),
    ],
    # a leak that outranks a swarm, both for as long as it lasts
    "M12": [
        _swarm("swarm", "weak", 0, 30, "--seed 1400 --mib 22 --iters 40 --touch 1 --pace-ms 150 --iter-ms 150"),
        _work("leak", "strong", 2, "--seed 140 --mib 700 --hot 16 --touch 1 --pace-ms 50"),
    ],
    # a swarm of pages that do not compress under a stronger one whose pages do
    "M13": [
        _swarm(
            "hard", "weak", 0, 20, "--seed 1500 --mib 24 --iters 60 --touch 1 --kind rand --pace-ms 100 --iter-ms 150"
        ),
        _work("strong", "strong", 6, "--seed 150 --mib 640 --iters 60 --touch 1 --hot 64 --pace-ms 30 --iter-ms 25"),
    ],
    # a weaker one that is slow to come to its checkpoint, under a fast stronger one
    "M14": [
        _work("weak", "weak", 0, "--seed 160 --mib 420 --iters 40 --touch 60 --hot 300 --pace-ms 5 --iter-ms 100"),
        _work("strong", "strong", 10, "--seed 161 --mib 700 --iters 50 --touch 1 --hot 64 --pace-ms 15 --iter-ms 20"),
    ],
    # three without a hook beside a stronger one with one
    "M15": [
        _swarm("a", "weak", 0, 1, "--seed 1700 --mib 240 --iters 250 --touch 1 --pace-ms 10 --iter-ms 25"),
        _swarm("b", "weak", 0, 1, "--seed 1710 --mib 280 --iters 250 --touch 1 --pace-ms 20 --iter-ms 25"),
        _swarm("c", "weak", 2, 1, "--seed 1720 --mib 320 --iters 250 --touch 1 --pace-ms 30 --iter-ms 25"),
        _work("strong", "strong", 8, "--seed 170 --mib 560 --iters 60 --touch 1 --hot 64 --pace-ms 30 --iter-ms 25"),
    ],
    # a small stronger one at work all the time, and a large weaker one that does not compress
    "M16": [
        _work("steady", "strong", 0, "--seed 180 --mib 160 --iters 800 --touch 2 --pace-ms 5 --iter-ms 30"),
        _work("hard", "weak", 4, "--seed 181 --mib 620 --iters 60 --touch 1 --kind rand --pace-ms 10 --iter-ms 25"),
        _work("soft", "weak", 8, "--seed 182 --mib 300 --iters 60 --touch 1 --pace-ms 20 --iter-ms 25"),
    ],
}


def _drawn(seed: int) -> list[dict[str, Any]]:
    """A mixture from a seed: up to 8, each of which fits alone, of any rank, size, rate and kind, some late."""
    draw = random.Random(seed)
    works = []
    left = 1700
    for number in range(draw.randint(2, 8)):
        if left <= 0:
            break
        name, role, at = f"w{number}", draw.choice(("weak", "strong")), draw.choice((0, 0, draw.randint(1, 16)))
        kind, iters = draw.choice(("comp", "comp", "rand")), draw.randint(20, 200)
        rates = f"--touch {draw.choice((1, 1, 1, 4))} --kind {kind} --iter-ms 25"
        if draw.random() < 1 / 5:
            count, pace = draw.randint(2, 30), draw.randint(100, 300)
            mib = draw.randint(8, 500 // count + 8)
            left -= mib * count
            works.append(
                _swarm(
                    name, role, at, count, f"--seed {seed}{number}00 --mib {mib} --iters 30 --pace-ms {pace} {rates}"
                )
            )
            continue
        pace = draw.choice((0, 5, 15, 30, 60))
        mib = draw.randint(12, 640 if kind == "comp" and pace <= 30 else 400)
        left -= mib
        works.append(
            _work(name, role, at, f"--seed {seed}{number} --mib {mib} --iters {iters} --pace-ms {pace} {rates}")
        )
    return works


MORE |= {f"D{seed}": _drawn(seed) for seed in range(1, 41)}
