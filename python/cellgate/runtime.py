"""Which code runs, and on how many threads: the core's answers, and its one setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _core
from .config import check_int

if TYPE_CHECKING:
    from typing import TypedDict

    class BuildInfo(TypedDict):
        """What `build_info` returns."""

        version: str
        compiler: str
        isas_built: list[str]
        isas_supported: list[str]
        isa_active: str
        threads: int


def build_info() -> BuildInfo:
    """How this copy of cellgate was built and what it runs on.

    Returns
    -------
    dict
        ``version``; ``compiler``, its name and version; ``isas_built``, the instruction sets in
        this build, best first; ``isas_supported``, those of them that this CPU has;
        ``isa_active``, the one in use; ``threads``, as `get_num_threads`.

    Examples
    --------
    >>> import cellgate
    >>> info = cellgate.build_info()
    >>> info["isa_active"] in info["isas_supported"]
    True
    """
    info: BuildInfo = _core.build_info()  # type: ignore[assignment]
    return info


def active_isa() -> str:
    """The instruction set in use, by its name in `build_info`.

    It is chosen once: the best that the CPU has, or what the environment variable
    ``CELLGATE_ISA`` names, in capitals or not.

    Raises
    ------
    ValueError
        ``CELLGATE_ISA`` names none that this build and this CPU have. Whatever needs the
        instruction set raises it; `import cellgate` does not.

    Examples
    --------
    >>> import cellgate
    >>> cellgate.active_isa() in ("avx512", "avx2", "baseline", "neon")
    True
    """
    return _core.active_isa()


def get_num_threads() -> int:
    """The largest number of threads that one call uses.

    At first the environment variable ``CELLGATE_NUM_THREADS``, or else the number of CPUs that
    this process may use, by its affinity and the quota of its container. A call uses fewer where
    more would not pay.

    Raises
    ------
    ValueError
        ``CELLGATE_NUM_THREADS`` is not a number from 1 to 1024. Every call that could use threads
        raises it; `import cellgate` does not.

    Examples
    --------
    >>> import cellgate
    >>> cellgate.get_num_threads() >= 1
    True
    """
    return _core.get_num_threads()


def set_num_threads(num_threads: int) -> None:
    """Set the largest number of threads that one call uses, in the whole process.

    Results are the same bits whatever the number.

    Parameters
    ----------
    num_threads : int
        From 1 to 1024.

    Raises
    ------
    TypeError, ValueError
        It is no integer, or out of range.

    Examples
    --------
    >>> import cellgate
    >>> before = cellgate.get_num_threads()
    >>> cellgate.set_num_threads(1)
    >>> cellgate.get_num_threads()
    1
    >>> cellgate.set_num_threads(before)
    """
    number = check_int("num_threads", num_threads, 1)
    _core.set_num_threads(min(number, 2**31 - 1))  # the core takes an int, and refuses that one
