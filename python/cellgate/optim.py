"""Parts of a training loop in NumPy: Adam, and clipping by global norm.

They work on dicts of arrays, such as `LSTM.state_dict` and `Gradients.parameters`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .config import check_int, describe

if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from numpy.typing import NDArray

    Arrays: TypeAlias = Mapping[str, NDArray[Any]]


class Adam:
    """Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019) with a weight decay.

    Changes the parameters' arrays in place; `LSTM.load_state_dict` then takes them.

    Parameters
    ----------
    parameters : mapping of str to array
        What to train: writable arrays of float32 or float64, of any shape. They are kept, not
        copied, and none may overlap another.
    lr : float
        The step size α, at least 0. The attribute `lr` may be set between steps.
    betas : (float, float)
        The decay rates β₁ and β₂ of the two moments, in [0, 1).
    eps : float
        ε, above 0.
    weight_decay : float
        λ, at least 0. It is decoupled from the gradient: that is AdamW, not Adam with an L2 term.

    Raises
    ------
    TypeError, ValueError
        An argument of a wrong type, or out of its range; the message names it.

    Notes
    -----
    With the gradient d and the moments m and v, which start from zero, step number t does::

        θ ← (1 - αλ) θ
        m ← β₁ m + (1 - β₁) d          v ← β₂ v + (1 - β₂) d²
        θ ← θ - α / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + ε)

    as `torch.optim.AdamW` does, and `torch.optim.Adam` without a weight decay.

    Sources: Kingma & Ba 2015, "Adam: a method for stochastic optimization"; Loshchilov & Hutter
    2019, "Decoupled weight decay regularization".

    Examples
    --------
    >>> import numpy as np
    >>> from cellgate.optim import Adam
    >>> parameters = {"weight": np.array([1.0, -2.0]), "bias": np.array(0.5)}
    >>> adam = Adam(parameters, lr=0.1)
    >>> adam.step({"weight": np.array([4.0, -0.01]), "bias": np.array(0.0)})
    >>> parameters["weight"].round(6)  # the first step is lr long, whatever the gradient's size
    array([ 0.9, -1.9])
    """

    def __init__(
        self,
        parameters: Arrays,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        """Check the arguments; the class says what each is."""
        self._parameters = _writable("parameters", parameters)
        _refuse_overlap(self._parameters)
        self.lr = lr
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"betas: must be two numbers, got {describe(betas)}")
        self._beta1, self._beta2 = (_number("betas", beta, below=1) for beta in betas)
        self._eps = _number("eps", eps)
        if not all(p.dtype.type(self._eps) > 0 for p in self._parameters.values()):
            raise ValueError(f"eps: must be above 0 in the parameters' dtype, got {eps}")
        self._weight_decay = _number("weight_decay", weight_decay)
        self._step = 0
        self._first = {name: np.zeros_like(p) for name, p in self._parameters.items()}
        self._second = {name: np.zeros_like(p) for name, p in self._parameters.items()}

    @property
    def lr(self) -> float:
        """The step size, for the steps to come."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = _number("lr", value)

    def step(self, grads: Arrays) -> None:
        """Change the parameters, in place, by one step.

        Parameters
        ----------
        grads : mapping of str to array
            The gradient of each parameter, under its name, in its shape and dtype. Not changed.
            NaN and infinity are not searched for, and would make parameters NaN for good; where
            they may occur, skip the step if `clip_grad_norm` returns a number that is not finite.

        Raises
        ------
        ValueError, TypeError
            A gradient is missing, unexpected, misshapen or of another dtype. Nothing was changed.

        Examples
        --------
        >>> import numpy as np
        >>> from cellgate.optim import Adam
        >>> parameters = {"x": np.array([3.0])}
        >>> adam = Adam(parameters, lr=0.5)
        >>> for _ in range(100):
        ...     adam.step({"x": 2 * parameters["x"]})  # of x²
        >>> bool(abs(parameters["x"][0]) < 0.1)
        True
        """
        grads = _matching("grads", grads, self._parameters)
        self._step += 1
        correction1 = 1 - self._beta1**self._step
        correction2 = math.sqrt(1 - self._beta2**self._step)
        for name, parameter in self._parameters.items():
            gradient, first, second = grads[name], self._first[name], self._second[name]
            # `out=` everywhere: one temporary instead of ten, and arrays of shape () stay arrays.
            work = np.multiply(gradient, 1 - self._beta1, out=np.empty_like(parameter))
            np.add(np.multiply(first, self._beta1, out=first), work, out=first)
            np.multiply(np.multiply(gradient, gradient, out=work), 1 - self._beta2, out=work)
            np.add(np.multiply(second, self._beta2, out=second), work, out=second)
            np.add(np.divide(np.sqrt(second, out=work), correction2, out=work), self._eps, out=work)
            np.multiply(np.divide(first, work, out=work), self._lr / correction1, out=work)
            if self._weight_decay:
                np.multiply(parameter, 1 - self._lr * self._weight_decay, out=parameter)
            np.subtract(parameter, work, out=parameter)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """New arrays of the state of the optimiser, for `load_state_dict`.

        Returns
        -------
        dict of str to array
            ``step``, int64 of shape (), the number of steps done; for each parameter
            ``first.NAME`` and ``second.NAME``, its moments. Flat, so that
            `safetensors.numpy.save_file` takes it. Parameters and settings are not in it.

        Examples
        --------
        >>> import numpy as np
        >>> from cellgate.optim import Adam
        >>> sorted(Adam({"x": np.zeros(3)}).state_dict())
        ['first.x', 'second.x', 'step']
        """
        moments = {f"first.{name}": array.copy() for name, array in self._first.items()}
        moments |= {f"second.{name}": array.copy() for name, array in self._second.items()}
        return {"step": np.array(self._step, np.int64), **moments}

    def load_state_dict(self, state_dict: Arrays) -> None:
        """Set the state that `state_dict` returned for the same parameters; copies it.

        Parameters
        ----------
        state_dict : mapping of str to array
            As `state_dict` returns it.

        Raises
        ------
        ValueError, TypeError
            An entry is missing, unexpected, misshapen or of another dtype. Nothing was changed.

        Examples
        --------
        >>> import numpy as np
        >>> from cellgate.optim import Adam
        >>> a, b = Adam({"x": np.zeros(1)}), Adam({"x": np.zeros(1)})
        >>> a.step({"x": np.ones(1)})
        >>> b.load_state_dict(a.state_dict())
        >>> int(b.state_dict()["step"])
        1
        """
        checked = _matching("state_dict", state_dict, self.state_dict())
        self._step = check_int("state_dict: step", checked["step"], 0)
        self._first = {name: checked[f"first.{name}"].copy() for name in self._parameters}
        self._second = {name: checked[f"second.{name}"].copy() for name in self._parameters}

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self._parameters)} arrays, lr={self._lr}, "
            f"betas=({self._beta1}, {self._beta2}), eps={self._eps}, "
            f"weight_decay={self._weight_decay})"
        )


