"""A store of artifacts in an object store such as S3, with copies of what was read in a folder of this machine.

The files of an artifact are uploaded under a name of their own, and a manifest that lists them is put last: it makes the
artifact exist. The object store accepts a new manifest only if there is none (`If-None-Match: *`), so that of two writers the
first one wins; a store that does not is refused before anything is written to it. Credentials and endpoint come from the
environment: `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` and their like.

Source: the conditional put of S3, https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html.
"""

from __future__ import annotations

import functools
import json
import os
import uuid
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.artifacts.folder import Folder, publish
from ml.artifacts.store import Fill, Missing, Store, checked, digest
from ml.errors import BadInput, Refused

if TYPE_CHECKING:
    from obstore.store import ObjectStore

MANIFEST = ".manifest"


class DamagedArtifact(Refused, OSError):
    """A downloaded file is not the one that was uploaded."""


class Objects(Store):
    """A store under the URI of a bucket or of a folder in one; see `ml.artifacts.store.Store`.

    An artifact's manifest is the object `kind/key.manifest`; its files are below `kind/key.files/UPLOAD/`.
    """

    def __init__(self, uri: str, copies: Folder) -> None:
        self._uri, self._store = uri, open_objects(uri)
        self._copies = copies

    def put(self, kind: str, key: str, fill: Fill, replace: bool = False) -> Path:
        """See `Store.put`."""
        if not replace and self.has(kind, key):
            return self.get(kind, key)
        require_conditional_puts(self._uri)
        path = self._copies.path(kind, key)
        with self.private(kind) as folder:
            made = folder / path.name
            fill(made)
            if self._upload(_name(kind, key), made, replace):
                return publish(made, path, replace)
        return self.get(kind, key)

    def private(self, kind: str) -> AbstractContextManager[Path]:
        """See `Store.private`."""
        return self._copies.private(kind)

    def get(self, kind: str, key: str) -> Path:
        """See `Store.get`. A copy on this machine is taken if there is one.

        Raises:
            DamagedArtifact: a file differs from what the manifest says of it.
        """
        return self._copies.put(kind, key, lambda path: self._download(_name(kind, key), path))

    def has(self, kind: str, key: str) -> bool:
        """See `Store.has`."""
        import obstore

        try:
            obstore.head(self._store, f"{_name(kind, key)}{MANIFEST}")
        except FileNotFoundError:
            return False
        return True

    def list(self, kind: str) -> list[str]:
        """See `Store.list`."""
        import obstore

        prefix = f"{checked(kind, 'kind of an artifact')}/"
        paths = [each["path"].removeprefix(prefix) for batch in obstore.list(self._store, prefix) for each in batch]
        return sorted({path.removesuffix(MANIFEST).split("/")[0] for path in paths if path.endswith(MANIFEST)})

    def delete(self, kind: str, key: str) -> None:
        """See `Store.delete`."""
        import obstore

        name = _name(kind, key)
        if self.has(kind, key):
            files = self._manifest(name)
            obstore.delete(self._store, f"{name}{MANIFEST}")
            obstore.delete(self._store, _paths(name, files))
        self._copies.delete(kind, key)

    def lock(self, kind: str, key: str) -> AbstractContextManager[None]:
        """See `Store.lock`."""
        return self._copies.lock(kind, key)

    def _manifest(self, name: str) -> dict[str, Any]:
        import obstore

        try:
            content = obstore.get(self._store, f"{name}{MANIFEST}").bytes()
        except FileNotFoundError:
            raise Missing(2, f"there is no artifact {name}", name) from None
        manifest: dict[str, Any] = json.loads(bytes(content))
        return manifest

    def _upload(self, name: str, made: Path, replace: bool) -> bool:
        """Upload an artifact; False if another writer was first."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        files = [made] if made.is_file() else sorted(path for path in made.rglob("*") if path.is_file())
        named = {"" if path == made else path.relative_to(made).as_posix(): path for path in files}
        manifest = {"upload": uuid.uuid4().hex, "files": {each: digest(path) for each, path in named.items()}}
        for remote, path in zip(_paths(name, manifest), named.values(), strict=True):
            obstore.put(self._store, remote, path)
        try:
            content = json.dumps(manifest, indent=1).encode()
            obstore.put(self._store, f"{name}{MANIFEST}", content, mode="overwrite" if replace else "create")
        except AlreadyExistsError:
            obstore.delete(self._store, _paths(name, manifest))
            return False
        return True

    def _download(self, name: str, path: Path) -> None:
        import obstore

        manifest = self._manifest(name)
        for remote, (relative, sha256) in zip(_paths(name, manifest), manifest["files"].items(), strict=True):
            file = path / relative if relative else path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(obstore.get(self._store, remote).bytes())
            if digest(file) != sha256:
                raise DamagedArtifact(f"{name}: {relative or 'the file'} has SHA-256 {digest(file)}, uploaded was {sha256}")


def _name(kind: str, key: str) -> str:
    return f"{checked(kind, 'kind of an artifact')}/{checked(key, 'key of an artifact')}"


def _paths(name: str, manifest: dict[str, Any]) -> list[str]:
    """Names of the objects that hold an artifact's files; that of a single file is `content`."""
    return [f"{name}.files/{manifest['upload']}/{relative or 'content'}" for relative in manifest["files"]]


UNSAFE = {
    "AWS_S3_ALLOW_UNSAFE_RENAME": "lets two writers commit the same version of a table, and one of them is lost",
    "AWS_S3_LOCKING_PROVIDER": "makes commits wait for a table of locks that other writers of this lake do not ask",
}
"""Settings of Delta Lake for stores without conditional puts, see https://github.com/delta-io/delta-rs/issues/4464."""


def open_objects(uri: str) -> ObjectStore:
    """The object store at a URI, with the credentials of the environment.

    Raises:
        BadInput: the environment asks for commits that are not safe.
    """
    from obstore.store import from_url

    for name, what in UNSAFE.items():
        if os.environ.get(name):
            raise BadInput(f"the environment variable {name} {what}; unset it: {uri} needs nothing but conditional puts")
    return from_url(uri, client_options={"allow_http": is_plain()})


@functools.cache
def require_conditional_puts(uri: str) -> None:
    """Refuse a store in which a second writer of a name would overwrite the first; asked once in a process, by two puts.

    Raises:
        BadInput: the store took both, or knows no conditional put.
    """
    import obstore
    from obstore.exceptions import AlreadyExistsError, NotSupportedError

    store, name = open_objects(uri), f".probe/{uuid.uuid4().hex}"
    try:
        for _ in range(2):
            obstore.put(store, name, b"", mode="create")
    except AlreadyExistsError:
        return
    except NotSupportedError as error:
        raise _without_conditional_puts(uri) from error
    finally:
        obstore.delete(store, name)
    raise _without_conditional_puts(uri)


def _without_conditional_puts(uri: str) -> BadInput:
    return BadInput(
        f"{uri} does not keep a second writer from overwriting the first (`If-None-Match: *`), so rows would be lost where two "
        "machines write; use a store with conditional puts, such as S3, MinIO or GCS"
    )


def is_plain() -> bool:
    """Whether the endpoint that the environment names speaks HTTP without TLS, as a server on this machine does."""
    return os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
