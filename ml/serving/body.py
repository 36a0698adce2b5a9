"""The body of a request, read no further than it may be large."""

from __future__ import annotations

from fastapi import Request

from ml.config import Config


class TooLarge(ValueError):
    """A request is larger than the deployment allows."""


async def read_body(request: Request, config: Config) -> bytes:
    """The bytes of a request.

    Raises:
        TooLarge: it is larger than `serving.body`.
    """
    limit = int(config.serving.body.value * 1e6)
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            raise TooLarge(f"a request has at most {limit} bytes; send fewer events at once")
    return bytes(content)
