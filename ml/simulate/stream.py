"""A simulated stream of card payments with fraud and late labels; any range of days can be generated independently.

Customers, terminals and the fraud scenarios 1 to 3 are those of Le Borgne, Siblini, Lebichot and Bontempi, "Reproducible
Machine Learning for Credit Card Fraud Detection", chapter 3 (2022). Added are reports that arrive days later or never,
categorical columns, a weekly rhythm, and drift (`ml.simulate.drift`).

One seed, one stream: every random number comes from a generator of its own for (seed, purpose, day), so the payments of a
day never depend on the other generated days.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.errors import BadInput
from ml.simulate.drift import AmountShift, FraudRateShock, LabelFault, NewScenario, PlantedDrift

SIDE = 100.0
RADIUS = 5.0
NEAREST = 3
DAY = 86_400

# Monday to Sunday, mean 1; the mean of Monday to Friday is 1.014, so a Sunday has 0.74 of a usual day.
WEEK = (0.98, 0.98, 1.00, 1.03, 1.08, 1.18, 0.75)

BLATANT_AMOUNT = 220.0
TERMINAL_DAYS = 28
CUSTOMER_DAYS = 14
# The handbook's 2 of 10,000 terminals and 3 of 5,000 customers a day; as shares they give every population its fraud rate.
TERMINALS_A_DAY = 2 / 10_000
CUSTOMERS_A_DAY = 3 / 5_000
STOLEN_SHARE = 1 / 3
STOLEN_FACTOR = 5.0
STOLEN_REMOTE = 0.6

NEVER_REPORTED = 0.08
LONGEST_DELAY = 45
SOURCES = np.array(["analyst", "customer", "chargeback"], dtype=object)

CHANNELS = np.array(["chip", "contactless", "magstripe", "online"], dtype=object)
ONLINE = 3
COUNTRIES = np.array(["DE", "AT", "CH", "ES", "FR", "GB", "IT", "NL", "PL", "US"], dtype=object)
HOME = 0

PAYMENT_COLUMNS = (
    "payment_id",
    "paid_at",
    "customer_id",
    "terminal_id",
    "amount",
    "merchant_category",
    "channel",
    "country",
)
TRUTH_COLUMNS = ("is_fraud", "scenario")
REPORT_COLUMNS = ("payment_id", "is_fraud", "reported_at", "source")

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Category:
    """A kind of merchant: its share of terminals, the share of them abroad, and the shares of `CHANNELS` it is paid by."""

    name: str
    share: float
    abroad: float
    channels: tuple[float, float, float, float]


CATEGORIES = (
    Category("groceries", 0.18, 0.03, (0.33, 0.65, 0.02, 0.00)),
    Category("restaurants", 0.14, 0.06, (0.45, 0.48, 0.07, 0.00)),
    Category("fuel", 0.09, 0.06, (0.60, 0.28, 0.12, 0.00)),
    Category("clothing", 0.09, 0.04, (0.50, 0.35, 0.02, 0.13)),
    Category("transport", 0.08, 0.05, (0.15, 0.65, 0.02, 0.18)),
    Category("online_retail", 0.08, 0.25, (0.00, 0.00, 0.00, 1.00)),
    Category("health", 0.07, 0.02, (0.55, 0.40, 0.03, 0.02)),
    Category("electronics", 0.06, 0.05, (0.60, 0.15, 0.02, 0.23)),
    Category("home_garden", 0.06, 0.03, (0.65, 0.25, 0.03, 0.07)),
    Category("entertainment", 0.06, 0.06, (0.25, 0.35, 0.05, 0.35)),
    Category("travel", 0.05, 0.25, (0.25, 0.05, 0.05, 0.65)),
    Category("digital_goods", 0.04, 0.40, (0.00, 0.00, 0.00, 1.00)),
)


class Purpose(IntEnum):
    """Purpose of a random generator; each has its own stream, so that drift in one does not change the others."""

    POPULATION = 0
    PAYMENTS = 1
    TERMINALS = 2
    CUSTOMERS = 3
    STOLEN = 4
    BURSTS = 5
    REPORTS = 6
    FEED = 7


class _Reach:
    """Draws terminals within `RADIUS` of customers, uniformly, in memory of order customers + terminals.

    Terminals are sorted into square cells with sides of one radius. A candidate is drawn from the 3 × 3 cells around the
    customer, three contiguous strips of the sorted terminals, and kept if it is near enough, which about one in three is.
    Customers with no terminal in reach go to the `NEAREST` ones.
    """

    def __init__(self, customers: Floats, terminals: Floats) -> None:
        from scipy.spatial import cKDTree

        self._customers, self._terminals = customers, terminals
        side = int(SIDE / RADIUS)
        column, row = np.minimum(terminals // RADIUS, side - 1).astype(np.int64).T
        self._sorted = np.argsort(column * side + row, kind="stable")
        edges = np.searchsorted((column * side + row)[self._sorted], np.arange(side * side + 1))
        column, row = np.minimum(customers // RADIUS, side - 1).astype(np.int64).T[:, :, None]
        strips = column + np.arange(-1, 2)
        exists = (strips >= 0) & (strips < side)
        strips = strips.clip(0, side - 1)
        self._first = edges[strips * side + np.maximum(row - 1, 0)]
        beyond = edges[strips * side + np.minimum(row + 1, side - 1) + 1]
        self._upto = np.where(exists, beyond - self._first, 0).cumsum(axis=1)
        ranks = np.arange(1, min(NEAREST, len(terminals)) + 1)
        distance, self._nearest = cKDTree(terminals).query(customers, k=ranks)
        # Slightly below the radius, because rounding could otherwise reject a customer's only terminal for ever.
        self._alone = distance[:, 0] > RADIUS * (1 - 1e-9)

    def draw(self, customers: Ints, rng: np.random.Generator) -> Ints:
        """Return a terminal for every element of `customers`, an ndarray of shape (n_payments,)."""
        terminals: Ints = self._nearest[customers, rng.integers(self._nearest.shape[1], size=customers.size)]
        waiting = np.flatnonzero(~self._alone[customers])
        while waiting.size:
            drawn = customers[waiting]
            upto = self._upto[drawn]
            pick = (rng.random(drawn.size) * upto[:, 2]).astype(np.int64)
            strip = (pick >= upto[:, 0]).astype(np.int64) + (pick >= upto[:, 1])
            before = np.where(strip > 0, upto[np.arange(drawn.size), strip - 1], 0)
            candidate = self._sorted[self._first[drawn, strip] + pick - before]
            near = ((self._customers[drawn] - self._terminals[candidate]) ** 2).sum(axis=1) <= RADIUS**2
            terminals[waiting[near]] = candidate[near]
            waiting = waiting[~near]
        return terminals


class _Population:
    """The fixed customers and terminals of a stream."""

    def __init__(self, customers: int, terminals: int, rng: np.random.Generator) -> None:
        self.mean_amount = rng.uniform(5, 100, customers)
        self.payments_a_day = rng.uniform(0, 4, customers)
        self.category = rng.choice(len(CATEGORIES), terminals, p=[category.share for category in CATEGORIES])
        abroad = rng.random(terminals) < np.array([category.abroad for category in CATEGORIES])[self.category]
        self.country = np.where(abroad, rng.integers(1, len(COUNTRIES), terminals), HOME)
        self.reach = _Reach(rng.uniform(0, SIDE, (customers, 2)), rng.uniform(0, SIDE, (terminals, 2)))
        self._channels = np.cumsum([category.channels for category in CATEGORIES], axis=1)[:, :-1]
        online = np.array([category.channels[ONLINE] == 1 for category in CATEGORIES])[self.category]
        self.remote = self._pool(online | abroad)
        self.remote_abroad = self._pool(online & abroad)
        width = max(7, len(str(max(customers, terminals) - 1)))
        self.customer_id = np.array([f"C{i:0{width}d}" for i in range(customers)], dtype=object)
        self.terminal_id = np.array([f"T{i:0{width}d}" for i in range(terminals)], dtype=object)

    @staticmethod
    def _pool(chosen: Bools) -> Ints:
        """Chosen terminals, or all terminals if none is chosen."""
        return np.flatnonzero(chosen) if chosen.any() else np.arange(chosen.size)

    def channel(self, terminals: Ints, uniform: Floats) -> Ints:
        """Return the channel of payments at `terminals`, by inversion of `uniform` numbers in [0, 1)."""
        return (uniform[:, None] >= self._channels[self.category[terminals]]).sum(axis=1)


@dataclass(frozen=True)
class _Payments:
    """Payments as integer codes: an ndarray of shape (n_payments,) each; `second` counts from the day's midnight."""

    customer: Ints
    terminal: Ints
    second: Ints
    amount: Floats
    channel: Ints
    scenario: Ints


