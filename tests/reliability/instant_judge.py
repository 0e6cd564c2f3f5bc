"""`python -m tests.reliability.instant_judge`: a judge in a process of its own that answers at once, always the same.

For what must not wait for a judge: how busy the service keeps itself.
"""

import asyncio
import json
import sys

_MODELS = {"object": "list", "data": [{"id": "instant", "object": "model"}]}
_LOG_PROBS = [{"token": "1", "logprob": -0.25}, {"token": "2", "logprob": -1.6}]
_COMPLETION = {
    "choices": [
        {
            "message": {"role": "assistant", "content": "1"},
            "finish_reason": "length",
            "logprobs": {"content": [{"token": "1", "logprob": -0.25, "top_logprobs": _LOG_PROBS}]},
        }
    ],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 1},
}


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = head.partition("content-length:")[2].partition("\r\n")[0]
            await reader.readexactly(int(length or 0))
            path = head.split(" ", 2)[1]
            answer = {"/v1/chat/completions": _COMPLETION, "/v1/models": _MODELS}.get(path)
            body = json.dumps(answer or {}).encode()
            status = "200 OK" if answer else "404 Not Found"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, limit=1 << 21)
    port = server.sockets[0].getsockname()[1]
    sys.stderr.write(f"The instant judge answers at http://127.0.0.1:{port}\n")
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
