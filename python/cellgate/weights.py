"""What an LSTM is: its configuration, and its weights as the core has packed them.

`LSTM` adds what it does; stream.py and tape.py need no more than this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ._core import Model
from .config import DEFAULTS, checked_config
from .parameters import checked_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    from numpy.typing import ArrayLike, NDArray

    from .config import Config
    from .parameters import Parameters

    Float: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
    State: TypeAlias = tuple[Float, Float]

AnyWeights = TypeVar("AnyWeights", bound="Weights")


class Weights:
    """The options and parameters of an `LSTM`, to read, to replace, to copy and to pickle."""

    __slots__ = ("__weakref__", "_config", "_model")

    _config: Config
    _model: Model  # never changed, so that any number of objects share one; replaced as a whole

    def state_dict(self) -> Parameters:
        """New arrays of all parameters, under PyTorch's names and in its order.

        Returns
        -------
        dict of str to array
            For each layer k, and again with the suffix ``_reverse`` if bidirectional:
            ``weight_ih_lk`` (4H, I or D*(P or H)), ``weight_hh_lk`` (4H, P or H),
            ``bias_ih_lk`` and ``bias_hh_lk`` (4H,) with biases, ``weight_hr_lk`` (P, H) with a
            projection.

        Examples
        --------
        >>> import cellgate
        >>> weights = cellgate.LSTM(3, 2, bias=False).state_dict()
        >>> {name: array.shape for name, array in weights.items()}
        {'weight_ih_l0': (8, 3), 'weight_hh_l0': (8, 2)}
        """
        return self._model.parameters()

    def load_state_dict(self, state_dict: Mapping[str, ArrayLike]) -> None:
        """Replace all parameters by copies of those given.

        Streams made before go on with the weights that they were made with.

        Parameters
        ----------
        state_dict : mapping of str to array_like
            As `state_dict` returns it; a `torch.nn.LSTM`'s works too. Narrower floating types
            are widened; wider ones and integers are refused.

        Raises
        ------
        ValueError, TypeError
            One error names every missing, unexpected, misshapen or wrongly typed entry
            (`TypeError` if types are all that is wrong). The object is then unchanged.

        Examples
        --------
        >>> import cellgate
        >>> a, b = cellgate.LSTM(3, 2, seed=0), cellgate.LSTM(3, 2, seed=1)
        >>> b.load_state_dict(a.state_dict())
        >>> b.load_state_dict({"weight": [0.0]})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: state_dict: weight_ih_l0 is missing (wanted shape (8, 3)); ...
        """
        parameters = checked_parameters(self._config, state_dict, "state_dict")
        self._model = pack(self._config, parameters)

    @property
    def input_size(self) -> int:
        """I."""
        return self._config.input_size

    @property
    def hidden_size(self) -> int:
        """H."""
        return self._config.hidden_size

    @property
    def num_layers(self) -> int:
        """L."""
        return self._config.num_layers

    @property
    def bias(self) -> bool:
        """Whether the gates have biases."""
        return self._config.bias

    @property
    def batch_first(self) -> bool:
        """Whether input and output are (B, T, ...)."""
        return self._config.batch_first

    @property
    def dropout(self) -> float:
        """Dropout between layers, in training only."""
        return self._config.dropout

    @property
    def bidirectional(self) -> bool:
        """Whether D is 2."""
        return self._config.bidirectional

    @property
    def proj_size(self) -> int:
        """P, or 0 without a projection."""
        return self._config.proj_size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of weights, states and results: float32 or float64."""
        return np.dtype(self._config.dtype)

    @property
    def num_parameters(self) -> int:
        """Scalars in all weights and biases."""
        return self._config.num_parameters

    def __repr__(self) -> str:
        config = self._config
        shown = [str(config.input_size), str(config.hidden_size)]
        for name, default in DEFAULTS.items():
            if (value := getattr(config, name)) != default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __copy__(self: AnyWeights) -> AnyWeights:
        """A second object over the same packed weights, which are never written to."""
        return assemble(type(self), self._config, self._model)

    def __deepcopy__(self: AnyWeights, memo: dict[int, Any]) -> AnyWeights:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._config._asdict(), self._model.parameters())


def pack(config: Config, parameters: Parameters) -> Model:
    """The core's copy of parameters that have been checked."""
    return Model(config.options(), config.dtype, parameters)


def assemble(kind: type[AnyWeights], config: Config, model: Model) -> AnyWeights:
    """An object over weights that are packed already; draws no random numbers."""
    weights = kind.__new__(kind)
    weights._config = config
    weights._model = model
    return weights


def _restore(kind: type[AnyWeights], config: dict[str, Any], parameters: Parameters) -> AnyWeights:
    """What unpickling calls."""
    checked = checked_config(**{**DEFAULTS, **config})
    return assemble(kind, checked, pack(checked, parameters))
