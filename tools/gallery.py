"""Make docs/gallery.md from the results of the full runs of the six applications.

`python tools/gallery.py FOLDER`, where FOLDER/NAME/ is the --output of `python examples/NAME.py`.
Copies the pictures; every figure in the page comes from a run.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMES = (
    "language_model",
    "speech_recognition",
    "forecasting",
    "anomaly_detection",
    "recommender",
    "video_analysis",
)
HEAD = """# Gallery: six applications on real data

Each application is one program in `examples/`, meant to be copied together with `report.py` and
the files whose names begin with its own. Every table is of a full run, unless it says otherwise:
the metric on held-out data, as the mean over the seeds [lowest .. highest], beside methods
without an LSTM. Methods that use cellgate are marked *, the best figure is bold. Some runs shared
the machine with other work: their times are upper bounds. After `pip install '.[examples]'`,
`python examples/NAME.py` repeats a run (`--quick` takes about a minute); `tools/gallery.py` made
this page from the files of the runs.
"""


def cell(values: list[float] | None, best: bool) -> str:
    """The mean of a metric, and its range."""
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.4g}"
    text = f"**{mean}**" if best else mean
    return text + (f" [{min(values):.4g} .. {max(values):.4g}]" if len(values) > 1 else "")


def section(run: dict) -> str:
    """One application."""
    better, rows = run["better"], run["rows"]
    best = {}
    for metric, direction in better.items():
        means = [
            statistics.fmean(row["metrics"][metric]) for row in rows if metric in row["metrics"]
        ]
        best[metric] = (max if direction == "higher" else min)(means)
    heads = [f"{metric} ({direction} is better)" for metric, direction in better.items()]
    heads = ["method", *heads, "training s", f"inference of {run['inference_of']}, s"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        values = [row["metrics"].get(metric) for metric in better]
        cells = [
            cell(v, bool(v) and statistics.fmean(v) == best[metric])
            for metric, v in zip(better, values, strict=True)
        ]
        times = ["" if row[k] is None else f"{row[k]:.3g}" for k in ("training", "inference")]
        lines.append("| " + " | ".join([row["method"] + " *" * row["ours"], *cells, *times]) + " |")
    machine = run["machine"]
    quick = "**This is a `--quick` run**: no full one has been made yet. " if run["quick"] else ""
    notes = "".join(f"- {note}\n" for note in run["notes"])
    return f"""
## {run["name"].replace("_", " ").capitalize()}

`python examples/{run["name"]}.py`: {run["task"]}

![{run["name"].replace("_", " ")}](gallery/{run["name"]}.png)

{chr(10).join(lines)}

{notes}
Data: {run["data"]}. {quick}The whole run took {run["seconds"] / 60:.1f} minutes on
{machine["cores"]} cores ({machine["cpu"]}, {machine["isa"]}).
"""


def main(folder: Path) -> None:
    """Write the page and its pictures."""
    pictures = ROOT / "docs" / "gallery"
    pictures.mkdir(exist_ok=True)
    text = HEAD
    for name in NAMES:
        run = json.loads((folder / name / f"{name}.json").read_text(encoding="utf-8"))
        text += section(run)
        shutil.copy(folder / name / f"{name}.png", pictures)
    (ROOT / "docs" / "gallery.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
