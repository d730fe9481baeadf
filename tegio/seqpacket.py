"""One question to a program that speaks JSON packets over a local socket: the airlock side."""

import json
import socket
from pathlib import Path
from typing import Any

from tegcore.errors import PermissionDeniedError, RefusedError, UnavailableError

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
        PermissionDeniedError: If the socket is closed to who asks.
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
    except PermissionError as error:
        what = f"the airlock side at {path} does not hear this user: {error.strerror}"
        raise PermissionDeniedError(what, "ask as root, or as the user that runs the stack") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        hint = "`tegctl up` in another terminal starts it, or `systemctl start tegd`; --state names another folder"
        raise UnavailableError(
            f"the part of tegd that starts jobs (its airlock side) does not answer at {path}: {why}", hint
        ) from error
    if not reply.get("ok"):
        raise RefusedError(reply.get("message", "the connection ended"), "use tegctl and tegd of one release")
    return reply
