"""Processes of one stack: which are ours, are they alive, and how they end.

A process is known by its id together with its start time, because ids are used again. All processes of a stack share the
session of its supervisor. The process group would not do: Airflow puts every running task into a group of its own.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection
from dataclasses import dataclass

import psutil

from deploy.local.preflight import StackError

CLOCK_STEP = 5.0  # seconds by which a corrected system clock may shift the start times that the kernel reports


@dataclass(frozen=True)
class Process:
    """A process that was seen: its id and when it started, in seconds since 1970."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this id now; raises `psutil.NoSuchProcess` when none has."""
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; one that ended and was not collected by its parent does not."""
        try:
            found = psutil.Process(self.pid)
            return found.status() != psutil.STATUS_ZOMBIE and abs(found.create_time() - self.started) < CLOCK_STEP
        except psutil.NoSuchProcess:
            return False


def session_members(session: int) -> set[Process]:
    """Running processes of a session, and all that they started, also those that went into sessions of their own."""
    found: set[Process] = set()
    for pid in psutil.pids():
        try:
            if os.getsid(pid) != session:
                continue
            member = psutil.Process(pid)
            found |= {Process(p.pid, p.create_time()) for p in [member, *member.children(recursive=True)]}
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue
    return {process for process in found if process.alive}


def end_session(session: int, patience: float, spare: Collection[int] = ()) -> int:
    """End every process of a session: SIGTERM, up to `patience` seconds, then SIGKILL.

    Args:
        session: id of the session; its leader may have ended before.
        patience: seconds between asking and killing.
        spare: ids that are left alone, for a caller that belongs to the session.

    Returns:
        How many processes were ended.

    Raises:
        StackError: a process belongs to another user, or outlived SIGKILL by five seconds.
    """
    members = {p for p in session_members(session) if p.pid not in spare}
    ended = set(members)
    _signal(members, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while members and time.monotonic() < deadline:
        time.sleep(0.1)
        members = {p for p in members if p.alive}
    # A component may have started something between the count and the signal, so count again.
    for _ in range(50):
        members = {p for p in {*members, *session_members(session)} if p.alive and p.pid not in spare}
        if not members:
            return len(ended)
        ended |= members
        _signal(members, signal.SIGKILL)
        time.sleep(0.1)
    raise StackError(
        f"processes {sorted(p.pid for p in members)} do not end; see what they wait for: ps -o pid,stat,wchan,args"
    )


def _signal(processes: Collection[Process], number: signal.Signals) -> None:
    for process in processes:
        if process.alive:
            try:
                os.kill(process.pid, number)
            except ProcessLookupError:
                continue
            except PermissionError:
                raise StackError(f"process {process.pid} belongs to another user; stop it as that user") from None
