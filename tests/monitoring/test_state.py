"""The states of a daily signal, as properties of any history."""

import datetime as dt
import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.monitoring.calibration import confirmations
from ml.monitoring.state import DriftState, Phase, advance

FIRST = dt.date(2025, 1, 6)
histories = st.lists(st.one_of(st.none(), st.floats(0, 3)), max_size=60)
cooldowns = st.integers(0, 20)


def replay(ratios, cooldown=14):
    states, state = [], DriftState()
    for number, ratio in enumerate(ratios):
        state = advance(state, FIRST + dt.timedelta(number), ratio, cooldown=cooldown)
        states.append(state)
    return states


def test_one_day_over_the_threshold_warns_and_the_second_confirms():
    assert [state.phase for state in replay([0.5, 1.2, 0.9, 1.1])] == [Phase.OK, Phase.WARN, Phase.WARN, Phase.CONFIRMED]


def test_two_days_over_it_that_lie_further_apart_do_not_confirm():
    assert replay([1.2, 0.9, 0.9, 1.2])[-1].phase is Phase.WARN


def test_a_confirmed_signal_rests_only_below_seven_tenths():
    phases = [state.phase for state in replay([1.2, 1.2, 0.9, 0.71, 0.69, 0.9])]
    assert phases == [Phase.WARN, *[Phase.CONFIRMED] * 3, Phase.OK, Phase.OK]


def test_within_the_cooldown_it_only_warns_and_is_confirmed_after_it():
    states = replay([1.2, 1.2, 0.1, *[1.2] * 5], cooldown=5)
    assert [number for number, state in enumerate(states) if state.alarm] == [1, 6]
    assert states[4].phase is Phase.WARN


@given(histories, cooldowns)
def test_nothing_is_confirmed_without_two_of_three_days_over_the_threshold(ratios, cooldown):
    for number, state in enumerate(replay(ratios, cooldown)):
        if state.alarm:
            assert sum(ratio is not None and ratio > 1 for ratio in ratios[max(0, number - 2) : number + 1]) >= 2


@given(histories, cooldowns)
def test_two_confirmations_lie_a_cooldown_apart_with_a_rest_between_them(ratios, cooldown):
    days = [number for number, state in enumerate(replay(ratios, cooldown)) if state.alarm]
    for one, two in pairwise(days):
        assert two - one >= cooldown
        assert any(ratio is not None and ratio < 0.7 for ratio in ratios[one + 1 : two])


@given(st.lists(st.floats(0.7, 3), max_size=60), cooldowns)
def test_no_signal_flaps_while_it_stays_above_seven_tenths(ratios, cooldown):
    phases = [list(Phase).index(state.phase) for state in replay(ratios, cooldown)]
    assert phases == sorted(phases)


@given(histories, cooldowns)
def test_days_without_data_change_no_phase(ratios, cooldown):
    states = [DriftState(), *replay(ratios, cooldown)]
    for before, after, ratio in zip(states, states[1:], ratios, strict=False):
        if ratio is None:
            assert (after.phase, after.confirmed) == (before.phase, before.confirmed)


@given(histories, cooldowns, st.integers(0, 60))
def test_a_history_that_is_stored_and_taken_up_again_gives_the_same_state(ratios, cooldown, stop):
    whole = replay(ratios, cooldown)
    state = whole[min(stop, len(whole)) - 1] if whole and stop else DriftState()
    state = DriftState.from_dict(json.loads(json.dumps(state.to_dict())))
    for number in range(min(stop, len(ratios)), len(ratios)):
        state = advance(state, FIRST + dt.timedelta(number), ratios[number], cooldown=cooldown)
    assert not whole or state == whole[-1]


@given(histories)
def test_a_state_remembers_at_most_three_days(ratios):
    assert all(len(state.exceeded) <= 3 for state in replay(ratios))


def test_the_simulation_confirms_exactly_when_the_states_do():
    rng = np.random.default_rng(20250706)
    ratios = np.abs(rng.normal(size=(300, 40)))
    alarms = sum(state.alarm for signal in ratios.T for state in replay(signal.tolist(), cooldown=9))
    assert alarms > 200
    assert confirmations(ratios, 9) == alarms


def test_a_day_that_was_seen_already_and_a_size_that_is_none_are_refused():
    state = advance(DriftState(), FIRST, 0.5, cooldown=14)
    with pytest.raises(ValueError, match="each once"):
        advance(state, FIRST, 0.5, cooldown=14)
    for ratio in (float("nan"), -1.0):
        with pytest.raises(ValueError, match="at least 0"):
            advance(DriftState(), FIRST, ratio, cooldown=14)
