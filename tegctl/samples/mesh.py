"""A 2 x 2 mesh: one process a slot, each round exchanged with all others through pipes, a common digest at the end."""

import argparse
import hashlib
import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any

from tegctl.samples.checkpoint import Checkpoint


def worker(rank: int, channel: Connection, pause_ms: float) -> None:
    """One slot's share of each round."""
    while True:
        token = channel.recv()
        if token is None:
            return
        time.sleep(pause_ms / 1000)
        channel.send(hashlib.sha256(f"{rank}/{token}".encode()).hexdigest())


def main() -> None:
    """Run the rounds, and print the digest at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--pause-ms", type=float, default=50.0)
    parser.add_argument("--resume", action="store_true")
    wanted = parser.parse_args()
    state: dict[str, Any] = {"round": 0, "digest": ""}
    checkpoint = Checkpoint(lambda: state)
    state |= checkpoint.resumed(wanted=wanted.resume)
    ends = [multiprocessing.Pipe() for _ in range(wanted.ranks)]
    ranks = [
        multiprocessing.Process(target=worker, args=(rank, theirs, wanted.pause_ms))
        for rank, (_, theirs) in enumerate(ends)
    ]
    for process in ranks:
        process.start()
    print(f"mesh: {wanted.ranks} ranks, from round {state['round']} of {wanted.rounds}", flush=True)
    while state["round"] < wanted.rounds:
        for mine, _ in ends:
            mine.send(state["digest"])
        parts = [mine.recv() for mine, _ in ends]
        state["digest"] = hashlib.sha256("".join(parts).encode()).hexdigest()
        state["round"] = state["round"] + 1
        checkpoint.save_if_asked()
    for mine, _ in ends:
        mine.send(None)
    for process in ranks:
        process.join()
    print(f"mesh: {state['round']} rounds, digest {str(state['digest'])[:16]}", flush=True)


if __name__ == "__main__":
    main()
