"""Model versions in MLflow: their files, the digests that prove the files, their tags and aliases.

A version is a folder of files logged as artifacts of a run. The SHA-256 of each file is kept with the version when it
is registered and compared each time the files are fetched, so a file that was cut short, changed or lost is found
before anyone scores with it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ml.artifacts import lock_file
from ml.errors import NotThere, Refused
from ml.model.copies import JUDGED
from ml.model.version import hash_of as model_hash

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

ARTIFACTS = "model"
DIGESTS = "perennial.digests"
STAGE = "perennial.stage"
RUN_KEY = "perennial.key"
PAUSES = (2, 5, 15)
MEND = "restore the file from a copy, or train again"


log = logging.getLogger(__name__)


class BrokenModel(Refused, RuntimeError):
    """The files of a version are not the ones that were registered."""


class Registry:
    """The versions of one model.

    Parameters:
        tracking_uri: where MLflow keeps runs and versions: `sqlite:///…`, `postgresql://…` or a server's address.
        model: name of the registered model.
    """

    def __init__(self, tracking_uri: str, model: str) -> None:
        self.tracking_uri = tracking_uri
        self.model = model

    @cached_property
    def _client(self) -> MlflowClient:
        return _opened(self.tracking_uri)

    def experiment(self, name: str, artifact_location: str | None) -> str:
        """Id of the experiment of that name, made when it is missing.

        Parameters:
            artifact_location: folder or URI for its artifacts; None for the server's own.
        """
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return self._client.create_experiment(name, artifact_location)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(name)
        return found.experiment_id

    def run(self, experiment_id: str, key: str) -> str:
        """Id of the run of that key (a hash of what goes into the training), made when it is missing."""
        found = self._client.search_runs([experiment_id], f"tags.`{RUN_KEY}` = '{key}'", max_results=1)
        if found:
            return found[0].info.run_id
        return self._client.create_run(experiment_id, tags={RUN_KEY: key}, run_name=key[:16]).info.run_id

    def register(self, model_dir: Path, run_id: str, tags: dict[str, str], description: str) -> str:
        """Log a folder as `model/` of a run and make it a version; a run that has a version keeps it.

        Parameters:
            model_dir: folder with an `MLmodel` file, as `mlflow.onnx.save_model` writes it.

        Returns:
            The version, a number as text.

        Raises:
            BrokenModel: the folder has no `MLmodel` file.
        """
        if not (model_dir / "MLmodel").is_file():
            raise BrokenModel(f"{model_dir}: no file MLmodel; write the folder with mlflow.onnx.save_model")
        first = self._first_version(run_id)
        if first is not None:
            return first
        client = self._client
        self._ensure_model()
        digests = _digests(model_dir)
        client.log_artifacts(run_id, str(model_dir), ARTIFACTS)
        created = client.create_model_version(
            self.model,
            source=f"{client.get_run(run_id).info.artifact_uri}/{ARTIFACTS}",
            run_id=run_id,
            tags={**tags, DIGESTS: json.dumps(digests, sort_keys=True)},
            description=description,
        )
        first = self._first_version(run_id)
        if first is not None and first != str(created.version):
            # Two processes registered one run at once; MLflow has no constraint on it, so the later one steps back.
            client.delete_model_version(self.model, str(created.version))
            return first
        return str(created.version)

    def fetch(self, version: str) -> Path:
        """Local folder with the files of a version, each compared with its digest; downloaded if they are elsewhere.

        Files that were not there at registration are not looked at: MLflow itself adds one when it loads a model.

        Raises:
            BrokenModel: a file is missing or differs, or the version was registered without digests.
        """
        import mlflow

        digests = self.digests(version)
        source = self._client.get_model_version_download_uri(self.model, version)
        try:
            folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=source, tracking_uri=self.tracking_uri))
        except (OSError, mlflow.MlflowException) as error:
            raise BrokenModel(
                f"{self.model} version {version}: cannot read {source}: {error}; "
                f"see that the artifact store is there, or else {MEND}"
            ) from error
        for name, expected in digests.items():
            file = folder / name
            if not file.is_file():
                raise BrokenModel(f"{self.model} version {version}: {file} is missing; {MEND}")
            found = _digest(file)
            if found != expected:
                raise BrokenModel(
                    f"{self.model} version {version}: {file} has {file.stat().st_size} bytes with SHA-256 {found}, "
                    f"expected {expected}; {MEND}"
                )
        return folder

    def digests(self, version: str) -> dict[str, str]:
        """SHA-256 of each file of a version at registration, by its path in the folder."""
        tags = self.tags(version)
        if DIGESTS not in tags:
            raise BrokenModel(f"{self.model} version {version} has no tag {DIGESTS}: register it with Registry.register")
        return json.loads(tags[DIGESTS])

    def model_hash(self, version: str) -> str:
        """SHA-256 over all digests of a version: two versions have the same one if all their files are the same."""
        return model_hash(self.digests(version))

    def is_refit(self, version: str) -> bool:
        """Whether a version is the refit of a judged model, which it holds."""
        return any(name.startswith(f"{JUDGED}/") for name in self.digests(version))

    def judged_hash(self, version: str) -> str:
        """`model_hash` of the model that the gate judged: of the judged model within a refit, else of the version itself."""
        digests, folder = self.digests(version), f"{JUDGED}/"
        judged = {name.removeprefix(folder): digest for name, digest in digests.items() if name.startswith(folder)}
        return model_hash(judged or digests)

    def tags(self, version: str) -> dict[str, str]:
        """Tags of a version.

        Raises:
            LookupError: there is no such version.
        """
        from mlflow.exceptions import MlflowException

        try:
            return dict(self._client.get_model_version(self.model, version).tags)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
        known = self.all_tags()
        there = f"there are {', '.join(sorted(known, key=int))}" if known else "none is registered yet"
        raise NotThere(f"{self.model} has no version {version!r}; {there}")

    def run_of(self, version: str) -> str:
        """Id of the MLflow run that a version was registered from."""
        return str(self._client.get_model_version(self.model, version).run_id)

    def all_tags(self) -> dict[str, dict[str, str]]:
        """Tags of every version, by version; empty if nothing was registered yet."""
        return {str(version.version): dict(version.tags) for version in self._versions()}

    def aliases(self) -> dict[str, str]:
        """The version that each alias names, by alias; empty if nothing was registered yet."""
        model = self._registered()
        return {} if model is None else {alias: str(version) for alias, version in model.aliases.items()}

    def set_aliases(self, **aliases: str | None) -> None:
        """Point each named alias at its version; None takes the alias away, an alias that is not named stays."""
        now = self.aliases()
        for alias, version in aliases.items():
            if version is None and alias in now:
                self._client.delete_registered_model_alias(self.model, alias)
            elif version is not None and now.get(alias) != version:
                self._client.set_registered_model_alias(self.model, alias, version)

    def stages(self) -> dict[str, str]:
        """The stage of each version that has one, by version."""
        return {str(v.version): v.tags[STAGE] for v in self._versions() if STAGE in v.tags}

    def set_stage_tag(self, version: str, stage: str) -> None:
        """Write on a version what has become of it, for people who read the registry's pages."""
        self._client.set_model_version_tag(self.model, version, STAGE, stage)

    def _versions(self, condition: str = "") -> list[ModelVersion]:
        """Versions of the model, oldest first; `condition` is added to MLflow's filter."""
        found: list[ModelVersion] = []
        token = None
        while True:
            page = self._client.search_model_versions(
                f"name = '{self.model}'{condition}", order_by=["version_number ASC"], page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found

    def _first_version(self, run_id: str) -> str | None:
        versions = self._versions(f" and run_id = '{run_id}'")
        return str(versions[0].version) if versions else None

    def _registered(self) -> RegisteredModel | None:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_registered_model(self.model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def _ensure_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(self.model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _opened(uri: str) -> MlflowClient:
    """A client of MLflow whose tables are there.

    MLflow makes missing tables whenever it opens a database and does not expect company: of two processes that open a new one
    at once, one finds tables that the other has just made. On SQLite they take turns; elsewhere the loser tries again.
    """
    from mlflow import MlflowClient, MlflowException
    from sqlalchemy import make_url
    from sqlalchemy.exc import DBAPIError

    def opened() -> MlflowClient:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_registered_models(max_results=1)
        return client

    if uri.startswith("sqlite:"):
        file = Path(make_url(uri).database or "mlflow.db")
        with lock_file(file.with_name(f"{file.name}.lock")):
            return opened()
    for seconds in PAUSES:
        try:
            return opened()
        except (DBAPIError, MlflowException) as error:
            log.warning("MLflow at %s cannot be opened, again in %d s: %s", make_url(uri), seconds, error)
            time.sleep(seconds)
    return opened()


def folder_hash(folder: Path) -> str:
    """`model_hash` of a folder that is not registered yet."""
    return model_hash(_digests(folder))


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files}


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