class PaymentStream:
    """Card payments of a simulated bank and the reports of fraud that reach it.

    Parameters
    ----------
    customers, terminals : int
        Size of the population. A customer makes two payments a day on average (1.94 once times outside the day are left
        out). About 0.9 % of all payments are fraud, whatever the size.
    seed : int
        Not negative. The same seed gives the same population and payments.
    first_day : date
        No payment is older. Compromises are: the stream begins in its steady state.
    drift : sequence of Drift
        What changes in the world. Feed faults have no effect here; `ml.simulate.landing` applies them to what it writes.

    Raises
    ------
    ValueError
        A number is out of range, or a drift begins before `first_day`.
    """

    def __init__(
        self, customers: int, terminals: int, seed: int, first_day: dt.date, drift: Sequence[PlantedDrift] = ()
    ) -> None:
        for name, value, minimum in (("customers", customers, 1), ("terminals", terminals, 1), ("seed", seed, 0)):
            if value < minimum:
                raise BadInput(f"{name} is {value}, expected at least {minimum}")
        for entry, planted in enumerate(drift):
            if planted.day < first_day:
                raise BadInput(f"drift.{entry}.day: {planted.day} is before the stream's first day {first_day}")
        self.customers = customers
        self.terminals = terminals
        self.seed = seed
        self.first_day = first_day
        self.drift = tuple(drift)
        population = np.random.SeedSequence(seed, spawn_key=(Purpose.POPULATION, customers, terminals))
        self._population = _Population(customers, terminals, np.random.default_rng(population))

    def payments(self, first: dt.date, last: dt.date) -> pd.DataFrame:
        """Return the payments of the days `first` to `last`, both inclusive, in the order of their times.

        Returns
        -------
        DataFrame of shape (n_payments, 10)
            payment_id, customer_id, terminal_id, merchant_category, channel, country (text); paid_at (datetime64[us],
            UTC without zone, whole seconds); amount (float, two decimals, at least 0.01). And the truth, which is not in
            the feed: is_fraud (bool) and scenario (int8: 0 none, 1 large amount, 2 compromised terminal, 3 compromised
            customer, 4 the drift `new_scenario`).

        Raises
        ------
        ValueError
            `first` is after `last` or before the stream's first day.
        """
        self._check_days(first, last)
        days = _days(first, last)
        terminals = {d: self._compromised(Purpose.TERMINALS, d) for d in _days(_before(first, TERMINAL_DAYS - 1), last)}
        customers = {d: self._compromised(Purpose.CUSTOMERS, d) for d in _days(_before(first, CUSTOMER_DAYS - 1), last)}
        return self._frame(
            days,
            [
                self._day(
                    day,
                    np.concatenate([terminals[d] for d in _days(_before(day, TERMINAL_DAYS - 1), day)]),
                    np.concatenate([customers[d] for d in _days(_before(day, CUSTOMER_DAYS - 1), day)]),
                )
                for day in days
            ],
        )

    def reports(self, first: dt.date, last: dt.date) -> pd.DataFrame:
        """Return the reports of fraud that reach the bank on the days `first` to `last`, both inclusive.

        About 8 % of frauds are never reported. Of the others half are within 3 days, 90 % within 7, all within 45, if
        no fault of the labels' feed is planted.

        Returns
        -------
        DataFrame of shape (n_reports, 4)
            payment_id, is_fraud (int8, always 1), reported_at (datetime64[us], UTC without zone), source (analyst,
            customer, or chargeback, from fast to slow); sorted by reported_at.

        Raises
        ------
        ValueError
            `first` is after `last` or before the stream's first day.
        """
        self._check_days(first, last)
        reports = self.reports_of(self.payments(max(self.first_day, _before(first, self.longest_delay)), last))
        arrives = reports["reported_at"].between(_midnight(first), _midnight(_before(last, -1)), inclusive="left")
        return reports[arrives].reset_index(drop=True)

    def reports_of(self, payments: pd.DataFrame) -> pd.DataFrame:
        """Return all reports that `payments`, whole days as `payments` returns them, cause on any day.

        The result has the columns and the order of `reports`.
        """
        frauds = payments.loc[payments["is_fraud"], ["payment_id", "paid_at"]]
        days, counts = np.unique(frauds["paid_at"].to_numpy().astype("datetime64[D]"), return_counts=True)
        draws = [self._draw_reports(day, n) for day, n in zip(days.tolist(), counts, strict=True)]
        report_draw, delay, source = np.concatenate([np.empty((3, 0)), *draws], axis=1)
        source_limits = np.select([delay[:, None] < 2, delay[:, None] < 7], [(0.5, 0.9), (0.2, 0.7)], (0.05, 0.3))
        reports = frauds.assign(
            is_fraud=np.int8(1),
            reported_at=frauds["paid_at"] + np.floor(delay * DAY).astype("timedelta64[s]"),
            source=SOURCES[(source[:, None] >= source_limits).sum(axis=1)],
        )
        for fault in self._label_faults():
            reports = reports.assign(reported_at=fault.apply(reports["paid_at"], reports["reported_at"]))
        reports = reports.loc[report_draw >= NEVER_REPORTED, list(REPORT_COLUMNS)]
        return reports.sort_values(["reported_at", "payment_id"], ignore_index=True)

    @property
    def longest_delay(self) -> int:
        """Days after which no report on a payment comes any more, faults of the labels' feed included."""
        factors, days = zip((1.0, 0), *(fault.longest for fault in self._label_faults()), strict=True)
        return math.ceil(LONGEST_DELAY * math.prod(factors)) + sum(days)

    def _label_faults(self) -> list[LabelFault]:
        return [planted for planted in self.drift if isinstance(planted, LabelFault)]

    def generator(self, purpose: Purpose, day: dt.date, entry: int = 0) -> np.random.Generator:
        """Return the generator of (seed, purpose, day); `entry` distinguishes several drifts of one kind."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(purpose, day.toordinal(), entry)))

    def _check_days(self, first: dt.date, last: dt.date) -> None:
        if first > last:
            raise BadInput(f"first day {first} is after last day {last}")
        if first < self.first_day:
            raise BadInput(f"{first} is before the stream's first day {self.first_day}: there is nothing before it")

    def _compromised(self, purpose: Purpose, day: dt.date) -> Ints:
        """Terminals or customers that become compromised on `day`."""
        rng = self.generator(purpose, day)
        size, share = (self.terminals, TERMINALS_A_DAY) if purpose is Purpose.TERMINALS else (self.customers, CUSTOMERS_A_DAY)
        expected = size * share
        for drift in self.drift:
            if isinstance(drift, FraudRateShock) and drift.acts_on(day):
                expected *= drift.factor
        return rng.choice(size, _round(expected, size, rng), replace=False)

    def _day(self, day: dt.date, hit_terminals: Ints, hit_customers: Ints) -> _Payments:
        people = self._population
        rng = self.generator(Purpose.PAYMENTS, day)
        customer = np.repeat(np.arange(self.customers), rng.poisson(people.payments_a_day * WEEK[day.weekday()]))
        second = np.floor(rng.normal(DAY / 2, 20_000, customer.size)).astype(np.int64)
        kept = (second >= 0) & (second < DAY)
        customer, second = customer[kept], second[kept]
        mean = people.mean_amount[customer]
        amount = rng.normal(mean, mean / 2)
        amount = np.where(amount < 0, rng.uniform(0, 2 * mean), amount)
        terminal = people.reach.draw(customer, rng)
        uniform = rng.random(customer.size)

        scenario = (amount > BLATANT_AMOUNT).astype(np.int64)
        scenario[_member(terminal, hit_terminals, self.terminals)] = 2
        rng = self.generator(Purpose.STOLEN, day)
        stolen = np.flatnonzero(_member(customer, hit_customers, self.customers))
        stolen = stolen[rng.random(stolen.size) < STOLEN_SHARE]
        remote = stolen[rng.random(stolen.size) < STOLEN_REMOTE]
        terminal[remote] = rng.choice(people.remote, remote.size)
        amount[stolen] *= STOLEN_FACTOR
        scenario[stolen] = 3

        parts = [_Payments(customer, terminal, second, amount, people.channel(terminal, uniform), scenario)]
        for entry, drift in enumerate(self.drift):
            if isinstance(drift, NewScenario) and drift.acts_on(day):
                parts.append(self._bursts(drift, self.generator(Purpose.BURSTS, day, entry)))
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
        for drift in self.drift:
            if isinstance(drift, AmountShift) and drift.acts_on(day):
                joined["amount"] *= drift.factor
        joined["amount"] = np.maximum(joined["amount"].round(2), 0.01)
        order = np.argsort(joined["second"], kind="stable")
        return _Payments(**{name: values[order] for name, values in joined.items()})

    def _bursts(self, drift: NewScenario, rng: np.random.Generator) -> _Payments:
        hit = rng.choice(self.customers, _round(self.customers * drift.customers, self.customers, rng), replace=False)
        sizes = rng.integers(4, 9, hit.size)
        customer = np.repeat(hit, sizes)
        second = np.repeat(rng.integers(0, 4 * 3600, hit.size), sizes) + rng.integers(0, 3600, customer.size)
        return _Payments(
            customer=customer,
            terminal=rng.choice(self._population.remote_abroad, customer.size),
            second=second,
            amount=rng.uniform(1, 20, customer.size),
            channel=np.full(customer.size, ONLINE),
            scenario=np.full(customer.size, 4),
        )

    def _frame(self, days: list[dt.date], parts: list[_Payments]) -> pd.DataFrame:
        people = self._population
        codes = _Payments(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})
        counts = [day.second.size for day in parts]
        midnight = np.repeat(np.array(days, dtype="datetime64[us]"), counts)
        ids = [f"{prefix}{i:07d}" for prefix, n in zip((f"P{d:%Y%m%d}-" for d in days), counts, strict=True) for i in range(n)]
        categories = np.array([category.name for category in CATEGORIES], dtype=object)
        return pd.DataFrame(
            {
                "payment_id": np.array(ids, dtype=object),
                "paid_at": midnight + codes.second.astype("timedelta64[s]"),
                "customer_id": people.customer_id[codes.customer],
                "terminal_id": people.terminal_id[codes.terminal],
                "amount": codes.amount,
                "merchant_category": categories[people.category[codes.terminal]],
                "channel": CHANNELS[codes.channel],
                "country": COUNTRIES[people.country[codes.terminal]],
                "is_fraud": codes.scenario > 0,
                "scenario": codes.scenario.astype(np.int8),
            }
        )

    def _draw_reports(self, day: dt.date, frauds: int) -> Floats:
        """For the frauds of a day, in their order: a uniform number, the delay in days, another uniform number."""
        rng = self.generator(Purpose.REPORTS, day)
        report_draw, source, tail = rng.random((3, frauds))
        # A body with its median just under three days and a tail of 3 % give a median of 3 and a 90 % quantile of 7 days.
        body = rng.lognormal(np.log(2.93), 0.596, frauds).clip(0.01, LONGEST_DELAY)
        delay = np.where(tail < 0.03, rng.uniform(10, LONGEST_DELAY, frauds), body)
        return np.array([report_draw, delay, source])


def _days(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + dt.timedelta(days=i) for i in range((last - first).days + 1)]


def _before(day: dt.date, days: int) -> dt.date:
    return day - dt.timedelta(days=days)


def _midnight(day: dt.date) -> pd.Timestamp:
    return pd.Timestamp(day)


def _round(expected: float, limit: int, rng: np.random.Generator) -> int:
    """Round up or down at random, such that the mean is `expected`, to at most `most`."""
    return min(int(expected + rng.random()), limit)


def _member(values: Ints, members: Ints, size: int) -> Bools:
    """Mask of the `values` in [0, size) that are among `members`."""
    table = np.zeros(size, dtype=bool)
    table[members] = True
    return table[values]
