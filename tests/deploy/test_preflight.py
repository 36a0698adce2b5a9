"""Refusals before the stack starts."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from deploy.local import preflight
from deploy.local.preflight import StackError, check_home, check_port


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - what another program may have bound
def test_a_taken_port_is_named_with_its_holder_and_another_to_use(free_port: int, address: str) -> None:
    with socket.create_server((address, free_port)), pytest.raises(StackError) as refusal:
        check_port(free_port)
    assert f"port {free_port} of 127.0.0.1 is taken by" in str(refusal.value)
    assert f"(process {os.getpid()})" in str(refusal.value)
    assert f"make demo PORT={free_port + 1}" in str(refusal.value)


def test_a_free_port_is_accepted_also_right_after_its_last_use(free_port: int) -> None:
    with (
        socket.create_server(("127.0.0.1", free_port)) as server,
        socket.create_connection(("127.0.0.1", free_port)) as client,
    ):
        accepted, _ = server.accept()
        accepted.close()
        client.recv(1)
    check_port(free_port)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_does_not_exist_is_refused(port: int) -> None:
    with pytest.raises(StackError, match=f"port {port} does not exist"):
        check_port(port)


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match=r"cannot make the folder .*file/home: Not a directory; set `home:`"):
        check_home(tmp_path / "file" / "home")


def test_a_full_disk_is_told_with_both_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "FREE_DISK", 2**60)
    with pytest.raises(StackError, match=r"has [\d.]+ GB free, 1073741824 GB are needed"):
        check_home(tmp_path)
