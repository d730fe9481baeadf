"""Ranks and hooks for the workloads of a run, as an operator would write them down."""

import json
import sys
from pathlib import Path

RANKS = {"weak": 1, "strong": 2}

run = json.loads(Path(sys.argv[1]).read_text())
print('mode = "act"\nslice = "work.slice"')
for work in run["workloads"]:
    name = work["name"]
    print(f'\n[units."w-{name}.service"]\nrank = {RANKS[work["role"]]}')
    if not work.get("swarm"):
        print(f'signal = "SIGUSR1"\ncheckpoint = "/var/lib/oombar/{name}.ckpt"')
