"""What is asked of an object store: conditional puts, and nothing that makes commits unsafe; and what one that fails may do."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from ml.artifacts import Folder
from ml.artifacts.objects import UNSAFE, Objects, open_objects
from ml.errors import BadInput
from ml.lake.tables import Lake
from tests.artifacts.proxies import Proxy, proxied


@pytest.fixture
def proxy(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What the environment's endpoint leads to."""
    with proxied(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        yield proxy


def test_a_store_that_takes_two_first_writers_is_refused_before_anything_is_written(
    bucket: str, proxy: Proxy, tmp_path: Path
) -> None:
    import obstore

    proxy.forgets = True
    uri = f"{bucket}/{tmp_path.name}"
    with pytest.raises(BadInput, match="If-None-Match"):
        Objects(uri, Folder(tmp_path)).put_text("notes", "one", "text")
    with pytest.raises(BadInput, match="use a store with conditional puts"), Lake(uri).writing():
        pass
    assert [each for batch in obstore.list(open_objects(uri)) for each in batch] == []


@pytest.mark.parametrize("name", UNSAFE)
def test_settings_that_make_commits_unsafe_are_refused(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(name, "true")
    with pytest.raises(BadInput, match=f"{name}.*unset it"):
        Objects(bucket, Folder(tmp_path))
    with pytest.raises(BadInput, match=name), Lake(f"{bucket}/lake").writing():
        pass


def test_a_store_that_refuses_for_a_while_is_waited_for(bucket: str, proxy: Proxy, tmp_path: Path) -> None:
    """Artifacts and commits of tables: each is there once and whole when the store answers again."""
    uri = f"{bucket}/{tmp_path.name}"
    store, lake = Objects(uri, Folder(tmp_path / "one")), Lake(f"{uri}/lake")
    proxy.refuses = True

    def answer_again() -> None:
        proxy.refuses = False

    timer = threading.Timer(1.5, answer_again)
    timer.start()
    store.put_text("notes", "one", "text")
    assert proxy.refused > 0
    proxy.refuses = True
    timer = threading.Timer(1.5, answer_again)
    timer.start()
    rows = pa.table({"event_id": ["1", "2"], "batch_id": ["a", "a"]})
    added = lake.append_batches("events", rows)
    assert proxy.refused > 1
    assert added == 2
    assert lake.append_batches("events", rows) == 0
    assert Objects(uri, Folder(tmp_path / "other")).get("notes", "one").read_text() == "text"
