"""`accelerate`: puts cellgate's modules in the place of PyTorch's, in a model that exists."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch.nn.utils import parametrize

from ._modules import DTYPES, LSTM, LSTMCell

if TYPE_CHECKING:
    from torch.nn import Module

REPLACEMENTS: dict[type[Module], type[Module]] = {
    torch.nn.LSTM: LSTM,
    torch.nn.LSTMCell: LSTMCell,
}
NAMES = {cls.__name__ for cls in REPLACEMENTS}


@dataclass(frozen=True, repr=False)
class Report:
    """What `accelerate` did; its repr says so line by line.

    Attributes
    ----------
    swapped : list of str
        Names of the modules that cellgate computes now, as `named_modules` gives them ("" is the
        model itself), and of those that it did before.
    left : dict of str to str
        Names of the LSTMs that are as they were, and why.
    """

    swapped: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        all_of_them = len(self.swapped) + len(self.left)
        lines = [f"cellgate computes {len(self.swapped)} of {all_of_them} LSTMs"]
        lines += [f"  {name or 'the model itself'}" for name in self.swapped]
        if self.left:
            lines.append("and these are as they were")
        lines += [f"  {name or 'the model itself'}: {why}" for name, why in self.left.items()]
        return "\n".join(lines)


def accelerate(model: Module) -> Report:
    """Let cellgate compute every `torch.nn.LSTM` and `torch.nn.LSTMCell` of a model, in place.

    The modules stay the objects they were, and so do their parameters: only their class changes,
    to `cellgate.torch.LSTM` and `cellgate.torch.LSTMCell`. Optimisers, hooks,
    `DistributedDataParallel` and every other reference to them go on working. To undo it, set
    ``module.__class__ = torch.nn.LSTM``.

    Parameters
    ----------
    model : torch.nn.Module
        Any module; one that is an LSTM itself is swapped too.

    Returns
    -------
    Report
        What was swapped, and what was left and why: modules that are not on the CPU, of another
        type than float32 and float64, quantized or scripted, subclasses of PyTorch's classes, and
        those of which a method was replaced.

    Raises
    ------
    TypeError
        `model` is not a module.

    Examples
    --------
    >>> import torch
    >>> import cellgate.torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.LSTM(8, 16))
    >>> cellgate.torch.accelerate(model)
    cellgate computes 1 of 1 LSTMs
      1
    >>> model
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): LSTM(8, 16)
    )
    >>> type(model[1])
    <class 'cellgate.torch._modules.LSTM'>
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model: must be a torch.nn.Module, got {type(model).__name__}")
    report = Report()
    for name, module in model.named_modules():
        if isinstance(module, (LSTM, LSTMCell)):
            report.swapped.append(name)
        elif _is_an_lstm(module):
            if reason := _why_not(module):
                report.left[name] = reason
            else:
                module.__class__ = _replacement(module)
                report.swapped.append(name)
    return report


def _is_an_lstm(module: Module) -> bool:
    """Of PyTorch's kinds: plain, derived, quantized or scripted."""
    if isinstance(module, tuple(REPLACEMENTS)):
        return True
    if isinstance(module, torch.jit.ScriptModule):
        return getattr(module, "original_name", None) in NAMES
    cls = type(module)
    return cls.__name__ in NAMES and cls.__module__.startswith("torch.")


def _why_not(module: Module) -> str | None:
    """What keeps cellgate from computing this module, if anything does."""
    cls = type(module)
    if isinstance(module, torch.jit.ScriptModule):
        return "it is scripted"
    if not isinstance(module, tuple(REPLACEMENTS)):
        return f"it is a {cls.__module__}.{cls.__name__}"
    if _torch_class(module) is None:
        return (
            f"{cls.__name__} is a subclass of torch.nn.{_base(cls)}: "
            f"derive it from cellgate.torch.{_base(cls)}"
        )
    if methods := [name for name in vars(module) if callable(getattr(cls, name, None))]:
        return f"its own {', '.join(methods)} would not be called as now"
    if not (module.input_size and module.hidden_size):
        return "input_size or hidden_size is 0"
    for name, tensor in module.named_parameters():
        if tensor.device.type != "cpu":
            return f"{name} is on {tensor.device}, not on the CPU"
        if tensor.dtype not in DTYPES:
            return f"{name} is {tensor.dtype}, not torch.float32 or torch.float64"
    return None


def _base(cls: type[Module]) -> str:
    return next(base.__name__ for base in REPLACEMENTS if issubclass(cls, base))


def _torch_class(module: Module) -> type[Module] | None:
    """The class to replace; a parametrization has put one of its own in front."""
    cls = type(module)
    if parametrize.is_parametrized(module):
        cls = cls.__bases__[0]
    return cls if cls in REPLACEMENTS else None


def _replacement(module: Module) -> type[Module]:
    cls = type(module)
    if cls in REPLACEMENTS:
        return REPLACEMENTS[cls]
    # The class that a parametrization made, on another base. That class itself stays as it is,
    # for copies of the module share it.
    contents = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
    return type(cls.__name__, (REPLACEMENTS[cls.__bases__[0]],), contents)
