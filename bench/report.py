"""What every benchmark says of itself: machine, commit, and where its numbers went."""

import json
from pathlib import Path
from typing import Any

from tegsim.claims.store import measured_on


def write(name: str, figures: dict[str, Any]) -> None:
    """Leave the figures in build/bench/NAME.json and say so."""
    path = Path("build/bench") / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(measured_on() | figures, indent=2) + "\n")
    print(f"written to {path}")
