"""One question to a program that speaks JSON packets over a local socket: the airlock side."""

import json
import socket
from pathlib import Path
from typing import Any

from tegcore.errors import RefusedError, UnavailableError

PACKET_BYTES_MAX = 64 << 10
REPLY_S_MAX = 5.0


def ask(path: Path, verb: str, **fields: Any) -> dict[str, Any]:
    """Ask, and wait for the answer.

    Args:
        path: The socket.
        verb: What is asked.
        **fields: All fields of that verb.

    Raises:
        UnavailableError: If nobody answers.
        RefusedError: With what the program said.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
            link.settimeout(REPLY_S_MAX)
            link.connect(str(path))
            link.send(json.dumps({"v": 1, "id": 1, "verb": verb, **fields}).encode())
            reply: dict[str, Any] = {"event": ""}
            while "event" in reply:
                reply = json.loads(link.recv(PACKET_BYTES_MAX) or b"{}")
    except (OSError, ValueError) as error:
        raise UnavailableError(f"nobody answers at {path}: {error}", "look whether `tegd.airlock` runs") from error
    if not reply.get("ok"):
        raise RefusedError(reply.get("message", "the connection ended"), "use tegctl and tegd of one release")
    return reply
