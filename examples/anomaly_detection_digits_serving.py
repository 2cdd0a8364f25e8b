"""Score recordings by how unlike they are to what a detector was trained on; without torch.

    python examples/anomaly_detection.py                       # writes the detector of the digit 0
    python examples/anomaly_detection_digits_serving.py anomaly_detection_digits.safetensors \\
        RECORDINGS.npz

RECORDINGS.npz has one array (frames, features) for each name. It prints name and score of each, the
highest, which is the least like the digit, first; `--json` prints the same for a program. A score
is minus the log-likelihood of a frame given those before it, and given those after it, up to a
constant. Needs: cellgate, with the NumPy and safetensors that it depends on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cellgate
import numpy as np
from safetensors import safe_open

Array = np.ndarray


class Detector:
    """An LSTM with a mixture of Gaussians for the next frame, in each direction of time."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, "numpy") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.mean, self.deviation = weights["mean"], weights["deviation"]
        self.directions = []
        for name, step in (("forward.", 1), ("backward.", -1)):
            own = {k[len(name) :]: w for k, w in weights.items() if k.startswith(name)}
            lstm = cellgate.LSTM(len(self.mean), own["lstm.weight_hh_l0"].shape[1])
            lstm.load_state_dict({k[5:]: w for k, w in own.items() if k.startswith("lstm.")})
            self.directions.append((lstm, own["linear.weight"], own["linear.bias"], step))

    def score(self, recording: Array) -> float:
        """Of one recording (T, features), at least one frame."""
        total = 0.0
        for lstm, weight, bias, step in self.directions:
            frames = ((recording - self.mean) / self.deviation)[::step].astype(np.float32)
            before = np.concatenate([np.zeros_like(frames[:1]), frames[:-1]])
            y, _ = lstm(before[:, None])
            inputs = frames.shape[1]
            heads = (y[:, 0] @ weight.T + bias).reshape(len(frames), -1, 2 * inputs + 1)
            means, variances = heads[..., :inputs], heads[..., inputs : 2 * inputs].clip(-6, 4)
            squares = (frames[:, None] - means) ** 2 * np.exp(-variances)
            logs = heads[..., -1] - np.logaddexp.reduce(heads[..., -1], -1, keepdims=True)
            logs = logs - 0.5 * (squares + variances).sum(-1)
            total -= float(np.logaddexp.reduce(logs, -1).mean())
        return total


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("recordings", type=Path, help="an .npz of arrays (frames, features)")
    parser.add_argument("--json", action="store_true", help="print for a program")
    options = parser.parse_args()
    detector, scores = Detector(options.model), {}
    with np.load(options.recordings) as file:
        for name in file.files:
            recording = file[name]
            if (
                recording.ndim != 2
                or recording.shape[1:] != detector.mean.shape
                or not len(recording)
            ):
                wanted = f"(frames, {len(detector.mean)})"
                parser.error(f"{name}: must be {wanted}, got shape {recording.shape}")
            scores[name] = detector.score(recording)
    if options.json:
        print(json.dumps(scores))
        return 0
    for name, score in sorted(scores.items(), key=lambda pair: -pair[1]):
        print(f"{score:9.3f}  {name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
