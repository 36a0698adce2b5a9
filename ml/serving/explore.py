"""Alerts that are let through all the same, so that their labels depend on no alert.

What is stopped is never seen to go well or badly, and who looks at alerts first reports them first. A small share of the
alerts, drawn by chance, has labels like those of any event that passes: from them the precision of all alerts is estimated
without bias (`ml.overview.explored`). The draw is a hash of the event's id, so that a request that is sent again gets the
same answer, from any process and any version.

Source: exploration of alerts, Carcillo and others, Streaming Active Learning Strategies for Real-Life Credit Card Fraud
Detection, 2018.
"""

from __future__ import annotations

import hashlib

from ml.config import Config


class Exploration:
    """Draws the alerts of a deployment that are let through; none where it does not say `serving.explore`.

    Whoever can choose the id of an event, and knows the name of the deployment, can choose one that is let through: ids are to
    be given by the system that asks, not by who acts.
    """

    def __init__(self, config: Config) -> None:
        explore = config.serving.explore
        self._share, self._name = explore.value if explore else 0.0, config.name

    def lets_through(self, event_id: str) -> bool:
        """Whether an event is let through if it is an alert."""
        if not self._share:
            return False
        drawn = hashlib.blake2b(event_id.encode(), key=self._name.encode()[:64], digest_size=8).digest()
        return int.from_bytes(drawn) / 2**64 < self._share
