"""The exported graph answers as CatBoost does, and a graph that does not is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest

from ml.model.copies import check_copy
from ml.model.formats import ParityError
from ml.model.graph import to_onnx
from ml.model.inputs import MISSING, Inputs
from ml.model.model import ONNX, Model, save, threshold_for
from ml.model.trees import Trees
from ml.training.export import compare
from tests.models import levels


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Two numbers, one with gaps, and a category; positives depend on all three."""
    rng = np.random.default_rng(5)
    size = 6000
    frame = pd.DataFrame(
        {
            "event_id": [f"E{i}" for i in range(size)],
            "amount": rng.lognormal(3, 1, size),
            "ratio": np.where(rng.random(size) < 0.2, np.nan, rng.normal(size=size)),
            "channel": rng.choice(["chip", "online", "phone"], size),
        }
    )
    signal = np.log(frame["amount"]) + frame["ratio"].fillna(-1) + 2 * (frame["channel"] == "online")
    return frame.assign(label=(signal + rng.normal(size=size) > 6).astype(int))


@pytest.fixture
def model(tmp_path: Path, rows: pd.DataFrame) -> Model:
    """A fitted model and its graph in a folder."""
    from catboost import CatBoostClassifier

    inputs = Inputs({"amount": MISSING, "ratio": MISSING}, {"channel": levels("chip", "phone", "online")})
    trees = CatBoostClassifier(iterations=40, depth=5, thread_count=2, random_seed=1, verbose=0, allow_writing_files=False)
    trees.fit(inputs.matrix(rows), rows["label"])
    save(tmp_path, Trees(trees), inputs)
    onnx.save(to_onnx(Trees(trees), inputs), tmp_path / ONNX)
    return Model(tmp_path)


def test_graph_and_trees_agree_on_missing_numbers_and_unseen_categories(model: Model, rows: pd.DataFrame) -> None:
    odd = rows.head(300).assign(channel=["chip", "never seen", None] * 100, ratio=np.nan, amount=[0.0, 1e12, -3.0] * 100)
    both = pd.concat([rows, odd], ignore_index=True)
    parity = compare(model, both, threshold=0.5, tolerance=1e-6, name="m")
    assert (parity.rows, parity.crossed_threshold) == (6300, 0)


def test_the_graph_takes_raw_columns_and_has_no_zipmap(model: Model) -> None:
    graph = onnx.load(model.folder / ONNX).graph
    assert [i.name for i in graph.input] == ["amount", "ratio", "channel"]
    assert [o.name for o in graph.output] == ["probability"]
    assert "ZipMap" not in {node.op_type for node in graph.node}


def test_a_graph_of_another_model_is_refused(model: Model, rows: pd.DataFrame) -> None:
    other = onnx.load(model.folder / ONNX)
    trees = next(node for node in other.graph.node if node.op_type == "TreeEnsembleClassifier")
    weights = next(a for a in trees.attribute if a.name == "class_weights")
    weights.floats[3] += 0.01
    onnx.save(other, model.folder / ONNX)
    with pytest.raises(ParityError, match=r"ONNX answers .* where model\.cbm answers .* this model is not registered"):
        compare(Model(model.folder), rows, threshold=0.5, tolerance=1e-5, name="m")


def test_a_row_that_changes_sides_is_refused_however_close(model: Model, rows: pd.DataFrame) -> None:
    trees, graph = model.score(rows), model.score_onnx(rows)
    apart = int(np.argmax(trees - graph))
    between = (trees[apart] + graph[apart]) / 2
    with pytest.raises(ParityError, match="rows change sides"):
        compare(model, rows, threshold=between, tolerance=1e-3, name="m")


def test_a_copy_is_checked_against_what_it_scored_at_export(model: Model, rows: pd.DataFrame) -> None:
    sample = rows.head(50)[model.inputs.names]
    sample.assign(expected=model.score(sample)).to_parquet(model.folder / "sample.parquet")
    check_copy(model.folder)
    sample.assign(expected=model.score(sample) + 0.01).to_parquet(model.folder / "sample.parquet")
    with pytest.raises(ParityError, match="away from what it scored at export"):
        check_copy(model.folder)


def test_a_column_that_is_gone_is_named(model: Model, rows: pd.DataFrame) -> None:
    with pytest.raises(LookupError, match="the model needs columns \\['ratio'\\]"):
        model.score(rows.drop(columns="ratio"))


@pytest.mark.parametrize("alerts", [1, 10, 50])
def test_the_threshold_lets_through_about_as_many_as_can_be_looked_at(alerts: int) -> None:
    scores = np.random.default_rng(0).random(7000)
    assert (scores >= threshold_for(scores, days=7, alerts_per_day=alerts)).sum() == 7 * alerts


def test_the_threshold_of_tied_scores_is_a_score_that_occurs() -> None:
    assert threshold_for(np.full(100, 0.25), days=7, alerts_per_day=3) == 0.25
