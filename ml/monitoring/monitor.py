"""The step `monitor`: compare every new day with the reference of the champion.

Each day is recorded in one transaction, and the next day starts from the record. So a run that was interrupted can be repeated.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ml.config import Config
from ml.ledger.ledger import Ledger
from ml.ledger.messages import Message
from ml.ledger.moves import refreshed_by_champion
from ml.ledger.run import BY_HAND, Run
from ml.ledger.signals import Incident, Reading
from ml.ledger.words import Trigger
from ml.monitoring import faults, muting, performance, words
from ml.monitoring.champion import Champion, champion_of
from ml.monitoring.day import WEEK, MonitoredDay
from ml.monitoring.decay import Decay, decay_of
from ml.monitoring.drift import drift_of
from ml.monitoring.estimate import EstimateError, estimated
from ml.monitoring.faults import Delivery, FeedReference
from ml.monitoring.performance import DayMetric
from ml.monitoring.reference import ALERTS, Reference, reference_of, updated_errors
from ml.monitoring.traffic import DAY, SCORE, Traffic, traffic
from ml.monitoring.words import ESTIMATE, TRAFFIC

AT_ONCE = 28
"""Most days per point-in-time join: the join takes the same time for one day and for some weeks."""
ROWS_AT_ONCE = 4_000_000
"""Events per join, about, if a day has fewer: what is joined is held in memory."""


@dataclass(frozen=True)
class MonitorResult:
    """Result of the step.

    Attributes:
        days: days that this run recorded, oldest first.
        version: the champion's version; None without a champion.
        states: number of signals by state on the newest recorded day.
        confirmed: reasons of the alarms of these days.
        incidents: reasons of the incidents of these days.
        note: summary for people.
    """

    days: tuple[str, ...]
    version: str | None
    states: dict[str, int]
    confirmed: tuple[str, ...]
    incidents: tuple[str, ...]
    note: str


def monitor(config: Config, as_of: dt.datetime, run: Run = BY_HAND) -> MonitorResult:
    """Assess every complete day of the champion that is not recorded yet; a second run does nothing.

    Args:
        config: the deployment.
        as_of: the instant of the run.
        run: the run, for the messages.

    Raises:
        BrokenModel: the champion's files are not the ones that were registered.
        ValueError: the champion's training set has too few days for a reference, or was changed.
    """
    version = Ledger(config.ledger).moves.champion(config.name)
    if version is None:
        return MonitorResult((), None, {}, (), (), "There is no champion yet, so there is nothing to compare with.")
    signals = Ledger(config.ledger).signals
    newest = signals.newest_day(config.name, version)
    last = _last_complete(config, as_of)
    _post_messages(config, as_of, run.id, version, newest)
    if newest is not None and newest >= last:
        return _monitored(config, version, [])
    champion = champion_of(config, version)
    reference = reference_of(config, champion)
    first = newest + DAY if newest else reference.until
    days = [first + i * DAY for i in range((last - first).days + 1)]
    watch = _Watch(config, as_of, champion, reference)
    at_once = days_at_once(reference)
    for start in range(0, len(days), at_once):
        watch.assess(days[start : start + at_once], run.id)
    return _monitored(config, version, days)


def days_at_once(reference: Reference) -> int:
    """How many days are assessed together; with each comes the day that matures on it."""
    a_day = sum(reference.volumes.values()) / max(len(reference.volumes), 1)
    return min(AT_ONCE, max(1, int(ROWS_AT_ONCE / (2 * max(a_day, 1)))))


def _last_complete(config: Config, as_of: dt.datetime) -> dt.date:
    """The newest day whose files are all due."""
    return (as_of.astimezone(dt.UTC) - config.events.lag.span).date() - DAY


class _Watch:
    """Assesses days in their order; the state of the days before is read from the ledger."""

    def __init__(self, config: Config, as_of: dt.datetime, champion: Champion, reference: Reference) -> None:
        self._config, self._as_of, self._champion, self._reference = config, as_of, champion, reference
        ledger = Ledger(config.ledger)
        self._signals = ledger.signals
        self._versions = {champion.version, *refreshed_by_champion(ledger.moves.history(config.name))}
        self._feed: FeedReference = reference.feed(config)
        self._inputs = set(champion.model.inputs.names)

    def assess(self, days: Sequence[dt.date], run_id: str) -> None:
        """Assess and record days, each in one transaction, and post the messages of each."""
        config, version = self._config, self._champion.version
        matured = {day: performance.matured_by(config, day) for day in days}
        needed = sorted({*days, *[day for day in matured.values() if day >= self._reference.until]})
        events = traffic(config, self._as_of, self._champion, needed)
        answered = performance.answers(config, self._as_of, needed)
        delivered = faults.deliveries(config, self._as_of, days)
        kept, before = self._recorded(min(min(days) - WEEK * DAY, min(matured.values())))
        incidents = self._signals.incidents(config.name, days[0] - muting.reach(config))
        for day in days:
            previous = kept.get(day - DAY)
            broken, kept[day] = self._kept(events[day], delivered[day], incidents, previous.doubts if previous else frozenset())
            incidents += broken
            drift = drift_of(config, self._reference.detector, version, day, kept, before, self._cooled("drift", day))
            readings = [self._traffic(events[day], kept[day], broken), *drift.readings]
            alarms = [drift.alarm] if drift.alarm else []
            errors = self._estimate_errors(before)
            if matured[day] in kept:
                metrics = self._reference.measured(config, events[matured[day]].rows, answered)
                decay = self._decay(matured[day], metrics, kept, before, self._cooled("performance", day))
                readings += decay.readings
                alarms += [decay.alarm] if decay.alarm else []
                if kept[matured[day]].sound:
                    errors = updated_errors(errors, estimated(config, events[matured[day]].rows), metrics)
            readings += self._estimates(events[day], errors)
            self._signals.record_day(config.name, version, day, self._as_of, readings, alarms, broken)
            _post_messages(config, self._as_of, run_id, version, day)
            before = {reading.signal: reading for reading in readings}

    def _recorded(self, since: dt.date) -> tuple[dict[dt.date, MonitoredDay], dict[str, Reading]]:
        """Recorded days since a day, and the readings of the newest day by signal."""
        recorded = self._signals.readings(self._config.name, self._champion.version, since)
        kept = {
            reading.day: MonitoredDay.from_dict(reading.details["kept"]) for reading in recorded if reading.signal == TRAFFIC
        }
        newest = self._signals.newest_day(self._config.name, self._champion.version)
        return kept, {reading.signal: reading for reading in recorded if reading.day == newest}

    def _kept(
        self, events: Traffic, delivery: Delivery, incidents: Sequence[Incident], doubted: frozenset[str]
    ) -> tuple[tuple[Incident, ...], MonitoredDay]:
        features, outputs, log_alert_rate = self._reference.count(events.rows)
        faults_of_day = faults.faults_of(self._config, self._feed, events.day, events.rows, features, delivery, doubted)
        muted = muting.muted(self._config, [*incidents, *faults_of_day.incidents], events.day)
        if muted & self._inputs:
            muted |= {SCORE, ALERTS}
        faulty = muting.is_faulty(faults_of_day.incidents)
        day = MonitoredDay(features, outputs, log_alert_rate, faulty, frozenset(muted), faults_of_day.doubts)
        return faults_of_day.incidents, day

    def _cooled(self, trigger: Trigger, day: dt.date) -> bool:
        """Whether the cooldown after the last alarm of this champion is over, or of a version that it is a refresh of."""
        alarms = self._signals.confirmations(self._config.name)
        days = [alarm.day for alarm in alarms if alarm.trigger == trigger and alarm.version in self._versions]
        return not days or (day - max(days)).days >= self._config.monitoring.cooldown.value

    def _decay(
        self,
        matured: dt.date,
        metrics: Mapping[str, DayMetric | None],
        kept: Mapping[dt.date, MonitoredDay],
        before: Mapping[str, Reading],
        cooled: bool,
    ) -> Decay:
        reference = self._reference
        means = {name: reference.mean_performance(name) for name in reference.charts.charts}
        sound = kept[matured].sound
        return decay_of(
            reference.charts, means, reference.rates.rate, self._champion.version, matured, metrics, sound, before, cooled
        )

    def _traffic(self, events: Traffic, kept: MonitoredDay, broken: Sequence[Incident]) -> Reading:
        return Reading(
            signal=TRAFFIC,
            kind="feed",
            value=float(len(events.rows)),
            threshold=None,
            state="CONFIRMED" if broken else "OK",
            details={"scores": events.source, "faults": [incident.reason for incident in broken], "kept": kept.to_dict()},
        )

    def _estimate_errors(self, before: Mapping[str, Reading]) -> dict[str, EstimateError]:
        """The error of estimates up to the day before; from the reference days if there is no record."""
        recorded = {name: before.get(ESTIMATE + name) for name in self._reference.estimate_errors}
        return {
            name: EstimateError.from_dict(reading.details["trust"])
            if reading and "trust" in reading.details
            else self._reference.estimate_errors[name]
            for name, reading in recorded.items()
        }

    def _estimates(self, events: Traffic, errors: Mapping[str, EstimateError]) -> list[Reading]:
        return [
            Reading(
                signal=ESTIMATE + name,
                kind="estimate",
                value=value,
                threshold=None,
                state="OK",
                details={"trust": errors[name].to_dict()},
            )
            for name, value in estimated(self._config, events.rows).items()
        ]


def _post_messages(config: Config, as_of: dt.datetime, run_id: str, version: str, day: dt.date | None) -> None:
    """Post the alarms of a recorded day and its new incidents; a message that was posted before is not posted again."""
    if day is None:
        return
    ledger = Ledger(config.ledger)
    signals, messages = ledger.signals, ledger.messages
    alarms = [a for a in signals.confirmations(config.name) if (a.version, a.day) == (version, day)]
    incidents = signals.incidents(config.name, day - DAY)
    open_before = {(incident.fault, incident.subject) for incident in incidents if incident.day < day}
    opened = [i for i in incidents if i.day == day and (i.fault, i.subject) not in open_before]
    message = partial(Message, model=config.name, as_of=as_of, process="monitor", run_id=run_id, version=version)
    for alarm in alarms:
        what = "The data have drifted" if alarm.trigger == "drift" else "The champion has lost performance"
        messages.post(
            message(
                key=f"{alarm.trigger} {version} {day}",
                event="drift" if alarm.trigger == "drift" else "performance",
                text=f"{what}: {alarm.reason}. A training is asked for.",
                figure=str(alarm.evidence.get("figure") or alarm.trigger),
            )
        )
    for incident in opened:
        messages.post(
            message(
                key=f"data incident {day} {incident.fault} {incident.subject}",
                event="data incident",
                text=f"Data incident: {incident.reason}. Nothing is trained for it.",
                figure=f"{incident.fault} of {incident.subject} on {day}",
            )
        )


def _monitored(config: Config, version: str, days: Sequence[dt.date]) -> MonitorResult:
    """The result of this run, from the ledger."""
    signals = Ledger(config.ledger).signals
    newest = signals.newest_day(config.name, version)
    if newest is None:
        note = f"Version {version} is champion, and no day after its reference is complete yet."
        return MonitorResult((), version, {}, (), (), note)
    readings = signals.readings(config.name, version, newest)
    alarms = [alarm for alarm in signals.confirmations(config.name) if alarm.version == version and alarm.day in days]
    incidents = [incident for incident in signals.incidents(config.name) if incident.day in days]
    states: dict[str, int] = Counter(reading.state for reading in readings if reading.kind != "estimate")
    confirmed, broken = tuple(alarm.reason for alarm in alarms), tuple(incident.reason for incident in incidents)
    note = words.note(version, newest, readings, len(days), confirmed, broken)
    return MonitorResult(tuple(map(str, days)), version, dict(states), confirmed, broken, note)
