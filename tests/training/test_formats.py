"""Every format answers as the registered model does, and a file that does not is not handed out."""

from __future__ import annotations

import builtins
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.config import Config
from ml.model.copies import SAMPLE
from ml.model.formats import ParityError
from ml.model.inputs import MISSING, Inputs
from ml.model.model import Model
from ml.model.pmml import to_pmml
from ml.training import formats
from tests.deployments import small
from tests.models import HOSTILE, INPUTS, fitted, levels, payments


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The small deployment."""
    return small(tmp_path_factory.mktemp("formats"))


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Labelled payments."""
    return payments(1500)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, config: Config, rows: pd.DataFrame) -> Model:
    """A model with the sample that it would be registered with."""
    model = fitted(tmp_path_factory.mktemp("model"), config, rows, INPUTS)
    sample = rows.head(60)[model.inputs.names]
    sample.assign(expected=model.score(sample)).to_parquet(model.folder / SAMPLE)
    return model


@pytest.fixture
def registered(model: Model, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The model as the registry's only version."""

    class OneVersion:
        def fetch(self, version: str) -> Path:
            return model.folder

    monkeypatch.setattr(formats, "registry", lambda config: OneVersion())
    return model


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("kind", formats.FORMATS)
def test_a_file_answers_as_the_registered_model(config: Config, tmp_path: Path, kind: str) -> None:
    told = formats.write_checked(config, "1", kind, tmp_path / f"model.{kind}")
    assert told.checked.startswith("checked: 120 rows score at most")
    assert all(file.is_file() for file in told.files)
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in told.files}
    takes_numbers = kind in ("cbm", "json")
    assert ("model.inputs.json" in {file.name for file in told.files}) == takes_numbers
    if takes_numbers:
        assert json.loads((tmp_path / "model.inputs.json").read_text())["fill"] == INPUTS.fill


@pytest.mark.parametrize("kind", formats.FORMATS)
def test_a_file_of_another_model_is_refused(
    config: Config, registered: Model, rows: pd.DataFrame, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = fitted(tmp_path / "other", config, rows.assign(label=1 - rows["label"]), INPUTS)
    write = formats.write
    monkeypatch.setattr(formats, "write", lambda model, kind, path: write(other, kind, path))
    target = tmp_path / "out" / f"model.{kind}"
    with pytest.raises(ParityError, match=rf"{kind}: row \d+ of the version's sample scores .* the file is not handed out"):
        formats.write_checked(config, "1", kind, target)
    assert list(target.parent.iterdir()) == []


def test_one_border_that_is_off_is_refused(model: Model, rows: pd.DataFrame, tmp_path: Path) -> None:
    """The first border on an amount is moved to where half of the sample lies."""
    root = ET.fromstring(to_pmml(model.estimator, model.inputs))  # noqa: S314
    predicates = [e for e in root.iter() if e.tag.endswith("SimplePredicate") and e.get("field") == "input_0"]
    for predicate in predicates[:2]:
        predicate.set("value", repr(float(rows["amount"].median())))
    (tmp_path / "model.pmml").write_bytes(ET.tostring(root))
    with pytest.raises(ParityError):
        formats.compare(model, "pmml", tmp_path / "model.pmml", rows.head(200))


def test_pmml_holds_all_digits_of_a_border(model: Model) -> None:
    """CatBoost's own PMML has six, and rows between the two borders would be scored by another leaf."""
    borders = {border for borders in model.estimator.classifier.get_borders().values() for border in map(np.float32, borders)}
    root = ET.fromstring(to_pmml(model.estimator, model.inputs))  # noqa: S314
    written = {np.float32(e.get("value")) for e in root.iter() if e.tag.endswith("SimplePredicate")}
    assert written <= borders
    assert len(written) > 20


def test_a_category_that_xml_cannot_hold_is_named(config: Config, rows: pd.DataFrame, tmp_path: Path) -> None:
    inputs = Inputs({"amount": MISSING}, {"channel": levels("chip", "bell\x07", HOSTILE)})
    model = fitted(tmp_path, config, rows, inputs)
    with pytest.raises(ValueError, match=r"category 'bell\\x07' of channel cannot be written in XML; choose another format"):
        to_pmml(model.estimator, inputs)


@pytest.mark.usefixtures("registered")
def test_without_a_runtime_the_file_is_said_to_be_unchecked(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "pypmml":
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    told = formats.write_checked(config, "1", "pmml", tmp_path / "model.pmml")
    assert told.checked.startswith("NOT CHECKED: pypmml is not installed")
    assert (tmp_path / "model.pmml").is_file()


@pytest.mark.usefixtures("registered")
def test_a_format_or_a_place_that_cannot_be_is_named(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="format is 'h5', expected one of"):
        formats.write_checked(config, "1", "h5", tmp_path / "model.h5")
    with pytest.raises(ValueError, match="is a folder; name the file to write"):
        formats.write_checked(config, "1", "onnx", tmp_path)
