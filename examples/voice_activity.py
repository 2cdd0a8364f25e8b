"""Find speech in a recording: Silero VAD with its LSTM run by cellgate, 32 ms at a time.

Silero VAD is a small network that gives, for each 512 samples of 16 kHz sound, the probability
that somebody speaks: a spectrum and four convolutions, an LSTM of 128 units that carries all
memory from chunk to chunk, and a linear read-out. This program reads the network from its ONNX
file, cuts it at the LSTM, lets onnxruntime run the part before and the part after, and lets
`cellgate.Stream.step` run the LSTM. It prints

- where speech was found in each recording, in seconds;
- the largest difference in probability from the uncut network in onnxruntime (at most 1e-5,
  else the exit status is 1);
- the time the LSTM takes per chunk, in cellgate and in onnxruntime (the same cut, one thread).

Run it with `python examples/voice_activity.py`, or on your own recordings (16 kHz, mono, 16-bit;
`.wav`, anything else is read as raw samples) with `--wav FILE...`. Exit status 2 says that
something is not installed or a file cannot be read.

Needs: `pip install onnx onnxruntime`, and

- the network: `pip install --no-deps silero-vad` (https://github.com/snakers4/silero-vad, MIT
  licence). Only the ONNX file inside is read; the package itself would import PyTorch.
- recordings: one is in examples/data, "go forward ten meters" (CMU Sphinx, BSD-2-Clause, see
  data/README.md). `apt-get install pocketsphinx-testdata` (Debian) has more of them, and Jane
  Austen read aloud.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cellgate
import numpy as np

RECORDINGS = Path("/usr/share/pocketsphinx/test/data")
SHIPPED = Path(__file__).parent / "data" / "goforward.raw"
RATE = 16000  # samples per second
CHUNK = 512  # samples per step
CONTEXT = 64  # samples of the step before that the network is given again
TOLERANCE = 1e-5  # in probability


class CannotRunError(Exception):
    """Something that this program needs is not there; the text says what to do."""


try:
    import onnx
    import onnxruntime
    from onnx import GraphProto, NodeProto, TensorProto, helper
except ImportError as error:
    print(f"{error.name} is missing: pip install onnx onnxruntime", file=sys.stderr)
    raise SystemExit(2) from None
FLOAT = TensorProto.FLOAT


def start_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


class Graph:
    """An ONNX graph as one straight line of nodes, from which pieces can be cut.

    The file holds `If` nodes for the sampling rate and for the shapes of its inputs. Which branch
    runs is settled here by one example of the inputs, `feeds`, and that branch's nodes are put in
    the place of the `If`. Names are unique over a whole ONNX model, so nothing needs renaming.
    """

    def __init__(self, model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> None:
        self.model, self.feeds = model, feeds
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, TensorProto] = {}
        self._append(model.graph)

    def _append(self, graph: GraphProto) -> None:
        self.weights.update((tensor.name, tensor) for tensor in graph.initializer)
        for node in graph.node:
            if node.op_type != "If":
                self.nodes.append(node)
                continue
            (condition,) = self.cut(list(self.feeds), [node.input[0]]).run(None, self.feeds)
            wanted = "then_branch" if condition.all() else "else_branch"
            (branch,) = (attr.g for attr in node.attribute if attr.name == wanted)
            self._append(branch)
            for inner, outer in zip(branch.output, node.output, strict=True):
                self.nodes.append(helper.make_node("Identity", [inner.name], [outer]))

    def cut(self, inputs: list[str], outputs: list[str]) -> onnxruntime.InferenceSession:
        """The nodes between the named values, ready to run."""
        needed, nodes = set(outputs) - set(inputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                nodes.insert(0, node)
                needed.update(set(node.input) - set(inputs) - {""})
        made = {name for node in nodes for name in node.output} | set(self.weights)
        if needed - made:
            raise CannotRunError(
                f"the network cannot be cut here: {sorted(needed - made)} left open"
            )
        known = {value.name: value for value in self.model.graph.input}
        graph = helper.make_graph(
            nodes,
            "cut",
            [known.get(n, helper.make_tensor_value_info(n, FLOAT, None)) for n in inputs],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            [tensor for name, tensor in self.weights.items() if name in needed],
        )
        model = helper.make_model(graph, opset_imports=self.model.opset_import)
        model.ir_version = self.model.ir_version
        return start_session(model)


class Silero:
    """Silero VAD whole, and in three pieces: before, LSTM (cellgate's and onnxruntime's), after."""

    def __init__(self, path: Path) -> None:
        model = onnx.load(str(path))
        self.whole = start_session(model)
        names = [value.name for value in model.graph.input]
        if names != ["input", "state", "sr"]:
            raise CannotRunError(
                f"{path}: inputs are {names}, not those of Silero VAD version 5 or 6"
            )
        self.rate = np.array(RATE, np.int64)
        self.start = np.zeros((2, 1, 128), np.float32)  # [h, c] before the first chunk
        example = np.zeros((1, CONTEXT + CHUNK), np.float32)
        graph = Graph(model, {"input": example, "state": self.start, "sr": self.rate})

        lstms = [node for node in graph.nodes if node.op_type == "LSTM"]
        if len(lstms) != 1 or len(lstms[0].input) != 7:
            raise CannotRunError(f"{path}: wanted one plain LSTM, got {len(lstms)} LSTM nodes")
        x, *weights, _, h0, c0 = lstms[0].input
        _, h, c = lstms[0].output
        self.before = graph.cut(["input"], [x])
        self.after = graph.cut([h], ["output"])
        self.their_lstm = graph.cut([x, h0, c0], [h, c])
        self.x, self.h, self.h0, self.c0 = x, h, h0, c0
        self.our_lstm = convert(*graph.cut([], weights).run(None, {}))

    def probabilities_whole(self, audio: np.ndarray) -> np.ndarray:
        state, result = self.start, []
        for chunk in chunks(audio):
            feeds = {"input": chunk, "state": state, "sr": self.rate}
            probability, state = self.whole.run(None, feeds)
            result.append(probability.item())
        return np.array(result)

    def features(self, chunk: np.ndarray) -> np.ndarray:
        """(1, I): what the LSTM is given for one chunk."""
        return self.before.run(None, {"input": chunk})[0][0]

    def probabilities_cellgate(self, audio: np.ndarray) -> np.ndarray:
        stream = self.our_lstm.stream()
        h = np.empty((1, 1, self.our_lstm.hidden_size), np.float32)
        result = []
        for chunk in chunks(audio):
            stream.step(self.features(chunk), out=h[0])
            result.append(self.after.run(None, {self.h: h})[0].item())
        return np.array(result)

    def microseconds(self, audio: np.ndarray, rounds: int = 15) -> dict[str, list[float]]:
        """Time of the LSTM per chunk, once for each pass over the audio; the two alternate."""
        inputs = [self.features(chunk) for chunk in chunks(audio)]
        stream, out = self.our_lstm.stream(), np.empty((1, self.our_lstm.hidden_size), np.float32)
        sequences = [x[None] for x in inputs]  # onnxruntime's layout is (T, B, I)

        def ours() -> None:
            for x in inputs:
                stream.step(x, out=out)

        def theirs() -> None:
            h, c = self.start[:1], self.start[1:]
            for x in sequences:
                h, c = self.their_lstm.run(None, {self.x: x, self.h0: h, self.c0: c})

        times: dict[str, list[float]] = {"cellgate": [], "onnxruntime": []}
        for _ in range(rounds):
            for name, run in (("cellgate", ours), ("onnxruntime", theirs)):
                begin = time.perf_counter()
                run()
                times[name].append((time.perf_counter() - begin) / len(inputs) * 1e6)
        return times


def convert(w: np.ndarray, r: np.ndarray, b: np.ndarray) -> cellgate.LSTM:
    """The weights of an ONNX LSTM node in an LSTM of ours.

    ONNX keeps w (1, 4H, I), r (1, 4H, H) and b (1, 8H) in the gate order i, o, f, g.
    """
    bias_ih, bias_hh = np.split(b[0], 2)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    lstm = cellgate.LSTM(input_size=w.shape[2], hidden_size=r.shape[2])
    lstm.load_state_dict(
        {
            name: np.concatenate([np.split(array, 4)[gate] for gate in (0, 2, 3, 1)])
            for name, array in zip(names, (w[0], r[0], bias_ih, bias_hh), strict=True)
        }
    )
    return lstm


def read_audio(path: Path) -> np.ndarray:
    try:
        if path.suffix.lower() != ".wav":
            samples = path.read_bytes()
        else:
            with wave.open(str(path)) as file:
                kind = (file.getframerate(), file.getnchannels(), file.getsampwidth())
                if kind != (RATE, 1, 2):
                    raise CannotRunError(
                        f"{path}: wanted 16000 Hz, 1 channel, 2 bytes per sample, got {kind}"
                    )
                samples = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        reason = getattr(error, "strerror", None) or str(error) or "the file ends too early"
        raise CannotRunError(f"{path}: {reason}") from None
    whole = len(samples) // 2 * 2
    if whole == 0:
        raise CannotRunError(f"{path}: no samples in it")
    return np.frombuffer(samples[:whole], "<i2").astype(np.float32) / 32768


def chunks(audio: np.ndarray) -> Iterator[np.ndarray]:
    """(1, CONTEXT + CHUNK) at a time; zeros before the first sample and after the last."""
    padded = np.pad(audio, (CONTEXT, -len(audio) % CHUNK))
    for begin in range(0, len(padded) - CONTEXT, CHUNK):
        yield padded[None, begin : begin + CONTEXT + CHUNK]


def find_speech(probabilities: np.ndarray, duration: float, threshold: float) -> list[Any]:
    """Start and end of each stretch of speech, in seconds.

    The rule of the package's get_speech_timestamps with its standard values: speech begins at
    `threshold`, ends once it has been 0.15 lower for 100 ms, counts if it is longer than 250 ms,
    and is widened by 30 ms on both sides.
    """
    found, begin, quiet = [], None, None
    for index, probability in enumerate(probabilities):
        now = index * CHUNK / RATE
        if probability >= threshold:
            begin, quiet = now if begin is None else begin, None
        elif begin is not None and probability < max(threshold - 0.15, 0.01):
            quiet = now if quiet is None else quiet
            if now - quiet >= 0.1:
                found.append((begin, quiet))
                begin = quiet = None
    if begin is not None:
        found.append((begin, duration))
    return [(max(0.0, b - 0.03), min(duration, e + 0.03)) for b, e in found if e - b > 0.25]


def plot(file: Path, results: list[tuple[Any, ...]], threshold: float) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.8 * len(results)), layout="constrained")
    rows = figure.subplots(len(results), squeeze=False)[:, 0]
    for axes, (name, audio, probabilities, speech) in zip(rows, results, strict=True):
        loudest = max(abs(audio).max(), 1e-9)
        axes.plot(np.arange(len(audio)) / RATE, audio / loudest, lw=0.3, color="0.6")
        axes.step(np.arange(len(probabilities)) * CHUNK / RATE, probabilities, where="post")
        axes.axhline(threshold, lw=0.5, ls=":", color="black")
        for begin, end in speech:
            axes.axvspan(begin, end, alpha=0.2, color="tab:green")
        axes.set(title=name, ylim=(-1, 1.05), ylabel="probability")
    rows[-1].set_xlabel("seconds")
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:
        raise CannotRunError(f"--plot: {error}") from None


def find_network() -> Path:
    # find_spec on a top-level name does not import it.
    spec = importlib.util.find_spec("silero_vad")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, "data", "silero_vad.onnx")
        if path.is_file():
            return path
    raise CannotRunError("Silero VAD is not installed: pip install --no-deps silero-vad")


def find_recordings() -> list[Path]:
    files = [*sorted(RECORDINGS.glob("*.raw")), *sorted(RECORDINGS.glob("librivox/*.wav"))]
    if not files:
        print(f"one recording, {SHIPPED.name}; for more: apt-get install pocketsphinx-testdata")
        files = [SHIPPED]
    return files


def run(arguments: argparse.Namespace) -> int:
    if arguments.plot and importlib.util.find_spec("matplotlib") is None:
        raise CannotRunError("--plot needs matplotlib: pip install matplotlib")
    silero = Silero(find_network())
    cellgate.set_num_threads(1)
    results, differences = [], []
    for path in arguments.wav or find_recordings():
        audio = read_audio(path)
        probabilities = silero.probabilities_cellgate(audio)
        whole = silero.probabilities_whole(audio)
        differences.append(abs(probabilities - whole).max())
        duration = len(audio) / RATE
        speech = find_speech(probabilities, duration, arguments.threshold)
        results.append((path.name, audio, probabilities, speech))
        where = ", ".join(f"{begin:.2f}-{end:.2f} s" for begin, end in speech) or "none"
        print(f"{path.name} ({duration:.2f} s): speech {where}")

    difference = np.max(differences)
    agrees = bool(difference <= TOLERANCE)  # NaN does not
    verdict = "ok" if agrees else f"MORE THAN {TOLERANCE:.0e}"
    print(f"largest difference from the whole model in onnxruntime: {difference:.1e} ({verdict})")
    times = silero.microseconds(np.concatenate([audio for _, audio, _, _ in results]))
    for name, values in times.items():
        spread = f"[{min(values):.2f} .. {max(values):.2f}]"
        print(f"LSTM, microseconds per chunk, {name}: {statistics.median(values):.2f} {spread}")
    if arguments.plot:
        plot(arguments.plot, results, arguments.threshold)
    return 0 if agrees else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wav", nargs="+", type=Path, metavar="FILE", help="your own recordings")
    parser.add_argument("--threshold", type=float, default=0.5, help="speech begins at (0.5)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="save a picture (matplotlib)")
    try:
        return run(parser.parse_args())
    except CannotRunError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
