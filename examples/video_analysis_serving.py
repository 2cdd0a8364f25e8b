"""Label video frame by frame with the networks that video_analysis.py has trained; without torch.

    python video_analysis_serving.py video_analysis.safetensors camera clips.npy

reads clips (N, T, 24, 24) and prints for the first of them what the network thinks after each
frame, and the number of frames per second. Frames are grey, as video_analysis.py makes them: from 0
(black) to 1 for the digits, (value - 128) / 64 of values from 0 to 255 for the camera. The LSTM is
streamed: of the frames that were seen only its state is kept. Needs numpy, safetensors, cellgate.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cellgate
import numpy as np
from safetensors import safe_open


class Labeller:
    """One of the networks in the file; `lstm` may be shared by the streams of many cameras."""

    def __init__(self, model: Path, task: str) -> None:
        with safe_open(model, framework="numpy") as file:
            settings = json.loads(file.metadata()[task])
            prefix = f"{task}."
            weights = {
                name.removeprefix(prefix): file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118
                if name.startswith(prefix)
            }
        self.labels: list[str] = settings["labels"]
        # In nn.Sequential each layer is followed by a ReLU, and one Flatten is before the last.
        places = [2 * i for i in range(len(settings["strides"]))]
        self.convolutions = [
            (weights[f"cnn.{i}.weight"], weights[f"cnn.{i}.bias"], stride)
            for i, stride in zip(places, settings["strides"], strict=True)
        ]
        last = f"cnn.{2 * len(places) + 1}"
        self.dense = weights[f"{last}.weight"], weights[f"{last}.bias"]
        self.output = weights["output.weight"], weights["output.bias"]
        parameters = {
            name.removeprefix("lstm."): value
            for name, value in weights.items()
            if name.startswith("lstm.")
        }
        hidden_size = parameters["weight_hh_l0"].shape[1]
        self.lstm = cellgate.LSTM(parameters["weight_ih_l0"].shape[1], hidden_size)
        self.lstm.load_state_dict(parameters)

    def features(self, frame: np.ndarray) -> np.ndarray:
        """The CNN: a frame (side, side) to the input of the LSTM."""
        x = frame[None]
        for weight, bias, stride in self.convolutions:  # 3 x 3, padded by 1
            padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
            windows = windows[:, ::stride, ::stride]  # (channels, rows, columns, 3, 3)
            x = np.tensordot(weight, windows, ((1, 2, 3), (0, 3, 4)))
            x = np.maximum(x + bias[:, None, None], 0)
        weight, bias = self.dense
        return np.maximum(weight @ x.ravel() + bias, 0)

    def logits(self, stream: cellgate.Stream, frame: np.ndarray) -> np.ndarray:
        """One for each label, after one more frame of a stream."""
        weight, bias = self.output
        return weight @ stream.step(self.features(frame)) + bias


def main() -> None:
    parser = argparse.ArgumentParser(description="Label clips frame by frame.")
    parser.add_argument("model", type=Path)
    parser.add_argument("task", choices=("digits", "camera"))
    parser.add_argument("clips", type=Path, help="a .npy file, (N, T, 24, 24)")
    parser.add_argument("--logits", type=Path, help="where to write them, (N, T, labels)")
    options = parser.parse_args()
    labeller = Labeller(options.model, options.task)
    clips = np.load(options.clips).astype(np.float32, copy=False)
    logits = np.empty((*clips.shape[:2], len(labeller.labels)), np.float32)
    begin = time.perf_counter()
    for n, clip in enumerate(clips):
        stream = labeller.lstm.stream()
        for t, frame in enumerate(clip):
            logits[n, t] = labeller.logits(stream, frame)
    seconds = time.perf_counter() - begin
    for t, values in enumerate(logits[0], 1):
        chances = np.exp(values - values.max())
        best = int(chances.argmax())
        print(f"frame {t:2}: {labeller.labels[best]:14} {chances[best] / chances.sum():4.0%}")
    print(f"{logits.shape[0] * logits.shape[1] / seconds:,.0f} frames per second, one at a time")
    if options.logits:
        np.save(options.logits, logits)


if __name__ == "__main__":
    main()
