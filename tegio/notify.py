"""What the service manager is told (sd_notify(3)): ready, alive, stopping. Silent where there is no manager."""

import os
import socket


def notify(*fields: str) -> None:
    """Send fields such as `READY=1`, `WATCHDOG=1`, `STATUS=...`, `STOPPING=1`."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto("\n".join(fields).encode(), target)
