"""Charts of compare.py and curves.py. Needs matplotlib, which only this file imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

COLOURS = {
    "torch": "#d1495b",
    "onnxruntime": "#3d5a80",
    "openvino": "#8a5cb8",
    "jax": "#2a9d8f",
    "keras": "#e9a03b",
    "cellgate": "#888888",
    "cellgate.torch": "#222222",
}
ROW_HEIGHT = 0.22  # inches
TICKS = [digit * power for power in (0.1, 1, 10, 100) for digit in (1, 1.5, 2, 3, 5, 7)]


def figure(width: float, height: float, rows: int, columns: int) -> tuple[Any, list[Any]]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    fig, axes = pyplot.subplots(
        rows, columns, figsize=(width, height), squeeze=False, layout="constrained"
    )
    return fig, list(axes.flat)


def draw(info: dict[str, Any], path: Path) -> None:
    """Left the speed-up of every row against each library, right how near the limit we come."""
    rows = [row for suite in info["suites"] for row in suite["rows"]]
    fig, (speed, near) = figure(13, 2 + ROW_HEIGHT * len(rows), 1, 2)
    speed_up(speed, rows)
    fraction(near, rows)
    for axis in (speed, near):
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.grid(axis="x", alpha=0.3)
        start = 0
        for suite in info["suites"][:-1]:
            start += len(suite["rows"])
            axis.axhline(start - 0.5, color="black", linewidth=0.5)
    speed.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=7)
    near.set_yticks([])
    fig.suptitle(
        f"cellgate {info['versions']['cellgate']} on {info['processor']}, {info['isa']}, "
        f"{info['threads']} thread(s)",
        fontsize=10,
    )
    save(fig, path)


def speed_up(axis: Any, rows: list[dict[str, Any]]) -> None:
    seen = set()
    for y, row in enumerate(rows):
        for rival in row["against"]:
            library = rival["library"]
            axis.plot(
                rival["ratio"], y, "o", markersize=5, color=COLOURS.get(library, "#000000"),
                label=library if library not in seen else None,
            )  # fmt: skip
            axis.plot(
                [rival["ratio_min"], rival["ratio_max"]], [y, y], color=COLOURS.get(library),
                linewidth=1,
            )  # fmt: skip
            seen.add(library)
        if row["required"] is not None:
            axis.plot(
                row["required"], y, "|", markersize=9, color="black",
                label="required" if "required" not in seen else None,
            )  # fmt: skip
            seen.add("required")
    axis.axvline(1, color="black", linewidth=1)
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    ticks = [tick for tick in TICKS if low <= tick <= high]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=7)
    axis.minorticks_off()
    axis.set_xlabel("times as fast as (the library's time over ours)")
    if seen:
        axis.legend(fontsize=7)


def fraction(axis: Any, rows: list[dict[str, Any]]) -> None:
    for y, row in enumerate(rows):
        limit = row["limit"]
        if limit is None:
            continue
        axis.barh(y, 100 * limit["fraction"], height=0.7, color="#3d5a80")
        inside = limit["fraction"] > 0.1
        axis.text(
            1 if inside else 100 * limit["fraction"] + 1, y, limit["by"], va="center", fontsize=6,
            color="white" if inside else "black",
        )  # fmt: skip
        if limit["required"] is not None:
            axis.plot(100 * limit["required"], y, "|", markersize=9, color="black")
    axis.axvline(100, color="black", linewidth=1)
    axis.set_xlim(0, None)
    axis.set_xlabel("% of what the machine allows: its FMA peak, or reading the weights from ...")


def save(fig: Any, path: Path) -> None:
    from matplotlib import pyplot

    fig.savefig(path, dpi=130)
    pyplot.close(fig)
    print(f"chart: {path}")


def draw_curves(info: dict[str, Any], path: Path) -> None:
    """One panel for each size that grows; dashed, the slope that it may have at most."""
    panels: dict[str, list[dict[str, Any]]] = {}
    for curve in info["curves"]:
        panels.setdefault(f"{curve['symbol']} grows: {curve['base']}", []).append(curve)
    fig, axes = figure(12, 3.4 * -(-len(panels) // 3), -(-len(panels) // 3), 3)
    for axis in axes[len(panels) :]:
        axis.remove()
    for axis, (title, curves) in zip(axes, panels.items(), strict=False):
        for curve in curves:
            kind = "forward and backward" if curve["training"] else "forward"
            label = kind if curve["slope"] is None else f"{kind}, slope {curve['slope']:.2f}"
            values, times = curve["values"], curve["microseconds"]
            (line,) = axis.loglog(values, times, "o-", markersize=3, label=label, base=2)
            power = round(curve["at_most"], 1)
            ideal = [times[-1] * (value / values[-1]) ** int(power) for value in values]
            axis.loglog(values, ideal, "--", linewidth=0.8, color=line.get_color(), base=2)
        axis.set_title(title, fontsize=8)
        axis.set_xticks(curves[0]["values"], map(str, curves[0]["values"]), fontsize=6)
        axis.minorticks_off()
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_xlabel(curves[0]["symbol"])
        axis.set_ylabel("µs")
        axis.legend(fontsize=6)
    save(fig, path)
