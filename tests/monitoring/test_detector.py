"""The detector on single days: what each kind of change does to its signals, and what is no evidence of anything."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.days import MOVED, NUMBERS, REFERENCE_DAYS, World, stream
from ml.config.monitoring import Monitoring
from ml.monitoring.detector import Detector
from ml.monitoring.measurements import Kind, Role
from ml.monitoring.observed import ROWS, DailyProfiles
from ml.monitoring.profile import Counts, Profile
from ml.monitoring.state import Phase

LEAST = Monitoring().severity.value

IMPORTANCE = dict.fromkeys(NUMBERS[:20], 1.0)


@pytest.fixture(scope="module")
def days():
    return stream(np.random.default_rng(20250715), REFERENCE_DAYS + 14, World())


@pytest.fixture(scope="module")
def detector(days):
    return Detector.fit(days.reference, IMPORTANCE)


def live(days, change=lambda profile: profile, since=7):
    """The live days, the features of those from the eighth on changed."""
    first = days.date(REFERENCE_DAYS + since)
    changed = {day: change(profile) if day >= first else profile for day, profile in days.days.features.items()}
    return replace(days.days, features=changed)


def replay(detector, days, told, stop=14):
    """Assessments and states of the live days."""
    states, assessed = {}, []
    for number in range(stop):
        assessed.append(detector.assess(days.date(REFERENCE_DAYS + number), told))
        states = assessed[-1].advance(states)
    return assessed, states


def confirmed(states):
    return {name for name, state in states.items() if state.phase is Phase.CONFIRMED}


def column(profile, name, change):
    return Profile(profile.rows, {**profile.counts, name: change(profile.counts[name])})


def moved(name, bins):
    """Numbers that lie so many bins higher."""

    def higher(counts):
        told = np.concatenate([np.zeros(bins, dtype=np.int64), counts.present[:-bins]])
        told[-1] += counts.present[-bins:].sum()
        return replace(counts, present=told)

    return lambda profile: column(profile, name, higher)


def test_days_like_the_reference_confirm_nothing_and_ask_for_nothing(detector, days):
    assessed, states = replay(detector, days, days.days)
    assert confirmed(states) == set()
    assert not any(assessment.confirmed(states).is_reason_to_train(LEAST) for assessment in assessed)


def test_every_column_is_watched_for_what_it_can_do(detector):
    kinds = {}
    for baseline in detector.baselines:
        kinds.setdefault(baseline.signal.name, set()).add(baseline.signal.kind)
    assert kinds["number_0"] == kinds["score"] == {Kind.LOCATION, Kind.SHAPE, Kind.MISSING}
    assert kinds["text_0"] == {Kind.SHAPE, Kind.MISSING, Kind.UNSEEN}
    assert kinds[ROWS] == kinds["alerts"] == {Kind.VOLUME}


def test_a_feature_that_moved_is_confirmed_and_weighs_by_its_importance(detector, days):
    assessed, states = replay(detector, days, live(days, moved(MOVED[0], 40)))
    assert f"{MOVED[0]}: location" in confirmed(states)
    assert assessed[-1].severity == pytest.approx(1 / 20)
    asking = assessed[-1].confirmed(states)
    assert MOVED[0] in {reading.signal.name for reading in asking.measurements}
    assert asking.is_reason_to_train(LEAST)


def test_a_feature_that_the_model_ignores_alarms_but_is_no_reason(detector, days):
    assessed, states = replay(detector, days, live(days, moved(NUMBERS[25], 128)))
    assert f"{NUMBERS[25]}: location" in confirmed(states)
    assert not assessed[-1].confirmed(states).is_reason_to_train(LEAST)


def test_a_feature_of_little_importance_never_reaches_retraining_alone(days):
    detector = Detector.fit(days.reference, {NUMBERS[0]: 3.0, NUMBERS[1]: 97.0})
    assessed, states = replay(detector, days, live(days, moved(NUMBERS[0], 128)))
    assert f"{NUMBERS[0]}: location" in confirmed(states)
    assert assessed[-1].severity == pytest.approx(0.03)
    assert not assessed[-1].confirmed(states).is_reason_to_train(LEAST)


def test_a_change_of_shape_that_leaves_the_location_is_found(detector, days):
    def wider(counts):
        order = np.abs(np.arange(256) - 127.5) > 100
        return replace(counts, present=np.where(order, counts.present * 3 // 2, counts.present * 4 // 5))

    _, states = replay(detector, days, live(days, lambda profile: column(profile, "number_3", wider)))
    assert "number_3: shape" in confirmed(states)
    assert "number_3: location" not in confirmed(states)


def test_missing_values_and_unseen_text_are_confirmed_and_missing_ones_are_no_reason(detector, days):
    def absent(counts):
        gone = counts.present // 20
        return replace(counts, present=counts.present - gone, missing=counts.missing + int(gone.sum()))

    def new(counts):
        gone = counts.present // 20
        return replace(counts, present=counts.present - gone, unseen=int(gone.sum()))

    change = lambda profile: column(column(profile, "number_4", absent), "text_0", new)  # noqa: E731
    assessed, states = replay(detector, days, live(days, change))
    assert confirmed(states) == {"number_4: missing", "text_0: unseen"}
    readings = {str(reading.signal): reading for reading in assessed[-1].measurements}
    assert readings["text_0: unseen"].value == pytest.approx(0.05, abs=0.002)
    assert readings["number_4: missing"].value == pytest.approx(0.06, abs=0.005)
    assert readings["number_4: missing"].expected == pytest.approx(0.01, abs=0.001)
    assert not assessed[-1].confirmed(states).is_reason_to_train(LEAST)


def test_a_score_or_alerts_that_moved_are_a_reason_by_themselves(detector, days):
    first = days.date(REFERENCE_DAYS + 7)
    outputs = {day: moved("score", 60)(told) if day >= first else told for day, told in days.days.outputs.items()}
    alerts = {day: told + 1.5 * (day >= first) for day, told in days.days.series["alerts"].items()}
    for told in (replace(days.days, outputs=outputs), replace(days.days, series={"alerts": alerts})):
        assessed, states = replay(detector, days, told)
        assert len(confirmed(states)) >= 1
        assert assessed[-1].confirmed(states).is_reason_to_train(LEAST)


def test_many_more_rows_are_confirmed_as_a_fault_of_the_feed(detector, days):
    double = lambda profile: profile + profile  # noqa: E731
    assessed, states = replay(detector, days, live(days, double))
    assert confirmed(states) == {f"{ROWS}: volume"}
    assert not assessed[-1].confirmed(states).is_reason_to_train(LEAST)


def test_one_wild_day_warns_and_is_not_confirmed(detector, days):
    wild = days.date(REFERENCE_DAYS + 7)
    features = {day: moved(MOVED[0], 50)(told) if day == wild else told for day, told in days.days.features.items()}
    states = {}
    for number in range(14):
        states = detector.assess(days.date(REFERENCE_DAYS + number), replace(days.days, features=features)).advance(states)
        if number == 7:
            assert states[f"{MOVED[0]}: location"].phase is Phase.WARN
    assert states[f"{MOVED[0]}: location"].confirmed is None


def test_weekends_that_differ_as_they_did_in_the_reference_are_no_evidence():
    days = stream(np.random.default_rng(20250716), REFERENCE_DAYS + 14, World(weekend=1.0))
    detector = Detector.fit(days.reference, IMPORTANCE)
    assert confirmed(replay(detector, days, days.days)[1]) == set()


def test_days_without_data_are_no_evidence_and_a_missing_sunday_changes_no_shape(detector, days):
    gaps = {days.date(REFERENCE_DAYS + number) for number in (5, 6, 9)}
    empty = Profile(0, {name: Counts(counts.present * 0, 0, counts.unseen) for name, counts in _any(days).counts.items()})
    gone = replace(days.days, features={day: told for day, told in days.days.features.items() if day not in gaps})
    blank = replace(days.days, features={day: empty if day in gaps else t for day, t in days.days.features.items()})
    for told in (gone, blank):
        assessed, states = replay(detector, days, told)
        assert confirmed(states) == set()
        features = [reading for reading in assessed[9].measurements if reading.signal.role is not Role.OUTPUT]
        assert all(reading.z is None and reading.value is None for reading in features)


def test_a_day_without_anything_is_assessed_and_leaves_the_states(detector, days):
    assessed = detector.assess(days.date(REFERENCE_DAYS), DailyProfiles({}))
    assert assessed.severity == 0
    assert all(reading.ratio is None for reading in assessed.measurements)
    assert confirmed(assessed.advance({})) == set()


def test_a_live_day_of_few_rows_is_given_a_wider_scale(detector):
    baseline = next(b for b in detector.baselines if b.signal.kind is Kind.LOCATION)
    assert baseline.scale_on([50_000] * 3) == pytest.approx(baseline.scale, rel=0.02)
    assert baseline.scale_on([200_000] * 3) == baseline.scale
    sampling = np.sqrt(1 / (12 * 100) / 3)
    assert sampling < baseline.scale_on([100] * 3) < 5 * sampling


def test_days_of_a_hundred_rows_after_a_reference_of_fifty_thousand_confirm_nothing(detector, days):
    rng = np.random.default_rng(20250717)

    def few(profile):
        def thinned(counts):
            present = rng.multinomial(99, counts.present / counts.present.sum())
            return Counts(present, int(rng.binomial(1, 0.6)) if counts.missing else 0, counts.unseen)

        return Profile(100, {name: thinned(counts) for name, counts in profile.counts.items()})

    assert confirmed(replay(detector, days, live(days, few, since=0))[1]) - {f"{ROWS}: volume"} == set()


def test_a_detector_comes_back_from_json_and_judges_the_same(detector, days):
    again = Detector.from_dict(json.loads(json.dumps(detector.to_dict())))
    for number in range(3):
        day = days.date(REFERENCE_DAYS + number)
        assert again.assess(day, days.days) == detector.assess(day, days.days)


def test_the_same_days_give_the_same_detector(detector, days):
    assert Detector.fit(days.reference, IMPORTANCE).to_dict() == detector.to_dict()


def test_few_reference_days_are_refused_and_the_fewest_have_high_thresholds(detector, days):
    def only(count):
        return DailyProfiles(dict(list(days.reference.features.items())[-count:]))

    with pytest.raises(ValueError, match=r"13.*at least 14"):
        Detector.fit(only(13), IMPORTANCE)
    few = Detector.fit(only(14), IMPORTANCE)
    over = {str(baseline.signal): baseline.threshold for baseline in detector.baselines}
    assert all(b.threshold > 1.5 * over[str(b.signal)] for b in few.baselines if b.signal.kind is Kind.LOCATION)


def test_a_column_that_was_always_missing_is_watched_for_nothing_else(days):
    empty = lambda told: column(told, "number_5", lambda c: Counts(c.present[:1] * 0, told.rows))  # noqa: E731
    reference = replace(days.reference, features={day: empty(told) for day, told in days.reference.features.items()})
    signals = {str(baseline.signal) for baseline in Detector.fit(reference, IMPORTANCE).baselines}
    assert "number_5: missing" in signals
    assert not {"number_5: location", "number_5: shape"} & signals


def test_names_that_are_used_twice_and_negative_importance_are_refused(days):
    with pytest.raises(ValueError, match=f"'{ROWS}'"):
        Detector.fit(replace(days.reference, series={ROWS: dict.fromkeys(days.reference.features, 1.0)}), IMPORTANCE)
    with pytest.raises(ValueError, match="none below 0"):
        Detector.fit(days.reference, {"number_0": -1.0})


def test_a_reference_of_empty_days_is_refused_like_none(days):
    empty = dict.fromkeys(list(days.reference.features)[:70], Profile(0, _any(days).counts))
    with pytest.raises(ValueError, match=r"'features': 7"):
        Detector.fit(DailyProfiles({**days.reference.features, **empty}), IMPORTANCE)
    alerts = dict.fromkeys(list(days.reference.features), float("nan"))
    with pytest.raises(ValueError, match=r"alerts.*: 0"):
        Detector.fit(replace(days.reference, series={"alerts": alerts}), IMPORTANCE)


def test_a_live_day_that_was_counted_by_another_binning_is_refused(detector, days):
    day = days.date(REFERENCE_DAYS)
    with pytest.raises(ValueError, match=r"lack \['number_0'"):
        detector.assess(day, DailyProfiles({day: Profile(10, {"text_0": _any(days).counts["text_0"]})}))


def test_a_feed_without_weekends_can_be_watched(days):
    def working(told):
        return {day: profile for day, profile in told.items() if day.weekday() < 5}

    reference = DailyProfiles(working(days.reference.features))
    detector = Detector.fit(reference, IMPORTANCE)
    _, states = replay(detector, days, DailyProfiles(working(days.days.features)))
    assert confirmed(states) == set()


def _any(days):
    return days.days.features[days.date(0)]
