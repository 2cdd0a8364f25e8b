"""Forecast with a model that forecasting.py trained: no torch, no training.

    python forecasting_serving.py forecasting.joblib history.npz

history.npz has `y`, the demand until now (from the first step of the training series on), and, if
the model was trained with exogenous values, `X`, which reaches over the day to come. Prints the
forecast as CSV, or writes all quantiles to `--output FILE.npy`. A joblib file is a pickle: load
only those that you made.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import joblib
import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="what forecasting.py saved")
    parser.add_argument("history", type=Path, help="an .npz with y, and X if the model has it")
    parser.add_argument("--output", type=Path, help="write the quantiles here, as .npy")
    options = parser.parse_args()
    model = joblib.load(options.model)
    with np.load(options.history) as file:
        y, known = file["y"], file.get("X")
    if known is not None:
        known = known[: len(y) + model.horizon]
    quantiles = model.predict_quantiles(y, known)
    if options.output:
        np.save(options.output, quantiles)
        return
    print("step," + ",".join(f"{q:g}" for q in model.quantiles_))
    for step, row in enumerate(quantiles, 1):
        print(f"{step}," + ",".join(f"{value:.4f}" for value in row))


if __name__ == "__main__":
    main()
