"""Feast: the point-in-time join for training sets, materialization, and reads from the online store."""

from __future__ import annotations

from typing import Any

import typeguard


def _as_it_is(target: Any = None, **options: Any) -> Any:
    return _as_it_is if target is None else target


# Feast has typeguard check each call of its classes. For that its sources are parsed in each process, once for each method:
# 6 of the 9 seconds that `import feast` takes. Only Feast uses typeguard here.
typeguard.typechecked = _as_it_is
