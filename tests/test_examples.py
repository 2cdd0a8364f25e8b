"""The programs in examples/, run as a user runs them."""

from __future__ import annotations

import importlib.util
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


def run(
    *arguments: str | Path, python_path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    if python_path is not None:
        old = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(python_path), old]))
    return subprocess.run(
        [sys.executable, str(EXAMPLES / "voice_activity.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
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
