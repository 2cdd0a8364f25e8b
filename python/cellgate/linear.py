"""`Linear`: the head of a `Network`, as numbers. The core packs them when a network is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .config import describe

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from .weights import Float

ACTIVATIONS = ("linear", "sigmoid", "softmax", "tanh", "relu")  # of csrc/model/network.cpp


class Linear:
    """A linear layer with an activation, v = activation(W h + b): the head of a `Network`.

    Parameters
    ----------
    weight : array_like of float, shape (O, D*(P or H))
        W; copied.
    bias : array_like of float, shape (O,), optional
        b; copied. Zero if left out.
    activation : {"linear", "sigmoid", "softmax", "tanh", "relu"}
        Of all O outputs; the softmax is over them.

    Attributes
    ----------
    weight, bias : array
        Read-only; the bias may be None.
    activation : str

    Raises
    ------
    TypeError, ValueError
        An argument of a wrong type, dtype or shape.

    Examples
    --------
    >>> import numpy as np
    >>> import cellgate
    >>> cellgate.Linear(np.ones((3, 16), np.float32), np.zeros(3, np.float32), "softmax")
    Linear(16, 3, activation='softmax')
    """

    __slots__ = ("_activation", "_bias", "_weight")

    def __init__(
        self, weight: ArrayLike, bias: ArrayLike | None = None, activation: str = "linear"
    ) -> None:
        """Copy the arrays; the class says what each argument is."""
        w = _floats("weight", weight)
        b = None if bias is None else _floats("bias", bias)
        if w.ndim != 2 or 0 in w.shape:
            raise ValueError(f"weight: must have shape (O, D*(P or H)), got shape {w.shape}")
        if b is not None and b.shape != w.shape[:1]:
            raise ValueError(f"bias: must have shape {w.shape[:1]}, got shape {b.shape}")
        if not isinstance(activation, str):
            raise TypeError(f"activation: must be a string, got {describe(activation)}")
        if activation not in ACTIVATIONS:
            names = ", ".join(ACTIVATIONS)
            raise ValueError(f"activation: must be one of {names}, got {activation!r}")
        self._weight, self._bias = _copied(w), None if b is None else _copied(b)
        self._activation = activation

    @property
    def weight(self) -> Float:
        """W, (O, D*(P or H))."""
        weight: Float = self._weight
        return weight

    @property
    def bias(self) -> Float | None:
        """b, (O,), or None."""
        return self._bias

    @property
    def activation(self) -> str:
        """The name of the activation."""
        return self._activation

    def __repr__(self) -> str:
        outputs, inputs = self._weight.shape
        shown = [str(inputs), str(outputs)]
        if self._bias is None:
            shown.append("bias=None")
        if self._activation != "linear":
            shown.append(f"activation={self._activation!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._weight, self._bias, self._activation)


def _floats(name: str, given: ArrayLike) -> Any:
    """An array of a floating type that NumPy has in C too, not copied yet."""
    if hasattr(given, "mask"):
        raise TypeError(f"{name}: must be an array without a mask, got {describe(given)}")
    try:
        array = np.asarray(given)
    except MemoryError:
        raise
    except Exception as error:  # whatever an array-like's own conversion raises
        raise TypeError(f"{name}: must be an array, got {type(given).__name__} ({error})") from None
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise TypeError(f"{name}: must be float16, float32 or float64, got {array.dtype}")
    return array


def _copied(given: Any) -> Any:
    """A read-only copy."""
    array = np.array(given, order="C")
    array.setflags(write=False)
    return array
