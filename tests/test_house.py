"""Files and functions stay small enough to be read at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for folder in ("csrc", "python/cellgate")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".cpp", ".hpp", ".h", ".py", ".def"}
)
CPP = [path for path in SOURCES if path.suffix in {".cpp", ".hpp", ".h"}]
MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION = 400, 60

# clang-format gives a function's last line the indentation of its first; an initialiser list may
# stand between the name and the brace.
BEGIN = re.compile(r"( *)(?!(?:if|for|while|switch|return|else|do)\b)[\w~:<>,*&\[\]. ]+\(")


def functions(text: str) -> list[tuple[int, int, str]]:
    """First line, number of lines and opening of each function, those inside functions left out."""
    text = re.sub(
        r"/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n"), text, flags=re.DOTALL
    )
    lines, found, index = text.splitlines(), [], 0
    while index < len(lines):
        begins = BEGIN.match(lines[index])
        if not begins:
            index += 1
            continue
        end = index
        while end < len(lines) and not lines[end].endswith(("{", ";", "}")):
            end += 1
        if end == len(lines) or not lines[end].endswith("{"):
            index = end + 1
            continue
        close = end + 1
        while close < len(lines) and not re.match(begins[1] + r"\}", lines[close]):
            close += 1
        found.append((index + 1, close - index + 1, lines[index].strip()))
        index = close + 1
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES_OF_A_FILE


@pytest.mark.parametrize("path", CPP, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_function_is_short(path: Path) -> None:
    long = [f for f in functions(path.read_text()) if f[1] > MOST_LINES_OF_A_FUNCTION]
    assert not long


def test_functions_are_found() -> None:
    """What the test above counts, on code of each form that stands in csrc."""
    code = """
namespace n {
template <class S>
void free(const S& a,
          int b) noexcept {
  if (b) {
    call(a);
  }
}
class K {
 public:
  K(int a)
      : a_(a), b_(2) {}
  K(long a) : a_(a) {
    body();
  }
  int get() const { return a_; }
};
}  // namespace n
"""
    assert [(length, opening.split("(")[0]) for _, length, opening in functions(code)] == [
        (6, "void free"),
        (3, "K"),
    ]
    whole = [length for path in CPP for _, length, _ in functions(path.read_text())]
    assert len(whole) > 200
