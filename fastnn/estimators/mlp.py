"""The multi-layer perceptrons: dense layers one after the other."""

from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.utils._param_validation import StrOptions

from fastnn import activations, layers
from fastnn.activations import get_activation
from fastnn.estimators import network as networks
from fastnn.estimators import validation
from fastnn.estimators.base import BaseNetwork
from fastnn.estimators.documentation import documented
from fastnn.estimators.targets import ClassifierTargets, RegressorTargets
from fastnn.estimators.validation import Range
from fastnn.losses import get_loss
from fastnn.lower import Network
from fastnn.spec import MOST, shown


class BaseMLP(BaseNetwork):
    """Base of MLPClassifier and MLPRegressor: reads dense and CSR rows, builds dense layers.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, or int, default=(100,)
        Units of each hidden layer, from input to output. An empty list means no hidden layer: the perceptron, Adaline,
        linear, logistic, softmax or Poisson regression, depending on the loss.

    activation : str, activation spec or list of them, default="relu"
        Activation of the hidden layers, or one for each: "identity", "unit_step", "sign", "piecewise_linear",
        "logistic", "tanh", "relu", "leaky_relu", "rrelu", "softplus", "elu", "selu", "gelu", "silu", "mish",
        "hard_tanh", or a spec with numbers of its own such as ``fastnn.activations.LeakyReLU(0.1)``. "unit_step" and
        "sign" are flat; they are trained with the straight-through derivative (1 where abs(z) <= 1, else 0).

    dropout : float or list of float, default=0.0
        Share of hidden units dropped in training, for all hidden layers or for each.

    input_dropout : float, default=0.0
        Share of inputs dropped in training.

    normalization : {"batch", "layer"} or None, default=None
        Normalises the output of each hidden layer's activation over the batch or over the layer's units.

    Notes
    -----
    The initial weights are the same as scikit-learn's for the same seed. Sparse data is read as CSR and never made
    dense.
    """

    _parameter_constraints: dict = {
        **BaseNetwork._parameter_constraints,
        "hidden_layer_sizes": ["array-like", Range(Integral, 1, None)],
        "activation": [StrOptions(set(activations.ACTIVATIONS)), activations.Activation, list, tuple],
        "dropout": [Range(Real, 0, 1), "array-like"],
        "input_dropout": [Range(Real, 0, 1)],
        "normalization": [StrOptions({"batch", "layer"}), None],
    }
    _not_with_adam = ("invscaling", "adaptive")  # as in scikit-learn, where "invscaling" would hardly let it learn

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _read(self, X, *, reset, **y):
        """X as rows that a backend reads, or (rows, y); sets or checks the number of features and their names."""
        if sparse.issparse(X):
            X = validation.sparse_rows(X)
        checked = validation.checked(self, X, **y, reset=reset)
        return (validation.as_rows(checked[0]), checked[1]) if y else validation.as_rows(checked)

    def _forms(self, network):
        return () if "feature_names_in_" in vars(self) else ((self.n_features_in_,),)

    def _build(self, X, n_outputs, multiclass):
        """Dense, normalisation and dropout for each hidden layer, and the output layer."""
        loss = get_loss(self.loss, self._kind)
        sizes = self._hidden_sizes()
        stack = [layers.Dropout(float(self.input_dropout))] if self.input_dropout else []
        activations, rates = self._hidden_activations(len(sizes)), self._dropout_rates(len(sizes))
        for units, activation, rate in zip(sizes, activations, rates, strict=True):
            stack.append(layers.Dense(units, activation=activation))
            if self.normalization:
                stack.append(layers.BatchNorm() if self.normalization == "batch" else layers.LayerNorm())
            if rate:
                stack.append(layers.Dropout(rate))
        stack.append(layers.Dense(n_outputs, activation="identity"))
        return Network(X.shape[1:], tuple(stack), loss, loss.output_activation(multiclass))

    def _hidden_sizes(self):
        given = self.hidden_layer_sizes
        sizes = list(given) if np.iterable(given) else [given]
        for size in sizes:
            if not isinstance(size, (int, np.integer)) or isinstance(size, bool):
                raise ValueError(
                    f"hidden_layer_sizes must hold whole numbers, one for each hidden layer, got {shown(size)} in "
                    f"{shown(given)}"
                )
        if any(size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {shown(sizes)}.")
        if any(size > MOST for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be <= {MOST}, got {shown(sizes)}")
        return tuple(int(size) for size in sizes)

    def _hidden_activations(self, n_hidden):
        """One activation spec for each hidden layer."""
        given, name = self.activation, type(self).__name__
        if isinstance(given, (list, tuple)):
            if len(given) != n_hidden:
                raise ValueError(
                    f"{name}: activation has {len(given)} entries for {n_hidden} hidden layers; "
                    "give one for each hidden layer, or a single one for all"
                )
            return tuple(get_activation(a, where=f"{name}: activation[{i}]") for i, a in enumerate(given))
        return (get_activation(given, where=f"{name}: activation"),) * n_hidden

    def _dropout_rates(self, n_hidden):
        """One dropout rate for each hidden layer."""
        given, name = self.dropout, type(self).__name__
        try:
            rates = tuple(map(float, given)) if np.iterable(given) else (float(given),) * n_hidden
        except (TypeError, ValueError, OverflowError):
            raise ValueError(
                f"{name}: dropout must be a number, or one for each hidden layer, got {shown(given)}"
            ) from None
        if len(rates) != n_hidden:
            raise ValueError(
                f"{name}: dropout has {len(rates)} entries for {n_hidden} hidden layers; "
                "give one for each hidden layer, or a single number for all"
            )
        if not all(0 <= rate < 1 for rate in rates):
            raise ValueError(f"{name}: dropout must lie in [0, 1), got {shown(given)}")
        return rates

    @property
    def _auto_activation(self):
        return "relu" if isinstance(self.activation, (list, tuple)) else get_activation(self.activation).name

    def _fitted_network(self):
        """The network with dense layers of the sizes that `coefs_` has now: a user may have cut neurons out of it."""
        network, dense = self._network, [layer for layer in self._network.layers if isinstance(layer, layers.Dense)]
        coefs = [networks.numbers(coef, f"coefs_[{i}]") for i, coef in enumerate(networks.arrays(self, "coefs_"))]
        if len(coefs) != len(dense):
            raise ValueError(f"coefs_ holds {len(coefs)} arrays, but the network has {len(dense)} dense layers")
        for i, coef in enumerate(coefs):
            inputs, units = self.n_features_in_ if i == 0 else None, self.n_outputs_ if i + 1 == len(coefs) else None
            fits = coef.ndim == 2 and coef.size > 0
            if not fits or inputs not in (None, coef.shape[0]) or units not in (None, coef.shape[1]):
                expected = f"({inputs or 'inputs'}, {units or 'units'})"
                raise ValueError(f"coefs_[{i}]: expected shape {expected}, got {coef.shape}")
        features, *units = (coefs[0].shape[0], *(coef.shape[1] for coef in coefs))
        if (features,) == network.input_shape and units == [layer.units for layer in dense]:
            return network
        sizes = iter(units)
        stack = tuple(
            replace(layer, units=next(sizes)) if isinstance(layer, layers.Dense) else layer for layer in network.layers
        )
        return replace(network, input_shape=(features,), layers=stack)


@documented
class MLPClassifier(ClassifierTargets, BaseMLP):
    """Multi-layer perceptron classifier.

    Takes the parameters of scikit-learn's class of the same name with the same meaning, then its own. Trains on dense
    and CSR data, on binary, multiclass and multilabel targets.

    See Also
    --------
    MLPRegressor : The same network for numbers.
    ConvNet : Convolutional networks for images and signals.
    fastnn.check_gradient : Compares backpropagation with finite differences.

    Examples
    --------
    >>> from fastnn import MLPClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier((10,), solver="lbfgs", alpha=1.0, max_iter=1000, random_state=0).fit(X, y)
    >>> clf.predict(X[:2])
    array([0, 0])
    >>> clf.score(X, y) > 0.95
    True
    """

    _parameter_constraints: dict = {**BaseMLP._parameter_constraints, **ClassifierTargets._parameter_constraints}

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        loss="log_loss",
        class_weight=None,
        label_smoothing=0.0,
        l1_ratio=0.0,
        dropout=0.0,
        input_dropout=0.0,
        normalization=None,
        init="auto",
        clip_norm=None,
        clip_value=None,
        weight_decay=0.01,
        rho=0.9,
        precision="auto",
        backend="native",
        n_jobs=None,
        scoring=None,
        epoch_callback=None,
    ):
        parameters = locals()
        del parameters["self"]
        vars(self).update(parameters)


@documented
class MLPRegressor(RegressorTargets, BaseMLP):
    """Multi-layer perceptron regressor.

    Takes the parameters of scikit-learn's class of the same name with the same meaning, then its own. Trains on dense
    and CSR data, on one or several outputs.

    See Also
    --------
    MLPClassifier : The same network for classes.
    ConvNetRegressor : Convolutional networks for images and signals.
    fastnn.check_gradient : Compares backpropagation with finite differences.

    Examples
    --------
    >>> from fastnn import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(n_samples=100, n_features=3, random_state=0)
    >>> reg = MLPRegressor(solver="lbfgs", max_iter=500, tol=0.1, random_state=0).fit(X, y)
    >>> reg.score(X, y) > 0.99
    True
    """

    _parameter_constraints: dict = {**BaseMLP._parameter_constraints, **RegressorTargets._parameter_constraints}

    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        l1_ratio=0.0,
        dropout=0.0,
        input_dropout=0.0,
        normalization=None,
        init="auto",
        clip_norm=None,
        clip_value=None,
        weight_decay=0.01,
        rho=0.9,
        precision="auto",
        backend="native",
        n_jobs=None,
        scoring=None,
        epoch_callback=None,
    ):
        parameters = locals()
        del parameters["self"]
        vars(self).update(parameters)