def clip_grad_norm(grads: Arrays, max_norm: float) -> float:
    """Scale all gradients together, in place, so that their global norm is at most `max_norm`.

    Parameters
    ----------
    grads : mapping of str to array
        Writable arrays of float32 or float64.
    max_norm : float
        Above 0; infinity only measures.

    Returns
    -------
    float
        The Euclidean norm of all elements of all arrays before the scaling, summed in float64. If
        it is not finite (an element is NaN or infinite, or the sum overflows), the gradients are
        left as they are, since no scale makes them finite: test for that, and skip the step.

    Raises
    ------
    TypeError, ValueError
        An argument of a wrong type, or out of its range. Nothing was changed.

    Notes
    -----
    Source: Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural
    networks".

    Examples
    --------
    >>> import numpy as np
    >>> from cellgate.optim import clip_grad_norm
    >>> grads = {"weight": np.array([3.0, 0.0]), "bias": np.array([4.0])}
    >>> clip_grad_norm(grads, 1.0)
    5.0
    >>> grads
    {'weight': array([0.6, 0. ]), 'bias': array([0.8])}
    """
    arrays = _writable("grads", grads)
    largest = _number("max_norm", max_norm, infinite=True)
    if largest == 0:
        raise ValueError("max_norm: must be above 0, got 0")
    with np.errstate(over="ignore"):  # an overflow shows in the result
        squares = [float(np.square(a, dtype=np.float64).sum()) for a in arrays.values()]
    norm = math.sqrt(math.fsum(squares)) if math.isfinite(sum(squares)) else sum(squares)
    if math.isfinite(norm) and norm > largest:
        for array in arrays.values():
            np.multiply(array, largest / norm, out=array)
    return norm


