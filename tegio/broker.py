"""The built-in broker, for a cluster that has none: `python -m tegio.broker --port PORT`.

amqtt in a process of its own, on the loopback address unless told otherwise. About a thousand messages a second: enough
for a host or a few, not for a zone.
"""

import asyncio
import contextlib
import signal

import click
from amqtt.broker import Broker

from tegio.logs import event, start_logs

_PLUGINS = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}


async def serve(address: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"{address}:{port}", "max_connections": 1000}},
        "plugins": _PLUGINS,
    }
    broker = Broker(config)
    await broker.start()
    event("broker.ready", address=address, port=port)
    stopping = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stopping.set)
    await stopping.wait()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(broker.shutdown(), 5)


@click.command()
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=1883, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
def main(address: str, port: int) -> None:
    """Run the built-in MQTT broker."""
    start_logs("broker")
    asyncio.run(serve(address, port))


if __name__ == "__main__":
    main()
