"""What fails is tried less and less often, down to once a minute; what is new is tried at once."""

from __future__ import annotations

from ml.serving.backoff import Backoff


def test_the_wait_doubles_up_to_a_minute_and_begins_anew_with_something_else() -> None:
    seconds, tried = [0.0], list[float]()
    backoff = Backoff(now=lambda: seconds[0])

    def fail(what: str, first: int, last: int) -> None:
        for second in range(first, last):
            seconds[0] = second
            if backoff.is_due(what):
                tried.append(second)
                backoff.failed(what)

    fail("version 7", 0, 200)
    assert tried == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    fail("version 8", 200, 210)
    assert tried[9:] == [200, 201, 203, 207]
