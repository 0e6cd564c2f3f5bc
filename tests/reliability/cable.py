"""A network cable before a server, and two ways to cut it."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.fault_proxy import serving_streams

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: for 0 seconds


class Cable:
    """A TCP port before another one. Cut, it resets every connection, those under way and those to come.

    Pulled, it lets nothing through, either way, and nobody is told.
    """

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._connections: set[asyncio.StreamWriter] = set()
        self._left: int | None = None
        self._plugged = asyncio.Event()
        self._plugged.set()
        self.is_cut = False
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def cut_after(self, num_answers: int) -> None:
        """Cut it when so many more answers have passed."""
        self._left = num_answers

    def cut(self) -> None:
        self.is_cut, self._left = True, None
        for connection in self._connections:
            _reset(connection)

    def pull(self) -> None:
        self._plugged.clear()

    def mend(self) -> None:
        """Let everything through again; what was sent meanwhile arrives late, as TCP has it."""
        self.is_cut, self._left = False, None
        self._plugged.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        there, back = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            if self.is_cut:
                _reset(writer)
                return
            self._connections.add(writer)
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer, counts=True))
        except OSError:
            pass  # one end is gone, and the other learns it below
        finally:
            self._connections.discard(writer)
            back.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool = False) -> None:
        while chunk := await reader.read(65536):
            if counts and self._left is not None:
                self._left -= chunk.startswith(b"HTTP/1.1 ")
                if self._left < 0:
                    self.cut()
                    return
            await self._plugged.wait()
            writer.write(chunk)
            await writer.drain()
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None and not writer.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()


@asynccontextmanager
async def cable_to(url: str) -> AsyncIterator[Cable]:
    """A cable to the server at `url`."""
    cable = Cable(int(url.rpartition(":")[2]))
    async with serving_streams(cable.serve) as cable.port:
        yield cable
