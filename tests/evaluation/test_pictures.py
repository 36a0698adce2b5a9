"""Pictures are read by people; what a test can hold is that they are the same bytes twice and show what they were given."""

import struct
from datetime import UTC, datetime

import numpy as np
import pytest

from ml.evaluation.gate import Contender, Holdout, Outcome, Rows, Rules, Slice, judge
from ml.evaluation.pictures import OUTCOME_COLOURS, STATUS_COLOURS, draw_checks, draw_curves, draw_importance, draw_verdict

DAY = datetime(2025, 6, 2, tzinfo=UTC)


def verdict(gain, rows=6000):
    rng = np.random.default_rng(0)
    labels = (rng.random(rows) < 0.04).astype(int)
    logits = 1.5 * labels + rng.normal(size=rows) - 3
    champion, challenger = (
        1 / (1 + np.exp(-scores)) for scores in (logits, logits + gain * labels + 0.3 * rng.normal(size=rows))
    )
    country = np.where(rng.random(rows) < 0.7, "GB", "FR")
    return judge(
        champion=Contender("fraud 12", "a", datetime(2025, 5, 25, tzinfo=UTC), DAY, 0.5),
        challenger=Contender("fraud 13", "b", datetime(2025, 5, 25, tzinfo=UTC), DAY, 0.5),
        holdout=Holdout(DAY, datetime(2025, 6, 16, tzinfo=UTC), datetime(2025, 6, 23, tzinfo=UTC), "rows"),
        rows=Rows(labels, champion, challenger, rng.integers(0, 600, rows), np.full(rows, np.datetime64("2025-06-05"))),
        rules=Rules("average precision", 0.05, 0.02, margins={"ROC AUC": 0.05}, limits={}, cards_a_day=20, slice_harm=0.05),
        replicates=200,
        seed=1,
        trigger="schedule",
        slices=[Slice("country", name, country == name) for name in ("GB", "FR")],
        attributes={},
        meetings=(),
        footprint=None,
        notes=(),
        spend=lambda: None,
    )


def pixels(path):
    from matplotlib.image import imread

    return np.round(imread(path)[..., :3] * 255).astype(int)


def count(path, colour):
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((pixels(path) == rgb).all(axis=-1).sum())


def chunks(path):
    data, at = path.read_bytes(), 8
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        yield name
        at += 12 + length


@pytest.mark.parametrize(
    ("gain", "rows", "outcome"),
    [(1.0, 6000, Outcome.PROMOTE), (-1.0, 6000, Outcome.KEEP), (0.1, 1500, Outcome.INCONCLUSIVE)],
)
def test_a_verdict_is_drawn_in_the_colour_of_its_outcome(tmp_path, gain, rows, outcome):
    told = verdict(gain, rows)
    assert told.outcome is outcome
    path = draw_verdict(told, tmp_path / "new folder" / "verdict.png")
    drawn = {each: count(path, colour) for each, colour in OUTCOME_COLOURS.items()}
    assert max(drawn, key=drawn.get) is outcome
    assert drawn[outcome] > 5000


def test_the_bar_ends_where_the_bounds_are(tmp_path):
    """The bar's share of the axis equals the bounds' share of the axis' range, to 2 pixels."""
    told = verdict(1.0)
    picture = pixels(draw_verdict(told, tmp_path / "verdict.png"))
    height, width = picture.shape[:2]
    rgb = [int(OUTCOME_COLOURS[Outcome.PROMOTE][i : i + 2], 16) for i in (1, 3, 5)]
    just_above_the_line = round(height * (1 - (0.24 + 0.32 / 2))) - 7
    bar = np.flatnonzero((picture[just_above_the_line] == rgb).all(axis=-1))
    primary, detectable = told.primary, told.minimum_detectable_effect
    reach = [0, *primary.interval, told.rules.worthwhile_gain, detectable]
    span = 1.12 * (max(reach) - min(reach))
    left = min(reach) - 0.06 * (max(reach) - min(reach))
    ends = [width * (0.06 + 0.88 * (x - left) / span) for x in (primary.lower_bound, primary.upper_bound)]
    longest = max(np.split(bar, np.flatnonzero(np.diff(bar) > 40) + 1), key=len)
    assert (longest[0], longest[-1]) == pytest.approx(ends, abs=3)


def test_the_same_input_gives_the_same_bytes_without_a_date(tmp_path):
    rng = np.random.default_rng(1)
    labels = (rng.random(2000) < 0.05).astype(int)
    models = {"champion": rng.beta(1, 20, 2000), "challenger": rng.beta(1 + labels, 20)}
    told = verdict(1.0)
    for draw in (
        lambda name: draw_verdict(told, tmp_path / name),
        lambda name: draw_curves(labels, models, tmp_path / name),
        lambda name: draw_importance(["amount", "hour"], [3, 1], tmp_path / name),
    ):
        first, second = draw("first.png"), draw("second.png")
        assert first.read_bytes() == second.read_bytes()
        assert {b"tIME", b"tEXt"}.isdisjoint(chunks(first))
        assert pixels(first).std() > 10


def test_importance_draws_the_largest_and_sums_the_rest(tmp_path):
    many = draw_importance([f"feature_{i}" for i in range(50)], np.arange(50), tmp_path / "many.png", top=5)
    few = draw_importance(
        ["feature_49", "feature_48", "feature_47", "feature_46", "feature_45", "rest"],
        [49, 48, 47, 46, 45, 0],
        tmp_path / "few.png",
    )
    assert pixels(many).shape == pixels(few).shape  # five bars and one for the other 45


@pytest.mark.parametrize(
    ("names", "values", "top", "message"),
    [
        (["a"], [1, 2], 20, "1 names and importance of shape"),
        ([], [], 20, "expected one value per name"),
        (["a", "b"], [1, np.nan], 20, "finite and not negative"),
        (["a", "b"], [1, -1], 20, "finite and not negative"),
        (["a", "b"], [1, 2], 0, "top is 0"),
    ],
)
def test_importance_says_what_is_wrong(tmp_path, names, values, top, message):
    with pytest.raises(ValueError, match=message):
        draw_importance(names, values, tmp_path / "importance.png", top=top)


def test_curves_take_one_to_four_models(tmp_path):
    with pytest.raises(ValueError, match="scores of 0 models were given, expected 1 to 4"):
        draw_curves([0, 1], {}, tmp_path / "curves.png")
    with pytest.raises(ValueError, match="scores of 5 models"):
        draw_curves([0, 1], {str(i): [0.1, 0.2] for i in range(5)}, tmp_path / "curves.png")


def test_a_slice_that_is_harmed_is_drawn_in_red(tmp_path):
    calm, harmed = (draw_checks(verdict(gain), tmp_path / f"{gain}.png") for gain in (1.0, -1.0))
    assert count(calm, STATUS_COLOURS["passed"]) > 300
    assert count(calm, STATUS_COLOURS["vetoed"]) == 0
    assert count(harmed, STATUS_COLOURS["vetoed"]) > 100
