"""The airlock's socket: packets in, packets out, never a wait.

Who may connect is settled by the kernel (SO_PEERCRED), not by what is said. A peer that does not read is dropped: when
it comes back, `list` tells it all.
"""

import select
import socket
import struct
from contextlib import suppress
from pathlib import Path

from tegd.airlock.protocol import PACKET_BYTES_MAX

CLIENTS_MAX = 16
PACKETS_PER_TURN_MAX = 64
_CREDENTIALS = struct.Struct("3i")


class Server:
    """The listening socket and its clients, watched by one epoll.

    Args:
        path: Where to listen; what stands there is replaced.
        uids: Users that may connect.
        epoll: What watches them.
    """

    def __init__(self, path: Path, uids: frozenset[int], epoll: select.epoll) -> None:
        self._path = path
        self._uids = uids
        self._epoll = epoll
        self._clients: dict[int, socket.socket] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        path.unlink(missing_ok=True)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(CLIENTS_MAX)
        epoll.register(self._listener, select.EPOLLIN)

    def owns(self, descriptor: int) -> bool:
        """Whether a ready descriptor is one of ours."""
        return descriptor in self._clients or descriptor == self._listener.fileno()

    def read(self, descriptor: int) -> list[tuple[int, bytes | None]]:
        """Take what a ready descriptor has: (client, packet), None for a packet that is too large."""
        if descriptor == self._listener.fileno():
            self._accept()
            return []
        packets: list[tuple[int, bytes | None]] = []
        with suppress(BlockingIOError):
            while len(packets) < PACKETS_PER_TURN_MAX:
                try:
                    data, _, flags, _ = self._clients[descriptor].recvmsg(PACKET_BYTES_MAX)
                except ConnectionError:
                    data, flags = b"", 0
                if not data:
                    self._drop(descriptor)
                    break
                packets.append((descriptor, None if flags & socket.MSG_TRUNC else data))
        return packets

    def send(self, client: int, packet: bytes, descriptor: int | None = None) -> None:
        """Send to one client, if it is still there, with an open file if there is one; who does not read is dropped."""
        if client in self._clients:
            try:
                files = [] if descriptor is None else [descriptor]
                socket.send_fds(self._clients[client], [packet], files, socket.MSG_NOSIGNAL)
            except OSError:
                self._drop(client)

    def broadcast(self, packet: bytes) -> None:
        """Send to all."""
        for client in tuple(self._clients):
            self.send(client, packet)

    def close(self) -> None:
        """Stop listening and let all go."""
        for client in tuple(self._clients):
            self._drop(client)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        client.setblocking(False)
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(credentials)
        if uid not in self._uids or len(self._clients) >= CLIENTS_MAX:
            client.close()
            return
        self._clients[client.fileno()] = client
        self._epoll.register(client, select.EPOLLIN)

    def _drop(self, client: int) -> None:
        gone = self._clients.pop(client)
        self._epoll.unregister(gone)
        gone.close()
