"""The conversations of one server: bounded in number, each in a task of its own, ended together."""

import asyncio
from collections.abc import Awaitable, Callable

CONVERSATIONS_MAX = 64

Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Conversations:
    """What a stream server carries on with its callers.

    Args:
        converse: One conversation, to its end. That the caller is gone, or silent for too long, ends it without a word.
    """

    def __init__(self, converse: Converse) -> None:
        self._converse = converse
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What the server calls for each caller; one too many is turned away."""
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= CONVERSATIONS_MAX:
            writer.close()
            return
        self._tasks.add(task)
        try:
            await self._converse(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def end(self, server: asyncio.Server | None) -> None:
        """Stop listening, and end what is under way."""
        if server is not None:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
