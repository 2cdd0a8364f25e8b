"""What `python -m cellgate demo` runs: train an LSTM in NumPy, test it, save it, stream it.

The program is meant to be copied and changed. In the order of the work: `load_weather` reads the
data, `Forecaster` is the model, `train` and `train_batch` are the training loop, `compare` measures
the model and two simple forecasts, `stream` runs it hour by hour as new weather would come in, and
`run` calls them all.

The LSTM reads the weather of an airport hour by hour. After each hour a linear layer, the head,
turns its output into 24 numbers: how much warmer it will be 1, 2, ... 24 hours later. One pass over
a week of weather makes 168 forecasts, and all but those of the first day are trained on.
"""

from __future__ import annotations

import argparse
import copy
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .files import load
from .lstm import LSTM
from .optim import Adam, clip_grad_norm
from .runtime import active_isa, get_num_threads

if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float32]

HORIZON = 24  # hours that a forecast covers
WEEK = 168  # hours: the length of a training sequence, and what a forecast is based on
WARM_UP = 24  # hours at its start that are not trained on: too little is known in them
BATCH_SIZE = 32  # sequences
PATIENCE = 4  # epochs without improvement after which the training stops
MODEL, HEAD = "cellgate-demo.safetensors", "cellgate-demo-head.safetensors"
PICTURE = "cellgate-demo.png"


class Weather(NamedTuple):
    """A year of hourly weather at B airports: T hours, I input features."""

    hours: NDArray[np.datetime64]  # (T,), local standard time
    stations: list[str]  # B
    x: Floats  # (T, B, I), scaled
    temperature: Floats  # (T, B), °C
    change: Floats  # (T, B, 24), °C, to 1 .. 24 hours later; NaN where the year ends before
    training: slice  # of the hours
    validation: slice  # later hours; their error decides when the training stops
    test: slice  # still later hours, used for the final figures only


def load_weather() -> Weather:
    """The series that comes with the package; data/README.md names its source.

    Examples
    --------
    >>> from cellgate.demo import load_weather
    >>> weather = load_weather()
    >>> weather.stations, weather.x.shape, str(weather.hours[0])
    (['EWR', 'JFK', 'LGA'], (8730, 3, 7), '2013-01-01T01')
    """
    with np.load(Path(__file__).parent / "data" / "weather.npz") as file:
        values = file["tenths"].transpose(2, 0, 1) / np.float32(10)  # (T, B, 5)
        first = np.datetime64(str(file["first_hour_utc"]), "h") - np.timedelta64(5, "h")
        stations = file["stations"].tolist()
    hours = first + np.arange(len(values))
    validation, test = np.searchsorted(
        hours, [np.datetime64("2013-09-01T00"), np.datetime64("2013-11-01T00")]
    )
    # Scaled by the training part alone, so that nothing of the later parts enters the training.
    known = values[:validation]
    scaled = (values - known.mean(axis=(0, 1))) / known.std(axis=(0, 1))
    angle = 2 * np.pi / 24 * np.broadcast_to(hours.astype(int)[:, None], values.shape[:2])
    clock = np.stack([np.sin(angle), np.cos(angle)], axis=2)  # 23 and 0 o'clock are neighbours
    x = np.concatenate([scaled, clock], axis=2, dtype=np.float32)

    temperature = values[..., 0]
    change = np.full((*temperature.shape, HORIZON), np.nan, np.float32)
    for ahead in range(1, HORIZON + 1):
        change[:-ahead, :, ahead - 1] = temperature[ahead:] - temperature[:-ahead]
    # The last forecast of each part covers the last hours of that part.
    ends = (int(validation), int(test), len(x))
    parts = (slice(a, b - HORIZON) for a, b in zip((0, *ends), ends, strict=False))
    return Weather(hours, stations, x, temperature, change, *parts)


