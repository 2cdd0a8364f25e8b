"""Write the two files that `voice_activity` reads: `python voice_activity_export.py FOLDER`.

From Silero VAD's ONNX file, which `pip install --no-deps silero-vad` brings: the LSTM as a file of
cellgate, and all other weights as float32, one array after the other: the spectrum's basis, weight
and bias of four convolutions and of the linear read-out.

Needs: `pip install onnx onnxruntime`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).parents[1]))
from voice_activity import CHUNK, CONTEXT, RATE, CannotRunError, Graph, Silero, find_network

SHAPES = [
    (258, 1, 256), (128, 129, 3), (128,), (64, 128, 3), (64,), (64, 64, 3), (64,), (128, 64, 3),
    (128,), (1, 128, 1), (1,),
]  # fmt: skip


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: voice_activity_export.py FOLDER", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    try:
        path = find_network()
        silero = Silero(path)
    except CannotRunError as error:
        print(error, file=sys.stderr)
        return 2
    feeds = {
        "input": np.zeros((1, CONTEXT + CHUNK), np.float32),
        "state": silero.start,
        "sr": np.array(RATE, np.int64),
    }
    graph = Graph(onnx.load(str(path)), feeds)
    # The branch for the other sampling rate is not in the line of nodes; what is left over of the
    # rest does not lead to the output.
    needed, names = {"output"}, []
    for node in reversed(graph.nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            if node.op_type == "Conv":
                names[:0] = list(node.input[1:])
    arrays = [graph.cut([], [name]).run(None, {})[0] for name in names]
    if [array.shape for array in arrays] != SHAPES:
        print(f"{path}: not the layers of Silero VAD version 5 or 6", file=sys.stderr)
        return 2
    with open(folder / "front_end.bin", "wb") as file:
        for array in arrays:
            file.write(np.ascontiguousarray(array, "<f4").tobytes())
    silero.our_lstm.save(folder / "lstm.safetensors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
