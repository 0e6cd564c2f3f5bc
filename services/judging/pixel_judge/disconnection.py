"""Work ends when nobody waits for it any more."""

from collections.abc import Awaitable, Callable

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

_CLIENT_CLOSED_REQUEST = 499
"""nginx's status for it; nobody reads it."""


async def unless_gone(request: Request, answer: Callable[[bytes], Awaitable[Response]]) -> Response:
    """What `answer(body)` returns; it is cancelled when the client closes the connection.

    ASGI servers go on with a request whose client has gone unless the application looks.
    """
    gone = response = Response(status_code=_CLIENT_CLOSED_REQUEST)
    try:
        body = await request.body()
    except ClientDisconnect:
        return gone
    async with anyio.create_task_group() as group:

        async def leave_with_the_client() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(leave_with_the_client)
        response = await answer(body)
        group.cancel_scope.cancel()
    return response