def _number(name: str, value: Any, *, below: float = math.inf, infinite: bool = False) -> float:
    """`value` as a float of at least 0 and less than `below`."""
    number_types = (int, float, np.integer, np.floating)
    if not isinstance(value, number_types) or isinstance(value, bool):
        raise TypeError(f"{name}: must be a number, got {describe(value)}")
    try:
        number = float(value)
    except OverflowError:  # an int beyond all floats
        number = math.inf if value > 0 else -math.inf
    if not (0 <= number < below or (infinite and number == math.inf)):  # NaN is refused too
        wanted = "finite" if below == math.inf else f"below {below}"
        raise ValueError(f"{name}: must be at least 0 and {wanted}, got {value}")
    return number


def _arrays(what: str, arrays: Any) -> dict[str, NDArray[Any]]:
    """`arrays` as a dict, if it is a mapping of names to arrays, and not empty."""
    if not isinstance(arrays, Mapping):
        raise TypeError(f"{what}: must map names to arrays, got {describe(arrays)}")
    if not arrays:
        raise ValueError(f"{what}: is empty")
    for name, array in arrays.items():
        if not isinstance(name, str):
            raise TypeError(f"{what}: names must be str, got {describe(name)}")
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{what}: {name}: must be a NumPy array, got {describe(array)}")
    return dict(arrays)


def _writable(what: str, arrays: Any) -> dict[str, NDArray[Any]]:
    """`_arrays`, if all are of float32 or float64 and writable."""
    checked = _arrays(what, arrays)
    for name, array in checked.items():
        if array.dtype not in (np.float32, np.float64):
            raise TypeError(f"{what}: {name}: must be float32 or float64, got {array.dtype}")
        if not array.flags.writeable:
            raise ValueError(f"{what}: {name}: is read-only, and would be changed in place")
    return checked


def _refuse_overlap(arrays: dict[str, NDArray[Any]]) -> None:
    """Refuse arrays that overlap: a step would change the shared elements twice."""
    for (name, array), (other, second) in itertools.combinations(arrays.items(), 2):
        # The first test is fast; it may find an overlap where there is none, but misses none.
        if np.may_share_memory(array, second) and np.shares_memory(array, second):
            raise ValueError(f"parameters: {name} and {other} overlap in memory")


def _matching(what: str, arrays: Any, wanted: Arrays) -> dict[str, NDArray[Any]]:
    """`_arrays`, if it has the names, shapes and dtypes of `wanted`."""
    checked = _arrays(what, arrays)
    if missing := [name for name in wanted if name not in checked]:
        raise ValueError(f"{what}: missing: {', '.join(missing)}")
    if unexpected := [name for name in checked if name not in wanted]:
        raise ValueError(f"{what}: unexpected: {', '.join(unexpected)}")
    for name, like in wanted.items():
        array = checked[name]
        if array.shape != like.shape:
            raise ValueError(f"{what}: {name}: wanted shape {like.shape}, got {array.shape}")
        if array.dtype != like.dtype:
            raise TypeError(f"{what}: {name}: wanted {like.dtype}, got {array.dtype}")
    return checked
