"""A verdict as the gate writes it, with every section, to be stood in a ledger or on a card."""

from __future__ import annotations

from typing import Any


def difference(name: str, champion: float, challenger: float, error: float = 0.012) -> dict[str, Any]:
    """One metric of both models."""
    gain = challenger - champion
    return {
        "name": name,
        "unit": name,
        "champion": champion,
        "challenger": challenger,
        "champion_interval": [champion - 0.03, champion + 0.03],
        "challenger_interval": [challenger - 0.03, challenger + 0.03],
        "gain": gain,
        "standard_error": error,
        "standard_error_influence": error,
        "share_of_days": 0.2,
        "degrees_of_freedom": 480.0,
        "lower_bound": gain - 1.65 * error,
        "upper_bound": gain + 1.65 * error,
        "interval": [gain - 1.96 * error, gain + 1.96 * error],
    }


def guardrail(name: str, unit: str, champion: float, challenger: float, status: str) -> dict[str, Any]:
    """A metric that must not fall."""
    gain = challenger - champion
    told = f"{name} {champion:.4f} → {challenger:.4f}, at least {gain - 0.004:+.4f} with 95 % confidence"
    bounds = {"lower_bound": gain - 0.004, "upper_bound": gain + 0.004}
    models = {"champion": champion, "challenger": challenger, "gain": gain}
    return {"name": name, "unit": unit, "status": status, "margin": 0.01, **models, **bounds, "told": told}


def a_slice(slice: str, group: str, champion: float, challenger: float, status: str) -> dict[str, Any]:  # noqa: A002
    """A part of the holdout."""
    gain = challenger - champion
    return {
        "slice": slice,
        "group": group,
        "rows": 12_345,
        "positives": 96,
        "positive_clusters": 71,
        "champion": champion,
        "challenger": challenger,
        "gain": None if status == "not judged" else gain,
        "interval": None if status == "not judged" else [gain - 0.04, gain + 0.05],
        "p_harm": None if status == "not judged" else 0.5 - 5 * gain,
        "status": status,
        "told": f"{slice} {group} {status}",
    }


def fair(model: str, group: str, recall: float) -> dict[str, Any]:
    """Rates of a group under a model."""
    rates = {"selection_rate": 0.0081, "false_positive_rate": 0.0042, "recall": recall}
    intervals = {name: {"value": value, "low": 0.9 * value, "high": 1.1 * value} for name, value in rates.items()}
    return {"model": model, "attribute": "country", "group": group, "rows": 5120, "positives": 41, **intervals}


def verdict() -> dict[str, Any]:
    """The whole of it."""
    return {
        "outcome": "PROMOTE",
        "reason": "The challenger is better: average precision 0.6123 → 0.6468 (+0.0345), at least +0.0147.",
        "rules": {"alpha": 0.05, "worthwhile_gain": 0.02, "metric": "average precision"},
        "notes": ["2.0 % of all attribution moved"],
        "trigger": "schedule",
        "minimum_detectable_effect": 0.0298,
        "more_days": None,
        "rows": 68_108,
        "positives": 542,
        "clusters": 2462,
        "replicates": 1000,
        "primary": difference("average precision", 0.6123, 0.6468),
        "others": [difference("ROC AUC", 0.9412, 0.9466, 0.004), difference("card precision@40", 0.2114, 0.2232, 0.006)],
        "guardrails": [
            guardrail("ROC AUC", "area", 0.9412, 0.9466, "passed"),
            guardrail("calibration error", "probability", 0.0021, 0.0019, "unknown"),
        ],
        "slices": [
            a_slice("channel", "online", 0.5812, 0.6301, "passed"),
            a_slice("channel", "magstripe", 0.7112, 0.6701, "vetoed"),
            a_slice("amount", "0 to 20", 0.6012, 0.6123, "passed"),
            a_slice("country", "IT", 0.4, 0.5, "not judged"),
        ],
        "fairness": [fair("champion 1", "IT", 0.71), fair("challenger", "IT", 0.74), fair("challenger", "NL", 0.77)],
        "champion": {
            "name": "champion 1",
            "model_hash": "a",
            "trained_until": "2025-04-04",
            "labels_known_until": "2025-04-11",
        },
        "challenger": {
            "name": "challenger",
            "model_hash": "b",
            "trained_until": "2025-04-05",
            "labels_known_until": "2025-04-12",
        },
        "holdout": {
            "start": "2025-04-12T00:00:00+00:00",
            "end": "2025-04-26T00:00:00+00:00",
            "labels_known_until": "2025-05-03T02:00:00+00:00",
            "digest": "rows",
        },
        "champion_hash": "a" * 64,
        "challenger_hash": "b" * 64,
    }
