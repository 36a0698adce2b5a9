"""Reserved events, on which no model is ever fitted, so that the golden set made of them is unbiased for every model."""

from __future__ import annotations

from ml.config import Config


def is_reserved(config: Config) -> str:
    """SQL condition on `event_id`: a share of all events by a hash of their ids, which never changes."""
    share = config.gate.golden.share.value if config.gate.golden else 0.0
    return f"md5(event_id) < '{int(share * 2**32):08x}'" if share else "false"
