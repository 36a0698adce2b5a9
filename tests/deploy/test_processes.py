"""Whose process it is, and that all of them end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from deploy.local.processes import Process, end_session, session_members

# A leader with three children: one that ignores SIGTERM, one in a process group and one in a session of its own.
FAMILY = """
import os, signal, sys, time
def child(prepare):
    if os.fork() == 0:
        prepare()
        open(os.path.join(sys.argv[1], str(os.getpid())), "w").close()
        time.sleep(600)
child(lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN))
child(lambda: os.setpgid(0, 0))
child(os.setsid)
time.sleep(600)
"""


def family(folder: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    leader = subprocess.Popen([sys.executable, "-c", FAMILY, str(folder)], start_new_session=True)
    until(lambda: len(list(folder.iterdir())) == 3)
    return leader, sorted(int(file.name) for file in folder.iterdir())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 30 s"
        time.sleep(0.02)


def test_the_session_holds_groups_and_sessions_that_its_members_made(tmp_path: Path) -> None:
    leader, children = family(tmp_path)
    try:
        assert sorted(p.pid for p in session_members(leader.pid)) == sorted([leader.pid, *children])
    finally:
        end_session(leader.pid, patience=0)
        leader.wait()


def test_ending_a_session_ends_all_of_it_and_nothing_else(tmp_path: Path) -> None:
    leader, children = family(tmp_path)
    processes = [Process.of(pid) for pid in (leader.pid, *children)]
    assert end_session(leader.pid, patience=0.5) == 4
    assert leader.wait() == -signal.SIGTERM
    assert not any(process.alive for process in processes)
    assert Process.of(os.getpid()).alive
    assert end_session(leader.pid, patience=0.5) == 0


def test_members_are_found_after_their_leader_was_killed(tmp_path: Path) -> None:
    leader, children = family(tmp_path)
    leader.kill()
    leader.wait()
    in_session = [pid for pid in children if os.getsid(pid) == leader.pid]
    assert len(in_session) == 2
    assert sorted(p.pid for p in session_members(leader.pid)) == sorted(in_session)
    assert end_session(leader.pid, patience=0.5) == 2
    for pid in set(children) - set(in_session):
        os.kill(pid, signal.SIGKILL)


def test_a_spared_process_stays(tmp_path: Path) -> None:
    leader, _ = family(tmp_path)
    assert end_session(leader.pid, patience=0.5, spare=[leader.pid]) == 3
    assert leader.poll() is None
    assert end_session(leader.pid, patience=0.5) == 1
    leader.wait()


def test_an_id_that_was_used_again_is_another_process() -> None:
    itself = Process.of(os.getpid())
    assert itself.alive
    assert not replace(itself, started=itself.started - 3600).alive


def test_a_process_that_nobody_collected_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    seen = Process.of(child.pid)
    assert seen.alive
    child.kill()
    until(lambda: not seen.alive)
    child.communicate()
