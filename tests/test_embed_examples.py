"""The programs of examples/embed, built by CMake as a user builds them, against Python."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import cellgate
import effects
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
EMBED = ROOT / "examples" / "embed"
SOUND = ROOT / "examples" / "data" / "goforward.raw"
REQUIRED = os.environ.get("CELLGATE_REQUIRE", "")
BUILT = os.environ.get("CELLGATE_C_LIBRARY")
INSTALLED = Path(BUILT, "prefix").resolve() if BUILT else None

# What Debian calls it, and what shows that it is there.
PACKAGES = {
    "cmake": ["cmake", "--version"],
    "nlohmann-json3-dev": ["pkg-config", "--exists", "nlohmann_json"],
    "libsndfile1-dev": ["pkg-config", "--exists", "sndfile"],
    "lv2-dev": ["pkg-config", "--exists", "lv2"],
    "liblilv-dev": ["pkg-config", "--exists", "lilv-0"],
}


def absent(*packages: str) -> list[str]:
    def there(command: list[str]) -> bool:
        return shutil.which(command[0]) is not None and not subprocess.call(
            command, stdout=subprocess.DEVNULL
        )

    return [name for name in packages if not there(PACKAGES[name])]


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = absent(*packages)
    return pytest.mark.skipif(
        bool(missing) and "embed" not in REQUIRED,
        reason=f"not installed: apt-get install pkg-config {' '.join(missing)}",
    )


pytestmark = needs("cmake", "nlohmann-json3-dev")
needs_sndfile = needs("libsndfile1-dev")
needs_lilv = needs("libsndfile1-dev", "lv2-dev", "liblilv-dev")
needs_silero = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime", "silero_vad"))
    and "silero" not in REQUIRED,
    reason="not installed: pip install onnx onnxruntime; pip install --no-deps silero-vad",
)


def run(*command: str | Path, stdin: str = "", **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, f"{command[0]}: exit status {done.returncode}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a build, see conftest.py for the variables."""
    build = Path(os.environ.get("CELLGATE_EMBED_BUILD") or tmp_path_factory.mktemp("embed"))
    options = []
    if INSTALLED:
        options = ["-DCELLGATE_INSTALLED=ON", f"-DCMAKE_PREFIX_PATH={INSTALLED}"]
    run("cmake", "-S", EMBED, "-B", build, *options, CFLAGS="-Werror", CXXFLAGS="-Werror")
    run("cmake", "--build", build, "-j", str(os.cpu_count() or 1))
    return build


