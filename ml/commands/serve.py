"""The command that serves."""

from __future__ import annotations

import argparse
import gc
import ipaddress
import os
import sys

from ml.commands.command import Command
from ml.commands.terminal import say
from ml.config import Config
from ml.errors import BadInput

KEYS = "PERENNIAL_API_KEYS"
SWITCH = 0.0005
"""Seconds after which a thread that has the interpreter gives it to one that waits; Python's own 5 ms are longer than a score
takes."""


def serve(config: Config, asked: argparse.Namespace) -> None:
    """Score events over HTTP until it is stopped; see docs/serving.md."""
    import uvicorn

    from ml.serving.app import create

    keys = keys_of(os.environ.get(KEYS, ""))
    if not keys and not _is_loopback(asked.host):
        raise BadInput(
            f"{asked.host} can be reached by others, so clients need keys: set {KEYS} to name=key,name=key, or use 127.0.0.1"
        )
    sys.setswitchinterval(SWITCH)
    say(f"serving {config.name} at http://{asked.host}:{asked.port}, described by /openapi.json; Ctrl-C ends it")
    uvicorn.run(
        create(config, keys, when_started=_keep_libraries),
        host=asked.host,
        port=asked.port,
        log_level="warning",
        timeout_graceful_shutdown=30,
        limit_concurrency=1000,
        access_log=False,
        server_header=False,
    )


def _keep_libraries() -> None:
    """Take the objects that are here to stay out of the garbage collector, which walks over them while requests wait."""
    gc.collect()
    gc.freeze()


def keys_of(text: str) -> dict[str, str]:
    """Names of clients by their keys, from `name=key,name=key`.

    Raises:
        BadInput: an entry is not of that form, or a key is short enough to be guessed.
    """
    keys: dict[str, str] = {}
    for entry in filter(None, text.split(",")):
        name, _, key = entry.partition("=")
        if not name or len(key) < 16:
            raise BadInput(f"{KEYS}: expected name=key,name=key with keys of 16 characters and more; look at client {name!r}")
        keys[key] = name
    return keys


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


COMMANDS = {
    "serve": Command(
        serve,
        arguments=(
            (("--host",), {"default": "127.0.0.1", "help": "address to listen on (default: %(default)s)"}),
            (("--port",), {"type": int, "default": 8000, "help": "port to listen on (default: %(default)s)"}),
        ),
    )
}
