"""Hold `import cellgate` to its promise: at most 30 ms on top of `import numpy`.

A fresh process each time; the smallest of several runs, because a busy machine only adds.
"""

from __future__ import annotations

import subprocess
import sys

CODE = """
import time, numpy
begin = time.perf_counter()
import cellgate
print((time.perf_counter() - begin) * 1e3)
"""
LIMIT_MS = 30.0


def main() -> int:
    runs = [
        float(subprocess.check_output([sys.executable, "-c", CODE], text=True)) for _ in range(10)
    ]
    print(f"import cellgate after numpy: {min(runs):.1f} ms (limit {LIMIT_MS:.0f} ms)")
    return 0 if min(runs) <= LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
