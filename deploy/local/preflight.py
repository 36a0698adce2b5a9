"""What must hold before the local stack starts; every refusal says what to do."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from pathlib import Path

import psutil

HOST = "127.0.0.1"
FREE_DISK = 1 << 30  # the demo's lake, models and logs take a few hundred megabytes
FREE_MEMORY = 2 << 30  # the stack holds 0.9 GB, a training task about as much again


class StackError(RuntimeError):
    """The local stack cannot start, or does not do what was asked; the message says why and what mends it."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def port_error(port: int) -> OSError | None:
    """Why 127.0.0.1:`port` cannot be listened on, or None when it can."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error
    return None


def listener(port: int) -> str:
    """Who listens on a port, as far as this user may see it: `nginx (process 812)`, or `another process`."""
    try:
        sockets = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return "another process"
    for found in sockets:
        if found.status == psutil.CONN_LISTEN and found.laddr.port == port and found.pid:
            try:
                return f"{psutil.Process(found.pid).name()} (process {found.pid})"
            except psutil.Error:
                break
    return "another process"


def check_port(port: int) -> None:
    """Refuse a port that Airflow's web server could not bind.

    Raises:
        StackError: the port is out of range, reserved for the administrator, or taken; names who holds it.
    """
    if not 1 <= port <= 65535:
        raise StackError(f"port {port} does not exist; give one between 1024 and 65535: make demo PORT=8081")
    error = port_error(port)
    if error is None:
        return
    if error.errno == errno.EADDRINUSE:
        raise StackError(
            f"port {port} of {HOST} is taken by {listener(port)}; end it or use another port: make demo PORT={port + 1}"
        )
    if error.errno == errno.EACCES:
        raise StackError(f"port {port} is reserved for the administrator; use another port: make demo PORT=8080")
    raise StackError(f"cannot listen on port {port} of {HOST}: {error}; use another port: make demo PORT={port + 1}")


def check_home(home: Path) -> None:
    """Make the deployment's folder and refuse one that cannot be written or is on a full disk.

    Raises:
        StackError: names the folder, and the space that is free and needed.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(f"cannot make the folder {home}: {error.strerror}; set `home:` in the deployment file") from None
    if not os.access(home, os.W_OK | os.X_OK):
        raise StackError(f"the folder {home} is not writable for this user; set `home:` in the deployment file")
    free = shutil.disk_usage(home).free
    if free < FREE_DISK:
        raise StackError(
            f"{home} has {free / 2**30:.1f} GB free, {FREE_DISK / 2**30:.0f} GB are needed; "
            "free some space or set `home:` in the deployment file"
        )


def memory_warning() -> str | None:
    """A sentence when little memory is free, else None: too little slows the demo down and need not end it."""
    free = psutil.virtual_memory().available
    if free >= FREE_MEMORY:
        return None
    return f"only {free / 2**30:.1f} GB of memory are free; the stack and one training take about {FREE_MEMORY / 2**30:.0f} GB"
