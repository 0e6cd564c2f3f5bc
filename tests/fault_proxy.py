"""What can be wrong with a network, for tests: a proxy that falls silent, and an address that never picks up."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

Handler: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class FaultProxy:
    """A TCP port before a server's socket file."""

    def __init__(self, upstream: Path) -> None:
        self._upstream = upstream
        self._answering = asyncio.Event()
        self._answering.set()
        self.port = 0

    def fall_silent(self) -> None:
        """From now on accept and read everything, and answer nothing."""
        self._answering.clear()

    def answer_again(self) -> None:
        """Deliver what was held back, and what comes."""
        self._answering.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        there, back = await asyncio.open_unix_connection(self._upstream)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, back))
                pumps.create_task(self._pump(there, writer, held=True))
        except* OSError:
            pass  # one end is gone, and the other learns it below
        finally:
            back.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, held: bool = False) -> None:
        while chunk := await reader.read(65536):
            if held:
                await self._answering.wait()
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()


@asynccontextmanager
async def proxy_before(upstream: Path) -> AsyncIterator[FaultProxy]:
    """A proxy before a server that listens on the socket file `upstream`."""
    proxy = FaultProxy(upstream)
    async with serving_streams(proxy.serve) as proxy.port:
        yield proxy


@asynccontextmanager
async def serving_streams(handle: Handler) -> AsyncIterator[int]:
    """A loopback port where each connection is for `handle(reader, writer)`, and closed when that or the test ends."""
    connections: list[tuple[asyncio.Task[None], asyncio.StreamWriter]] = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(handle(reader, writer))
        task.add_done_callback(lambda _: writer.close())
        connections.append((task, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task, _ in connections:
            task.cancel()
        await asyncio.gather(*(task for task, _ in connections), return_exceptions=True)
        await asyncio.gather(*(writer.wait_closed() for _, writer in connections), return_exceptions=True)


@contextmanager
def deaf_port() -> Iterator[int]:
    """A loopback port where connecting neither succeeds nor fails: its queue is full, and nobody takes from it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        queued = [socket.socket() for _ in range(4)]
        for connection in queued:
            connection.setblocking(False)
            connection.connect_ex(listener.getsockname())
        try:
            yield listener.getsockname()[1]
        finally:
            for connection in queued:
                connection.close()
