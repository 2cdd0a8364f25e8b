"""`python -m cellgate`: its commands, its help, and how it fails."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cellgate
import pytest
from test_demo import call, start


def test_without_a_command_it_says_what_there_is() -> None:
    status, output, complaint = call()
    assert (status, complaint) == (0, "")
    assert output.startswith("usage: python -m cellgate")
    assert re.search(r"^ +demo +\w", output, re.M)
    assert re.search(r"^ +info +\w", output, re.M)
    assert "To begin: python -m cellgate demo" in output


@pytest.mark.parametrize("command", ["demo", "info"])
def test_each_command_has_a_help_with_an_example(command: str) -> None:
    status, output, complaint = call(command, "--help")
    assert (status, complaint) == (0, "")
    assert output.startswith(f"usage: python -m cellgate {command}")
    assert re.search(rf"^example: .*python -m cellgate {command}", output, re.M)


def test_version() -> None:
    assert call("--version") == (0, f"cellgate {cellgate.__version__}\n", "")


@pytest.mark.parametrize("command", ["info", "demo"])
@pytest.mark.parametrize(
    ("name", "value"), [("CELLGATE_ISA", "sse9"), ("CELLGATE_NUM_THREADS", "0")]
)
def test_a_bad_environment_is_one_line(
    command: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    status, output, complaint = call(command)
    assert (status, output) == (2, "")
    assert complaint.startswith(f"python -m cellgate: {name}: must be ")
    assert f"got '{value}'" in complaint
    assert len(complaint.splitlines()) == 1
    assert not any(tmp_path.iterdir())
    assert call("--version")[0] == call("--help")[0] == 0


def test_an_encoding_without_the_degree_sign(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    status, output, progress = call("demo", "--quick", "--epochs", 1, "--output", tmp_path)
    assert status == 0, progress
    assert "in ?C:" in output


def test_a_reader_that_ends_early_is_no_traceback() -> None:
    with start("info") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "cellgate", "info"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"python -m cellgate: .*No space left on device\n", done.stderr)


def test_info() -> None:
    status, output, complaint = call("info")
    assert (status, complaint) == (0, "")
    shown = dict(line.split(": ", 1) for line in output.splitlines())
    for name, value in cellgate.build_info().items():
        assert shown[name] == (", ".join(value) if isinstance(value, list) else str(value))
