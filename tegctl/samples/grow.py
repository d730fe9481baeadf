"""Memory that grows step by step and is read again in each: what just-in-time expansion is for."""

import argparse
import time

from tegctl.samples.checkpoint import Checkpoint

MIB = 1 << 20


def main() -> None:
    """Grow, hold, and print the sum at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to-mib", type=int, default=96)
    parser.add_argument("--step-mib", type=int, default=8)
    parser.add_argument("--pause-ms", type=float, default=500.0)
    parser.add_argument("--hold-s", type=float, default=4.0)
    parser.add_argument("--resume", action="store_true")
    wanted = parser.parse_args()
    blocks: list[bytearray] = []
    checkpoint = Checkpoint(lambda: {"mib": len(blocks) * wanted.step_mib})
    start_mib = int(checkpoint.resumed(wanted=wanted.resume).get("mib", 0))
    until_s = 0.0
    while not until_s or time.monotonic() < until_s:
        held_mib = len(blocks) * wanted.step_mib
        if held_mib < wanted.to_mib:
            blocks.append(bytearray(bytes([len(blocks) % 251])) * (wanted.step_mib * MIB))
            print(f"grow: {held_mib + wanted.step_mib} MiB", flush=True)
        elif not until_s:
            until_s = time.monotonic() + wanted.hold_s
        total = sum(block[0] + block[-1] for block in blocks)
        checkpoint.save_if_asked()
        if held_mib >= start_mib:
            time.sleep(wanted.pause_ms / 1000)
    print(f"grow: held {wanted.to_mib} MiB, sum {total}", flush=True)


if __name__ == "__main__":
    main()
