"""`python -m tegd.airlock.dumper`: dumps for the airlock side, one at a time, and is there beforehand."""

import argparse
import os
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path

from tegcore.errors import Exit
from tegd.airlock.dumper import criu
from tegd.airlock.dumper.requests import PACKET_BYTES_MAX, Answer, Request, decode, encode_answer
from tegio.notify import notify

_CREDENTIALS = struct.Struct("3i")
_WAITING_MAX = 4


def listen(path: Path) -> socket.socket:
    """The socket; what stands there is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path.unlink(missing_ok=True)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(_WAITING_MAX)
    return listener


def serve(listener: socket.socket) -> None:
    """One client after another: the airlock side has one connection."""
    while True:
        client, _ = listener.accept()
        with client:
            _, uid, _ = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
            if uid in (0, os.geteuid()):
                with suppress(OSError):
                    _converse(client)


def _converse(client: socket.socket) -> None:
    while packet := client.recv(PACKET_BYTES_MAX):
        request = decode(packet)
        answer = Answer(request) if isinstance(request, str) else _answer(request)
        if answer.problem:
            print(f"teg-criu: {request}: {answer.problem}", file=sys.stderr, flush=True)
        client.send(encode_answer(answer), socket.MSG_NOSIGNAL)


def _answer(request: Request) -> Answer:
    try:
        return criu.dump(request)
    except OSError as error:
        return Answer(f"{error.filename or request.folder}: {error.strerror or error}")


def main() -> int:
    """Run until ended; a CRIU at work goes on without it."""
    parser = argparse.ArgumentParser(prog="teg-criu", description=sys.modules["tegd.airlock.dumper"].__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="where the airlock side finds it")
    wanted = parser.parse_args()
    listener = listen(wanted.socket)
    if problem := criu.check():
        print(f"teg-criu: {problem}; work without a hook is parked in memory only", file=sys.stderr)
        return Exit.UNAVAILABLE
    notify("READY=1")
    serve(listener)
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