class Forecaster:
    """An LSTM and its head: changes of the temperature in °C = scale ⊙ (W y + b)."""

    def __init__(self, lstm: LSTM, head: dict[str, Floats]) -> None:
        """`head` has `weight` (24, H), `bias` (24,), and `scale` (24,), which is not trained."""
        self.lstm = lstm
        self.head = head

    def changes(self, y: NDArray[Any]) -> Floats:
        """The forecasts made of the LSTM's output: (..., H) -> (..., 24)."""
        result: Floats = (y @ self.head["weight"].T + self.head["bias"]) * self.head["scale"]
        return result

    def forecast(self, weather: Weather, part: slice) -> Floats:
        """Every forecast of one part of the year, (T, B, 24); it reads from a week before it on."""
        y, _ = self.lstm(weather.x[part.start - WEEK : part.stop])
        return self.changes(y[WEEK:])

    def copy(self) -> Forecaster:
        """A copy; copies of an LSTM share its packed weights until new ones are loaded."""
        return Forecaster(copy.copy(self.lstm), {k: v.copy() for k, v in self.head.items()})

    def save(self, folder: Path) -> None:
        """Two files: the LSTM, which `cellgate.load` reads, and the head."""
        from safetensors.numpy import save

        self.lstm.save(folder / MODEL)
        (folder / HEAD).write_bytes(save(self.head))

    @staticmethod
    def load(folder: Path) -> Forecaster:
        """The model that `save` wrote."""
        from safetensors.numpy import load_file

        lstm = load(folder / MODEL)
        assert isinstance(lstm, LSTM)
        return Forecaster(lstm, load_file(folder / HEAD))


def new_forecaster(weather: Weather, hidden_size: int, seed: int) -> Forecaster:
    """Random weights; the head's scale is how much the temperature changes in 1 .. 24 hours."""
    lstm = LSTM(weather.x.shape[2], hidden_size, num_layers=2, dropout=0.2, seed=seed)
    uniform = np.random.default_rng(seed).uniform(-1, 1, (HORIZON, hidden_size))
    head = {
        "weight": (uniform / hidden_size).astype(np.float32),
        "bias": np.zeros(HORIZON, np.float32),
        "scale": weather.change[weather.training].std(axis=(0, 1)),
    }
    return Forecaster(lstm, head)


def train_batch(
    model: Forecaster, adam: Adam, weights: dict[str, Any], x: Floats, change: Floats, seed: int
) -> float:
    """One step of training on x (T, B, I) and change (T, B, 24); returns the loss before it."""
    tape = model.lstm.record(x, seed=seed)  # the seed is for the dropout between the layers
    y, scale = tape.output[WARM_UP:], model.head["scale"]
    error = (model.changes(y) - change[WARM_UP:]) / scale
    loss = np.abs(error).mean()

    # The chain rule, from the loss back to the head, and to the output of the LSTM.
    d_error = np.sign(error) / np.float32(error.size)
    d_output = np.zeros_like(tape.output)
    d_output[WARM_UP:] = d_error @ model.head["weight"]
    grads = tape.backward(d_output, input_gradient=False).parameters
    grads["head.weight"] = np.tensordot(d_error, y, axes=([0, 1], [0, 1]))
    grads["head.bias"] = d_error.sum(axis=(0, 1))

    clip_grad_norm(grads, 1.0)
    adam.step(grads)  # changes the arrays of `weights` and of the head in place
    model.lstm.load_state_dict(weights)
    return float(loss)


def train(
    model: Forecaster, weather: Weather, epochs: int, batches: int, seed: int
) -> tuple[Forecaster, float]:
    """Train until the validation error stops falling; the best model, and hours per second."""
    random = np.random.default_rng(seed)
    weights = model.lstm.state_dict()
    head = {f"head.{name}": model.head[name] for name in ("weight", "bias")}
    adam = Adam({**weights, **head}, weight_decay=0.01)
    progress = Progress(epochs, batches)
    best, best_error, best_epoch = model.copy(), np.inf, 0
    for epoch in range(1, epochs + 1):
        loss = 0.0
        for batch in range(batches):
            adam.lr = 3e-3 * (1 - ((epoch - 1) * batches + batch) / (epochs * batches))
            # Weeks that start at random hours of the training part, at random airports.
            start = random.integers(weather.training.stop - WEEK + 1, size=BATCH_SIZE)
            station = random.integers(len(weather.stations), size=BATCH_SIZE)
            hour = start + np.arange(WEEK)[:, None]  # (T, B)
            x, change = weather.x[hour, station], weather.change[hour, station]
            dropout = int(random.integers(2**63))
            loss += train_batch(model, adam, weights, x, change, dropout) / batches
            progress.batch()
        part = weather.validation
        error, _ = errors(model.forecast(weather, part), weather.change[part])
        progress.epoch(loss, error, error < best_error)
        if error < best_error:
            best, best_error, best_epoch = model.copy(), error, epoch
        elif epoch - best_epoch == PATIENCE:
            break
    return best, progress.rate


