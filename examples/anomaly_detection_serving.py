"""Watch a series point by point and raise an alarm as soon as it turns abnormal; without torch.

    python examples/anomaly_detection.py                       # writes the model
    python examples/anomaly_detection_serving.py anomaly_detection.safetensors SERIES.csv

SERIES.csv has one value on a line; `-` reads standard input, as values come in. Each point moves
the LSTM on by one step. Its score is the mean, over the last points, of the squared errors of what
was forecast for them, in deviations; above the threshold that the model came with, it is an alarm.
`--threshold` sets another one, `--scores FILE.npy` keeps the scores. At the end it prints the time
that a point took. Needs: cellgate, with the NumPy and safetensors that it depends on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from pathlib import Path

import cellgate
import numpy as np
from safetensors import safe_open


class Monitor:
    """One series that is being watched; the weights may be shared by many."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, "numpy") as file:
            about = json.loads(file.metadata()["about"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.mean, self.deviation = about["mean"], about["deviation"]
        self.horizons, self.moves = about["horizons"], np.array(about["moves"], np.float32)
        self.threshold, self.warm = about["threshold"], about["warm"]
        self.linear = weights["linear.weight"], weights["linear.bias"]
        lstm = cellgate.LSTM(2, weights["lstm.weight_hh_l0"].shape[1])
        lstm.load_state_dict({k[5:]: v for k, v in weights.items() if k.startswith("lstm.")})
        self.stream = lstm.stream()
        self.past: deque[tuple[float, np.ndarray]] = deque(maxlen=max(self.horizons))
        self.errors: deque[float] = deque(maxlen=about["width"])
        self.errors.extend([0.0] * about["width"])

    def step(self, value: float) -> float:
        """The score, with this point."""
        squares = []
        for j, (horizon, move) in enumerate(zip(self.horizons, self.moves, strict=True)):
            if horizon <= len(self.past):
                then, forecast = self.past[-horizon]
                error = (value - then) / move - forecast[2 * j]
                squares.append(error**2 * np.exp(-np.clip(forecast[2 * j + 1], -8, 6)))
        self.errors.append(float(np.mean(squares)) if squares else 0.0)
        change = (value - self.past[-1][0]) / self.moves[0] if self.past else 0.0
        x = np.array([(value - self.mean) / self.deviation, change], np.float32)
        weight, bias = self.linear
        self.past.append((value, weight @ self.stream.step(x) + bias))
        return sum(self.errors) / len(self.errors)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("series", help="a file with one value on a line, or - for standard input")
    parser.add_argument("--threshold", type=float, help="of the score (the model's own)")
    parser.add_argument("--scores", type=Path, help="a .npy file to write the scores to")
    options = parser.parse_args()
    monitor = Monitor(options.model)
    threshold = monitor.threshold if options.threshold is None else options.threshold
    scores, seconds, alarm = [], [], False
    with sys.stdin if options.series == "-" else open(options.series, encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            try:
                value = float(line)
            except ValueError:
                parser.error(f"{options.series}: line {number + 1} is no number: {line.strip()!r}")
            begin = time.perf_counter()
            scores.append(monitor.step(value))
            seconds.append(time.perf_counter() - begin)
            if (number >= monitor.warm and scores[-1] > threshold) != alarm:
                alarm = not alarm
                what = f"ALARM, score {scores[-1]:.2f} above {threshold:.2f}"
                print(f"point {number}: {what if alarm else 'back to normal'}", flush=True)
    if not scores:
        parser.error(f"{options.series}: has no values")
    if options.scores:
        np.save(options.scores, np.array(scores))
    median, worst = np.percentile(seconds, (50, 99)) * 1e6
    print(f"{len(scores)} points, {median:.0f} µs for each (99 % within {worst:.0f} µs)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
