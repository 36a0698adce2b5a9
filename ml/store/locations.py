"""Where Feast keeps its registry and the online store: files below the home, or the servers that the deployment names."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote, urlsplit

from ml.config import Config
from ml.errors import BadInput

CONNECT_SECONDS, ANSWER_SECONDS = 3, 15
"""How long Redis may take to accept a connection and to answer; a service's own deadline is shorter and is kept elsewhere."""


def registry(config: Config) -> str:
    """SQLAlchemy URL of Feast's registry."""
    return config.feast_uri or f"sqlite:///{config.home}/feast/registry.db"


def online_store(config: Config) -> dict[str, Any]:
    """The section `online_store` of Feast's configuration.

    Raises:
        BadInput: the URI of the Redis cannot be used.
    """
    if config.online_uri is None:
        return {"type": "sqlite", "path": f"{config.home}/feast/online.db"}
    return {"type": "redis", "connection_string": _connection(config.online_uri)}


def _connection(uri: str) -> str:
    """Feast's own form of a Redis URI: the address, then parameters of the client, separated by commas.

    Example:
        >>> _connection("rediss://:secret@cache:6380/2")
        'cache:6380,db=2,socket_connect_timeout=3,socket_timeout=15,ssl=true,password="secret"'
    """
    parts = urlsplit(uri)
    database = parts.path.strip("/") or "0"
    if not parts.hostname or not database.isdigit():
        raise BadInput(f"online_uri: {_shown(uri)!r} has no host or no number of a database; expected redis://host:6379/0")
    if "," in unquote(f"{parts.username}{parts.password}"):
        raise BadInput("online_uri: a comma in the user or the password, which Feast would cut there; choose another one")
    parameters: dict[str, Any] = {"db": int(database)}
    parameters |= {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": ANSWER_SECONDS}
    parameters |= {"ssl": True} if parts.scheme == "rediss" else {}
    named = {"username": parts.username, "password": parts.password}
    parameters |= {name: unquote(value) for name, value in named.items() if value}
    written = [f"{name}={json.dumps(value)}" for name, value in parameters.items()]
    return ",".join([f"{parts.hostname}:{parts.port or 6379}", *written])


def _shown(uri: str) -> str:
    """A URI without user and password."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
