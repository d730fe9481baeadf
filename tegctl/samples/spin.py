"""Processor work in units: each hashes the result of the one before, so lost or repeated work shows in the digest."""

import argparse
import hashlib
import time
from typing import Any

from tegctl.samples.checkpoint import Checkpoint


def unit(digest: str, number: int) -> str:
    """The digest after one more unit."""
    for _ in range(400):
        digest = hashlib.sha256(f"{digest}/{number}".encode()).hexdigest()
    return digest


def main() -> None:
    """Work, and print the digest at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--pause-ms", type=float, default=20.0, help="rest between units")
    parser.add_argument("--resume", action="store_true")
    wanted = parser.parse_args()
    state: dict[str, Any] = {"done": 0, "digest": ""}
    checkpoint = Checkpoint(lambda: state)
    state |= checkpoint.resumed(wanted=wanted.resume)
    print(f"spin: from unit {state['done']} of {wanted.units}", flush=True)
    while state["done"] < wanted.units:
        state["digest"] = unit(state["digest"], state["done"])
        state["done"] = state["done"] + 1
        checkpoint.save_if_asked()
        time.sleep(wanted.pause_ms / 1000)
    print(f"spin: {state['done']} units, digest {str(state['digest'])[:16]}", flush=True)


if __name__ == "__main__":
    main()
