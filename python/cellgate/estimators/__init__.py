"""scikit-learn estimators, trained by cellgate's back-propagation through time, without PyTorch.

`LSTMRegressor` and `LSTMClassifier` are for sequences, `LSTMForecaster` for time series; see
docs/estimators.md.
"""

try:
    import sklearn as _sklearn  # noqa: F401  (here, so that the error names the package)
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
