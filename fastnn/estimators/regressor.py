"""The multi-layer perceptron that predicts numbers."""

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from fastnn.estimators.base import BaseMLP
from fastnn.losses import REGRESSOR_LOSSES, Loss, Poisson


class MLPRegressor(RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor.

    Takes the parameters of scikit-learn's class of the same name with the same meaning, then its own. Trains on dense
    and CSR data, on one or several outputs.

    Parameters
    ----------
    loss : {"squared_error", "absolute_error", "huber", "poisson", "quantile"} or loss spec, default="squared_error"
        Summed over outputs and averaged over rows. "squared_error" is half the squared error, "poisson" half the
        Poisson deviance with outputs exp(z) and y >= 0, "huber" has delta=1 and "quantile" q=0.5; for other numbers
        pass a spec such as ``fastnn.losses.Quantile(0.9)``.

    hidden_layer_sizes : array-like of int, or int, default=(100,)
        Units of each hidden layer, from input to output. An empty list means no hidden layer: linear or
        Poisson regression, depending on the loss.

    activation : str, activation spec or list of them, default="relu"
        Activation of the hidden layers, or one for each: "identity", "unit_step", "sign", "piecewise_linear",
        "logistic", "tanh", "relu", "leaky_relu", "rrelu", "softplus", "elu", "selu", "gelu", "silu", "mish",
        "hard_tanh", or a spec with numbers of its own such as ``fastnn.activations.LeakyReLU(0.1)``. "unit_step" and
        "sign" are flat; they are trained with the straight-through derivative (1 where abs(z) <= 1, else 0).

    solver : {"lbfgs", "gd", "sgd", "adagrad", "rmsprop", "adam", "adamw"}, default="adam"
        "gd" takes all rows in one step, "sgd" has momentum, "lbfgs" is the quasi-Newton method of
        :func:`scipy.optimize.minimize`, good for small data; it works in float64 inside.

    alpha : float, default=0.0001
        Strength of the penalty alpha * (l1_ratio * |W|_1 + (1 - l1_ratio) / 2 * |W|_2^2) / s on weights, not biases,
        where s is the sum of the sample weights of the batch (its number of rows without weights).

    batch_size : int or "auto", default="auto"
        Rows of a step; "auto" is min(200, n_samples). Not used by "gd" and "lbfgs".

    learning_rate : str or schedule spec, default="constant"
        "constant"; "invscaling": learning_rate_init / (rows seen by the last epoch's end + 1) ** power_t; "adaptive":
        divided by 5 whenever n_iter_no_change epochs pass without progress, until it is 1e-6 or less; "step",
        "exponential", "cosine", "one_cycle", "warm_up", or a spec from ``fastnn.schedules``. Works with every solver
        but "lbfgs". Schedules with an end ("cosine", "one_cycle") span max_iter epochs and start anew with each fit.

    learning_rate_init : float, default=0.001
        The rate the schedule scales.

    power_t : float, default=0.5
        Exponent of "invscaling".

    max_iter : int, default=200
        Most epochs (passes over the data); most iterations for "lbfgs".

    shuffle : bool, default=True
        Whether rows are reordered in each epoch. Has no effect where one batch holds all rows.

    random_state : int, RandomState instance or None, default=None
        Draws the initial weights (the same as scikit-learn's for the same seed) and a 64-bit seed, from which shuffles,
        masks and the validation split come. The seed is kept, so training that is continued goes on with its stream.

    tol : float, default=1e-4
        Least improvement of the training loss (of the validation score with early stopping) that counts as progress;
        for "lbfgs", the largest gradient component at which it stops.

    verbose : bool, int or "bar", default=False
        True prints a line an epoch. "bar" shows a progress bar on standard error, if that is a terminal, in fits that
        take more than a second.

    warm_start : bool, default=False
        Whether `fit` goes on from the last fit's weights. The optimiser's state is then kept, also in pickles, and a
        fit that is continued equals one that never stopped, bit for bit.

    momentum : float, default=0.9
        Of "sgd", in [0, 1].

    nesterovs_momentum : bool, default=True
        Whether "sgd" looks ahead.

    early_stopping : bool, default=False
        Whether to stop when the score on held-out rows makes no progress, and to keep the weights of the best score.
        The rows are `X_val` where given to `fit`, else `validation_fraction` of the data.
        Not used by "lbfgs".

    validation_fraction : float, default=0.1
        Share of rows set aside by early_stopping.

    beta_1, beta_2 : float, default=0.9 and 0.999
        Memories of "adam" and "adamw", in [0, 1).

    epsilon : float, default=1e-8
        Keeps the quotients of "adagrad", "rmsprop", "adam" and "adamw" finite.

    n_iter_no_change : int or inf, default=10
        Training stops when more than this many epochs in a row bring no progress.

    max_fun : int, default=15000
        Most loss evaluations of "lbfgs".

    l1_ratio : float, default=0.0
        Share of the 1-norm in the penalty, in [0, 1].

    dropout : float or list of float, default=0.0
        Share of hidden units dropped in training, for all hidden layers or for each.

    input_dropout : float, default=0.0
        Share of inputs dropped in training.

    normalization : {"batch", "layer"} or None, default=None
        Normalises the output of each hidden layer's activation over the batch or over the layer's units.

    init : str or initialiser spec, default="auto"
        Initial weights: "auto" (scikit-learn's), "zeros", "normal", "uniform", "glorot_uniform", "glorot_normal",
        "lecun_uniform", "lecun_normal", "he_uniform", "he_normal", "orthogonal" or a spec from
        ``fastnn.initializers``. All but "auto" start with zero biases.

    clip_norm : float or None, default=None
        Largest Euclidean norm of the gradient of all parameters together; longer ones are scaled down.

    clip_value : float or None, default=None
        Largest absolute value of each element of the gradient, after `clip_norm`.

    weight_decay : float, default=0.01
        Decoupled weight decay of "adamw".

    rho : float, default=0.9
        Memory of "rmsprop", in [0, 1).

    precision : {"auto", "float32", "float64"}, default="auto"
        Type of weights and predictions; "auto" takes that of X in the first fit (float64 unless X is float32).

    backend : {"native", "numpy"}, default="native"
        Compiled kernels, or the same plan in NumPy.

    n_jobs : int or None, default=None
        Most threads; None and -1 mean all cores. Small nets use fewer. Results do not depend on it.

    scoring : str, callable or None, default=None
        Score of the held-out rows, any scorer of scikit-learn; None means R^2.

    epoch_callback : callable or None, default=None
        Called after each epoch with a ``fastnn.estimators.callbacks.Epoch`` (number, loss, learning_rate, seconds,
        validation_loss, validation_score, and estimator, a fitted copy made on demand); training stops if it returns
        True. For scikit-learn's callbacks see `set_callbacks`.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_inputs, n_units)
        Weights of each layer. Predictions use what is in these arrays, also after you change them.

    intercepts_ : list of ndarray of shape (n_units,)
        Biases of each layer.

    scales_, shifts_ : list of ndarray of shape (n_units,)
        With normalization: what the normalised values of each hidden layer are multiplied with, and what is added.

    running_means_, running_variances_ : list of ndarray of shape (n_units,)
        With normalization="batch": the statistics that predictions use.

    loss_ : float
        Training loss, penalty included, of the last epoch.

    best_loss_ : float or None
        Lowest training loss; None with early stopping.

    loss_curve_ : list of float
        Training loss of each epoch, for every solver. Continued by warm starts and partial_fit.

    history_ : dict of str to list
        One entry an epoch: "loss", "seconds", "learning_rate" (of its last batch; not for "lbfgs") and, where rows are
        held out, "validation_loss" (without penalty) and "validation_score".

    validation_scores_ : list of float or None
        Scores of the held-out rows with early stopping.

    best_validation_score_ : float or None
        Their maximum.

    t_ : int
        Rows seen in training.

    n_iter_ : int
        Epochs (iterations) of the last fit.

    n_layers_ : int
        Layers, input and output included.

    n_outputs_ : int
        Units of the output layer.

    out_activation_ : str
        "identity", or "exp" for the Poisson loss.

    n_features_in_ : int
        Number of features seen in fit.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, if X had string names for all.

    See Also
    --------
    MLPClassifier : The same network for classes.
    fastnn.check_gradient : Compares backpropagation with finite differences.

    Notes
    -----
    With several outputs the squared error is summed over them, in the gradient (as in scikit-learn) and in the reported
    loss, where scikit-learn reports the mean.

    Without `warm_start` the optimiser's state is dropped after `fit`, so that a pickle is little larger than the
    weights; `partial_fit` on such an estimator starts with a fresh optimiser. After `partial_fit` the state is kept.

    Sample weights enter the loss and the validation score, not the statistics of normalization="batch".

    Ctrl-C ends a fit with a warning and leaves an estimator with the weights so far.

    References
    ----------
    Rumelhart, Hinton and Williams (1986), Learning representations by back-propagating errors.
    Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural networks.
    Kingma and Ba (2015), Adam: a method for stochastic optimization.

    Examples
    --------
    >>> from fastnn import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(n_samples=100, n_features=3, random_state=0)
    >>> reg = MLPRegressor(solver="lbfgs", max_iter=500, tol=0.1, random_state=0).fit(X, y)
    >>> reg.score(X, y) > 0.99
    True
    """

    _kind = "regressor"

    _parameter_constraints: dict = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(set(REGRESSOR_LOSSES)), Loss],
    }

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

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the model to X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data; sparse data is read as CSR and never made dense.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Target values.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss.

        X_val, y_val : as X and y, default=None
            Held-out rows whose loss and score `history_` records, and which early stopping goes by. In a Pipeline,
            ``transform_input=["X_val"]`` transforms X_val like X.

        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights.

        Returns
        -------
        self : MLPRegressor
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    @available_if(lambda estimator: estimator._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Train for one epoch on these rows, going on from the last call.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)

        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : MLPRegressor
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X):
        """Predict target values.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        y = self._outputs(X)
        return y if self.n_outputs_ > 1 else y.ravel()

    # ---- targets ----

    def _encode(self, y, reset, incremental):
        """(y, target): target values (n, n_outputs) in floating point."""
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        dtype = y.dtype if y.dtype in (np.float32, np.float64) else np.float64
        target = np.ascontiguousarray(y, dtype=dtype).reshape(len(y), -1)
        poisson = self.loss == "poisson" or isinstance(self.loss, Poisson)
        if poisson and (target < 0).any():
            raise ValueError(
                f"MLPRegressor: loss='poisson' expects y >= 0, got a minimum of {target.min():g}; "
                "choose another loss, such as 'squared_error'"
            )
        return y, target

    def _n_outputs(self, target):
        """(units of the output layer, whether exactly one of them is right)."""
        return target.shape[1], False

    def _score_outputs(self, outputs, rows, network):
        """R^2 of outputs on rows."""
        return r2_score(rows.target, outputs, sample_weight=rows.weight)
