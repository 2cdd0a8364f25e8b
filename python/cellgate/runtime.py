"""Which code runs, and on how many threads: functions of the core, with docstrings."""

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
        ``isa_active``, as `active_isa`; ``threads``, as `get_num_threads`.

    Raises
    ------
    ValueError
        The environment variable ``CELLGATE_ISA`` or ``CELLGATE_NUM_THREADS`` has a wrong value.

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

    It is chosen once, when it is needed first: the best that the CPU supports, or the one that the
    environment variable ``CELLGATE_ISA`` names, in upper or lower case.

    Raises
    ------
    ValueError
        ``CELLGATE_ISA`` is unknown or not supported by this CPU. Everything that computes raises it
        too; no other instruction set is used instead.

    Examples
    --------
    >>> import cellgate
    >>> cellgate.active_isa() in ("avx512", "avx2", "baseline", "neon")
    True
    """
    return _core.active_isa()


def get_num_threads() -> int:
    """The largest number of threads that one call uses.

    Until `set_num_threads` is called it is the environment variable ``CELLGATE_NUM_THREADS``, or
    without that the number of CPUs that this process may use, by its affinity and the quota of its
    container. A call uses fewer threads where more would make it slower.

    Raises
    ------
    ValueError
        ``CELLGATE_NUM_THREADS`` is not a number from 1 to 1024.

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
        `num_threads` is not an integer, or out of range.

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
    _core.set_num_threads(min(number, 2**31 - 1))  # an int in C++, in which this is out of range