def refused(*command: str | Path, stdin: str = "") -> str:
    """What a program says that fails."""
    done = subprocess.run(
        [str(part) for part in command], input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    return done.stderr


def write_wav(path: Path, samples: np.ndarray, rate: int = 48000) -> None:
    """16 bits; the samples must be multiples of 2^-15."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32768).astype("<i2").tobytes())


def read_wav(path: Path, channels: int) -> np.ndarray:
    """Float samples: the last chunk of what libsndfile writes is `data`."""
    content = path.read_bytes()
    assert content[:4] == b"RIFF"
    at = 12
    while content[at : at + 4] != b"data":
        at += 8 + int.from_bytes(content[at + 4 : at + 8], "little")
    size = int.from_bytes(content[at + 4 : at + 8], "little")
    return np.frombuffer(content[at + 8 : at + 8 + size], "<f4").reshape(-1, channels)


def sixteen_bits(steps: int, inputs: int = 1) -> np.ndarray:
    return (np.round(effects.signal(steps, inputs) * 32767) / 32768).astype(np.float32)


MODELS = {
    "effect.json": effects.make_effect(24).rtneural,
    "effect.aidax": lambda: effects.make_effect(16).aidax(-3, 6),
    "effect.nam": effects.make_effect(8, 2, begins=True).nam,
}


@needs_sndfile
@pytest.mark.parametrize("name", MODELS)
def test_play_wav(programs: Path, tmp_path: Path, name: str) -> None:
    model = tmp_path / name
    model.write_text(MODELS[name](), encoding="utf-8")
    x = sixteen_bits(3000)
    write_wav(tmp_path / "in.wav", x)
    run(programs / "play_wav", model, tmp_path / "in.wav", tmp_path / "out.wav")
    y, _ = cellgate.load(model)(x)
    assert np.array_equal(read_wav(tmp_path / "out.wav", 1), y)

    # Float samples are read too.
    run(programs / "play_wav", model, tmp_path / "out.wav", tmp_path / "twice.wav")
    y, _ = cellgate.load(model)(y)
    assert np.array_equal(read_wav(tmp_path / "twice.wav", 1), y)


@needs_sndfile
def test_play_wav_of_two_channels(programs: Path, tmp_path: Path) -> None:
    effect = effects.make_effect(12, inputs=2, outputs=2)
    model = tmp_path / "effect.json"
    model.write_text(effect.rtneural(), encoding="utf-8")
    x = sixteen_bits(700, 2)
    write_wav(tmp_path / "in.wav", x)
    run(programs / "play_wav", model, tmp_path / "in.wav", tmp_path / "out.wav")
    y, _ = cellgate.load(model)(x)
    assert np.array_equal(read_wav(tmp_path / "out.wav", 2), y)


@needs_sndfile
def test_play_wav_says_what_is_wrong(programs: Path, tmp_path: Path) -> None:
    effect = effects.make_effect(3)
    (tmp_path / "effect.json").write_text(effect.rtneural(), encoding="utf-8")
    (tmp_path / "cut.json").write_text(effect.rtneural()[:-9], encoding="utf-8")
    write_wav(tmp_path / "in.wav", sixteen_bits(9, 2))
    program, out = programs / "play_wav", tmp_path / "out.wav"
    assert "cut.json" in refused(program, tmp_path / "cut.json", tmp_path / "in.wav", out)
    said = refused(program, tmp_path / "effect.json", tmp_path / "in.wav", out)
    assert "number of inputs" in said
    assert "play_wav: " in refused(program, tmp_path / "effect.json", tmp_path / "not.wav", out)


def test_model_info_runs_the_self_test_of_aidax(programs: Path, tmp_path: Path) -> None:
    for hidden in (8, 12, 40):
        effect = effects.make_effect(hidden)
        effect.skip = 1.0
        model = tmp_path / "effect.aidax"
        model.write_text(effect.aidax(6, -3, license="none"), encoding="utf-8")
        lines = run(programs / "model_info", model).splitlines()
        assert lines[0].startswith(f"inputs 1, outputs 1, hidden units {hidden}, layers 1,")
        assert "license: none" in lines
        start = "self-test of 2048 steps: largest difference "
        (difference,) = [line.removeprefix(start) for line in lines if line.startswith(start)]
        assert 0 < float(difference) < 1e-5

        # The test can fail: with another skip the file's answers are wrong.
        model.write_text(model.read_text().replace('"in_skip": 1', '"in_skip": 0'))
        last = run(programs / "model_info", model).splitlines()[-1]
        assert float(last.removeprefix(start)) > 0.1


@needs_lilv
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("block", [1, 64, 500])
def test_lv2_plugin(programs: Path, tmp_path: Path, name: str, block: int) -> None:
    model = tmp_path / name
    model.write_text(MODELS[name](), encoding="utf-8")
    x = sixteen_bits(2000)
    write_wav(tmp_path / "in.wav", x)
    files = (tmp_path / "in.wav", tmp_path / "out.wav")
    run(programs / "play_lv2", model, *files, str(block), LV2_PATH=str(programs / "lv2"))
    network = cellgate.load(model)
    wanted = np.concatenate([network(x[:1000])[0], network(x[1000:])[0]])
    assert np.array_equal(read_wav(tmp_path / "out.wav", 1), wanted)


@needs_lilv
def test_lv2_plugin_exports_its_descriptor_alone(programs: Path) -> None:
    names = run("nm", "-D", "--defined-only", programs / "lv2" / "cellgate.lv2" / "player.so")
    symbols = {line.split()[-1] for line in names.splitlines()}
    assert "lv2_descriptor" in symbols
    assert not [name for name in symbols if name.startswith("cg_")]


@needs_silero
def test_voice_activity(programs: Path, tmp_path: Path) -> None:
    """Against the Python example, whose convolutions onnxruntime runs."""
    run(sys.executable, EMBED / "voice_activity_export.py", tmp_path)
    files = (tmp_path / "front_end.bin", tmp_path / "lstm.safetensors", SOUND)
    said = np.loadtxt(run(programs / "voice_activity", *files).splitlines())
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import voice_activity as v, numpy as np\n"
        "audio = v.read_audio(v.SHIPPED)\n"
        "print(*v.Silero(v.find_network()).probabilities_cellgate(audio), sep='\\n')"
    )
    wanted = np.loadtxt(run(sys.executable, "-c", code, EMBED.parent).splitlines())
    assert said.shape == (len(wanted), 2)
    assert said[:, 1].max() > 0.9
    assert np.abs(said[:, 1] - wanted).max() <= 1e-5


def test_classifier_from_python(programs: Path, tmp_path: Path) -> None:
    run(sys.executable, EMBED / "classify_train.py", tmp_path)
    sequences = (tmp_path / "sequences.txt").read_text(encoding="utf-8")
    said = run(programs / "classify", tmp_path / "digits.safetensors", stdin=sequences)
    rows = np.loadtxt(said.splitlines())
    wanted = np.loadtxt(tmp_path / "probabilities.txt")
    assert rows.shape == (len(wanted), 11)
    assert np.array_equal(rows[:, 0], wanted.argmax(axis=1))
    assert np.array_equal(rows[:, 1:].astype(np.float32), wanted.astype(np.float32))
    program = programs / "classify"
    assert "cut short" in refused(program, tmp_path / "digits.safetensors", stdin="2 1 2 3")


def blocks(path: str) -> list[tuple[str, str, str]]:
    """The whole programs in C and C++ of a document: its name, the language, the text."""
    if not (ROOT / path).is_file():  # docs/ is not in the source distribution
        return []
    text = (ROOT / path).read_text(encoding="utf-8")
    return [(path, *block) for block in re.findall(r"^```(c|cpp)\n(.*?)^```", text, re.M | re.S)]


@pytest.mark.parametrize(
    ("path", "language", "text"), [*blocks("README.md"), *blocks("docs/embedding.md")]
)
def test_programs_of_the_documents(
    programs: Path, tmp_path: Path, path: str, language: str, text: str
) -> None:
    if INSTALLED:
        include, library = INSTALLED / "include", next(INSTALLED.rglob("libcellgate.a"))
    else:
        include, library = ROOT / "csrc" / "include", programs / "cellgate" / "libcellgate.a"
    standard = {"c": "-std=c99", "cpp": "-std=c++17"}[language]
    compiler = {"c": "cc", "cpp": "c++"}[language]
    source = tmp_path / f"effect.{language}"
    source.write_text(text, encoding="utf-8")
    flags = (standard, "-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{include}")
    libraries = ("-lstdc++", "-lm", "-lpthread")
    run(compiler, *flags, source, library, *libraries, "-o", tmp_path / "effect")

    (name,) = re.findall(r'"(effect\.[a-z]+)"', text)
    effect = effects.make_effect(8, begins=True)
    if name.endswith(".nam"):
        (tmp_path / name).write_text(effect.nam(), encoding="utf-8")
    else:
        cellgate.Network(*effect.parts()).save(tmp_path / name)
    network = cellgate.load(tmp_path / name)
    assert isinstance(network, cellgate.Network)
    said = run("sh", "-c", 'cd "$0" && ./effect', tmp_path).split()
    wanted, _ = network(np.array([[0.5], [-0.25], [0.0], [1.0]], np.float32))
    assert [np.float32(word) for word in said] == wanted[:, 0].tolist()


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="docs/ is not here")
def test_documents_have_the_programs() -> None:
    found = [
        language for path in ("README.md", "docs/embedding.md") for _, language, _ in blocks(path)
    ]
    assert found == ["c", "c", "cpp"]