class Progress:
    """One line to stderr for each epoch; on a terminal it is rewritten after each batch."""

    def __init__(self, epochs: int, batches: int) -> None:
        """For at most `epochs` of `batches` each."""
        self.batches, self.total, self.done = batches, epochs * batches, 0
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self.rewrites = terminal and os.environ.get("TERM", "dumb") != "dumb"
        self.begin = time.perf_counter()

    @property
    def rate(self) -> float:
        """Time steps per second, all sequences counted."""
        return self.done * BATCH_SIZE * WEEK / (time.perf_counter() - self.begin)

    def batch(self) -> None:
        """Count a batch that was trained on."""
        self.done += 1
        if self.rewrites:
            # A line that wraps could not be rewritten.
            text = self._text()[: shutil.get_terminal_size().columns - 1]
            print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)

    def epoch(self, loss: float, error: float, better: bool) -> None:
        """Print the results of an epoch; a star marks the smallest validation error so far."""
        end = f", loss {loss:.3f}, validation error {error:.3f} °C{' *' if better else ''}"
        print(("\r" if self.rewrites else "") + self._text() + end, file=sys.stderr, flush=True)

    def _text(self) -> str:
        left = (self.total - self.done) * (time.perf_counter() - self.begin) / self.done
        epoch = -(-self.done // self.batches)
        return f"epoch {epoch:2}: {self.rate:,.0f} steps/s, at most {left:.0f} s left"


def errors(forecast: Floats, truth: Floats) -> tuple[float, float]:
    """Mean absolute error and root of the mean square, in °C."""
    error = np.subtract(forecast, truth, dtype=np.float64)
    return float(np.abs(error).mean()), float(np.sqrt(np.square(error).mean()))


def forecasts(model: Forecaster, weather: Weather, part: slice) -> dict[str, Floats]:
    """Forecasts by the model, and by two rules that need no training: (T, B, 24) each."""
    now = weather.temperature[part, :, None]
    day_before = [weather.temperature[part.start + h : part.stop + h] for h in range(-23, 1)]
    return {
        "naive: stays as it is now": np.zeros_like(weather.change[part]),
        "seasonal naive: as the day before": np.stack(day_before, axis=2) - now,
        "LSTM": model.forecast(weather, part),
    }


def compare(model: Forecaster, weather: Weather) -> bool:
    """Print the table of errors; return whether the LSTM has the smallest in every column."""
    parts = {"validation": weather.validation, "test": weather.test}
    table: dict[str, list[float]] = {}
    for part in parts.values():
        for name, forecast in forecasts(model, weather, part).items():
            table.setdefault(name, []).extend(errors(forecast, weather.change[part]))
    print("\nErrors of the forecasts of the next 24 hours, in °C:\n")
    print(" " * 34 + "".join(f"{name:>16}" for name in parts))
    print(" " * 34 + len(parts) * "     MAE    RMSE")
    for name, row in table.items():
        print(f"{name:34}" + "".join(f"{error:8.2f}" for error in row))
    return all(table["LSTM"][k] == min(row[k] for row in table.values()) for k in range(4))


def stream(model: Forecaster, weather: Weather, part: slice) -> tuple[bool, float]:
    """Read a part hour by hour, as new weather would come in.

    Returns whether the results are the same bits as of the whole part at once, and microseconds
    for each step.
    """
    x = weather.x[part.start - WEEK : part.stop]
    steps = np.empty((*x.shape[:2], model.lstm.hidden_size), np.float32)
    running = model.lstm.stream(batch_size=x.shape[1])
    begin = time.perf_counter()
    for x_t, y_t in zip(x, steps, strict=True):
        running.step(x_t, out=y_t)
    seconds = time.perf_counter() - begin
    whole, _ = model.lstm(x)
    return steps.tobytes() == whole.tobytes(), seconds / len(x) * 1e6


def draw(model: Forecaster, weather: Weather, file: Path) -> bool:
    """A picture of ten days of the test; False without matplotlib."""
    try:
        from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return False
    begin = int(np.searchsorted(weather.hours, np.datetime64("2013-12-01T00")))
    airport = weather.stations.index("JFK")
    temperature, hours = weather.temperature[:, airport], weather.hours
    made = forecasts(model, weather, weather.test)
    figure = Figure(figsize=(11, 4), layout="constrained")
    axes = figure.subplots()
    shown = slice(begin, begin + 10 * 24)
    axes.plot(hours[shown], temperature[shown], color="black", label="measured")
    for name, style in (("seasonal naive", "0.6"), ("LSTM", "tab:red")):
        (changes,) = (made[key] for key in made if key.startswith(name))
        for now in range(begin, begin + 10 * 24, 24):
            change = changes[now - weather.test.start, airport]
            axes.plot(
                hours[now : now + HORIZON + 1],
                temperature[now] + np.concatenate([[0], change]),
                color=style,
                label=f"{name}, made at midnight" if now == begin else None,
            )
    axes.set(title="JFK, December 2013: forecasts of the next 24 hours", ylabel="°C")
    axes.legend()
    figure.savefig(file, dpi=120)
    return True


def _bits(same: bool) -> str:
    return "the same bits" if same else "OTHER BITS, which is a fault of cellgate"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m cellgate demo`."""
    parser.add_argument("--epochs", type=positive, help="train for at most this many (default: 12)")
    parser.add_argument("--seed", type=natural, default=0, help="for random numbers (default: 0)")
    parser.add_argument(
        "--output", type=Path, default=Path(), metavar="FOLDER",
        help="where the model and the picture are written; made if absent (default: this folder)",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="a tiny model and two epochs, to see that it runs"
    )


def natural(text: str) -> int:
    """An integer from 0 to 2^63 - 1, or the error that argparse reports."""
    return _integer(text, 0)


def positive(text: str) -> int:
    """An integer from 1 to 2^63 - 1, or the error that argparse reports."""
    return _integer(text, 1)


def _integer(text: str, minimum: int) -> int:
    number = int(text) if text.isdecimal() and len(text) < 20 else -1
    if not minimum <= number < 2**63:
        wanted = f"must be an integer from {minimum} to 2^63 - 1"
        raise argparse.ArgumentTypeError(f"{wanted}, got {text!r}")
    return number


def prepare_folder(folder: Path) -> None:
    """Make the folder if need be; an OSError, before the training, if files cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.NamedTemporaryFile(dir=folder).close()
    except OSError as error:
        wanted = "--output: must be a folder in which files can be written"
        raise OSError(f"{wanted}, got {str(folder)!r} ({error.strerror})") from None
    for name in (MODEL, HEAD, PICTURE):
        if (folder / name).is_dir():
            raise OSError(f"--output: {folder / name} must be a file or absent, but is a folder")


def run(arguments: argparse.Namespace) -> int:
    """The whole demonstration; the exit status is 1 if the file or the stream gave other bits."""
    folder: Path = arguments.output
    prepare_folder(folder)
    begin = time.perf_counter()
    weather = load_weather()
    hidden_size, epochs, batches = (16, 2, 4) if arguments.quick else (64, 12, 20)
    model = new_forecaster(weather, hidden_size, arguments.seed)
    days = weather.hours[[0, -1]].astype("M8[D]")
    print(f"Hourly weather from {days[0]} to {days[1]} at {', '.join(weather.stations)}")
    print(f"{model.lstm} with {active_isa()}, at most {get_num_threads()} threads", flush=True)

    model, rate = train(model, weather, arguments.epochs or epochs, batches, arguments.seed)
    if compare(model, weather):
        print("\nThe LSTM has the smallest error in every column.")
    else:
        why = ": --quick trains too little for that" if arguments.quick else ""
        print(f"\nThe LSTM does not have the smallest error in every column{why}.")

    model.save(folder)
    loaded = Forecaster.load(folder)
    reads, _ = loaded.lstm(weather.x)
    same = np.array_equal(reads, model.lstm(weather.x)[0])
    print(f"Written: {folder / MODEL}, {folder / HEAD}; loaded again: {_bits(same)}")
    streams, microseconds = stream(loaded, weather, weather.test)
    print(f"Streamed hour by hour through the test: {_bits(streams)}")
    if draw(loaded, weather, folder / PICTURE):
        print(f"Drawn: {folder / PICTURE}")
    else:
        print("No picture without matplotlib: pip install matplotlib")
    print(f"Training: {rate:,.0f} time steps per second, forward and backward")
    print(f"Streaming: {microseconds:.1f} µs for a step of {len(weather.stations)} sequences")
    print(f"Everything: {time.perf_counter() - begin:.0f} s")
    print(f'\nNext: cellgate.load("{folder / MODEL}") is the LSTM.')
    print(f"To train one on a series of your own, copy {__file__}")
    print("and read docs/training.md, or docs/pytorch.md if your model is in PyTorch.")
    return 0 if same and streams else 1
