"""scikit-learn estimators on the fused back-propagation through time, without PyTorch.

`LSTMRegressor` and `LSTMClassifier` learn from sequences, `LSTMForecaster` continues time series.
docs/estimators.md tells the rest.
"""

try:
    import sklearn as _sklearn  # noqa: F401  (the ones below would name themselves in the error)
    import tqdm as _tqdm  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("sklearn", "tqdm"):
        raise
    raise ModuleNotFoundError(
        f"cellgate.estimators needs {error.name}, which is not installed: "
        "pip install 'cellgate[sklearn]'",
        name=error.name,
    ) from None

from .classifier import LSTMClassifier
from .forecast import Rolling
from .forecaster import LSTMForecaster
from .regressor import LSTMRegressor

__all__ = ["LSTMClassifier", "LSTMForecaster", "LSTMRegressor", "Rolling"]
