"""Make a virtual environment with TEG in it, by Python's own means; say how far it is, and what it took.

`environment.py VENV` installs what runs; `environment.py VENV EXTRA…` adds what these extras of pyproject.toml name to
an environment that is there. What is downloaded is downloaded first, so that its time stands apart from that of the
installation: the one is the network's, the other this machine's.
"""

import json
import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")
TIMES = "times.json"
WORD = re.compile(r"\s*(Collecting|Downloading|Using cached|Building|Preparing|Installing|Created) ?(.*)")
LINES_KEPT = 40
FRESH = "\r\033[K"
"""Begins the line of a terminal anew."""
WIDTH = 79


class Progress:
    """One line that says what is done and for how long: it changes on a terminal; elsewhere only its end is written."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._live = sys.stdout.isatty()
        self._begun_s = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since its beginning."""
        return time.monotonic() - self._begun_s

    def show(self, detail: str) -> None:
        """What is being done."""
        if self._live:
            text = f"{self._what:<13} {self.seconds:5.0f} s   {detail}"
            print(f"{FRESH}{text[:WIDTH]}", end="", flush=True)

    def end(self, detail: str) -> float:
        """It is done; returns its seconds."""
        seconds = self.seconds
        print(f"{FRESH if self._live else ''}{self._what:<13} {seconds:5.0f} s   {detail}", flush=True)
        return round(seconds, 1)


def ran(command: list[str], progress: Progress, detail: str) -> None:
    """Run a command, and show what it says it does; ends the program, with its last lines, if it fails."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "PIP_PROGRESS_BAR": "off"},
    )
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            progress.show(detail)
            if not selector.select(0.5):
                continue
            part = process.stdout.read()
            if not part:
                break
            said += part
            for line in part.decode(errors="replace").splitlines():
                if found := WORD.match(line):
                    detail = _short(*found.groups())
    if code := process.wait():
        print()
        print("\n".join(said.decode(errors="replace").splitlines()[-LINES_KEPT:]))
        sys.exit(f"this failed with {code}: {' '.join(command)}")


def _short(word: str, rest: str) -> str:
    name = re.split(r" \(from|-\d", rest.rpartition("/")[2], maxsplit=1)[0]
    return f"{word.lower()} {name}"


def requirements(extras: list[str]) -> list[str]:
    """What pyproject.toml names: for running, and for building; or what extras add."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if extras:
        return [line for extra in extras for line in told["project"]["optional-dependencies"][extra]]
    return [*told["project"]["dependencies"], *told["build-system"]["requires"]]


def size(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


def main() -> None:
    """See the module."""
    venv, extras = Path(sys.argv[1]), sys.argv[2:]
    python = str(venv / "bin" / "python")
    kept = venv / TIMES
    times = json.loads(kept.read_text()) if kept.exists() else {}
    name = "extras" if extras else "installation"
    if not extras:
        progress = Progress("environment")
        ran([sys.executable, "-m", "venv", str(venv)], progress, str(venv))
        times["environment_s"] = progress.end(f"{venv}, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory(prefix="teg-wheels-") as wheels:
        progress = Progress("download")
        wanted = requirements(extras)
        ran([python, *PIP, "wheel", "--wheel-dir", wheels, *wanted], progress, f"{len(wanted)} packages and theirs")
        times["download_s"] = progress.end(f"{size(Path(wheels)) / 1e6:.0f} MB, or from pip's cache")
        progress = Progress(name)
        from_there = ("install", "--no-index", "--find-links", wheels)
        what = wanted if extras else ["--editable", "."]
        ran([python, *PIP, *from_there, *what], progress, "unpacking, compiling")
    times[f"{name}_s"] = progress.end(f"{size(venv) / 1e6:.0f} MB in {venv}")
    times["installed_bytes"] = size(venv)
    kept.write_text(json.dumps(times, indent=2) + "\n")


if __name__ == "__main__":
    main()
