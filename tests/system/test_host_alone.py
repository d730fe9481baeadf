"""`tegd` without a cluster: the airlock side alone, answering."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from tegcore.errors import TegError
from tegio.paths import socket_path
from tegio.seqpacket import ask


def test_a_host_alone_runs_the_airlock_side(tmp_path: Path) -> None:
    settings = tmp_path / "airlock.toml"
    settings.write_text('mode = "act"\n')
    words = ["broker=", f"state_dir={tmp_path}", f"airlock_file={settings}"]
    command = [sys.executable, "-m", "tegd.main", *(part for word in words for part in ("--set", word))]
    with subprocess.Popen(command) as program:
        path = socket_path(tmp_path, "airlock")
        for _ in range(200):
            try:
                memory = ask(path, "memory", after_ns=0)
                break
            except TegError:
                time.sleep(0.05)
        else:
            raise AssertionError("it does not answer")
        program.send_signal(signal.SIGTERM)
    assert memory["mode"] in ("act", "absent")
    assert memory["history"] == []
    assert program.returncode == 0
