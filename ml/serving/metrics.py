"""What Prometheus reads of the service."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

BUCKETS = tuple(round(start * 10.0**power, 7) for power in range(-4, 1) for start in (0.5, 0.7, 1.0, 1.5, 2.0, 3.0))
"""Edges in seconds, from 0.05 ms to 3 s, each at most twice the one before: a median is known to a fifth or so."""

STAGES = ("wait", "features", "model", "log", "all")


# Feast asks for figures in files that all processes and registries share; ours are those of one process and one service.
values.ValueClass = values.MutexValue


class Metrics:
    """The figures of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter, gauge = partial(Counter, registry=self.registry), partial(Gauge, registry=self.registry)
        stages = "seconds of a request by stage: wait, features, model, log, all"
        self.seconds = Histogram("perennial_seconds", stages, ["stage"], buckets=BUCKETS, registry=self.registry)
        self._stages = {stage: self.seconds.labels(stage) for stage in STAGES}
        self.requests = counter("perennial_requests", "requests by path and status", ["path", "status"])
        self.scores = counter("perennial_scores", "scored events", ["version", "role", "decision"])
        self.explored = counter("perennial_explored", "alerts that were let through; they count as alerts too", ["version"])
        self.misses = counter("perennial_feature_misses", "entities without a snapshot, by view", ["view"])
        self.age = gauge("perennial_feature_age_seconds", "age of the newest snapshot that was read, by view", ["view"])
        self.fallbacks = counter("perennial_fallbacks", "events scored without the online store")
        self.waiting = gauge("perennial_requests_waiting", "requests that wait to be scored")
        self.held = gauge("perennial_events_held", "events that windows with `publish: event` are computed from")
        self.second_scores_dropped = counter(
            "perennial_second_scores_dropped", "events of a release that only the version that answered has scored"
        )
        self.log_written = gauge("perennial_log_records", "predictions on disk since the start")
        self.log_refused = gauge("perennial_log_refused", "predictions that could not be logged")
        self.log_bytes = gauge("perennial_log_bytes", "bytes of predictions that have not reached the lake")
        self.log_lag = gauge("perennial_log_lag_seconds", "age of the oldest prediction that has not reached the lake")
        self.version = gauge("perennial_version", "1 for the version that scores", ["version", "sha256"])
        self.refused = gauge("perennial_champion_refused", "1 if the champion cannot be opened and another one scores")

    def scored(self, version: str, role: str, decision: str, is_explored: bool) -> None:
        """Count a score; an alert that is let through counts as an alert."""
        self.scores.labels(version, role, "alert" if is_explored else decision).inc()
        if is_explored:
            self.explored.labels(version).inc()

    def stage(self, stage: str, seconds: float) -> None:
        """Count the seconds of a stage of a request."""
        self._stages[stage].observe(seconds)
