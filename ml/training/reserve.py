"""Which events no model is ever fitted on, so that a golden set made of them tells the truth about every model."""

from __future__ import annotations

from ml.config import Config


def is_reserved(config: Config) -> str:
    """Condition on `event_id`, as SQL: a share of all events, by a hash of their ids, the same for ever."""
    share = config.gate.golden.share.value if config.gate.golden else 0.0
    return f"md5(event_id) < '{int(share * 2**32):08x}'" if share else "false"
