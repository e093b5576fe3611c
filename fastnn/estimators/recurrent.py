"""The recurrent networks: sequences of any length."""

from dataclasses import replace

import numpy as np
from sklearn.utils.metaestimators import available_if

from fastnn.estimators import network as networks
from fastnn.estimators import sequences
from fastnn.estimators.base import BaseNetwork
from fastnn.estimators.documentation import documented
from fastnn.estimators.sequence_targets import SequenceTargets
from fastnn.estimators.sequences import Padded, Sequences, padded
from fastnn.estimators.targets import ClassifierTargets, RegressorTargets, has_probabilities
from fastnn.layers import GRU, Dense, TimeDistributed, check_layers
from fastnn.losses import get_loss
from fastnn.lower import Network


def default_layers(channels):
    """The layers of a network that is given none: a GRU with 4 units a channel, but at least 32 and at most 128."""
    return (GRU(min(max(32, 4 * channels), 128)),)


class BaseRecurrent(BaseNetwork):
    """Base of RecurrentClassifier and RecurrentRegressor: reads sequences, builds the layers it is given.

    Parameters
    ----------
    layers : list of layers or None, default=None
        Specs from ``fastnn.layers`` from input to output, such as ``[Bidirectional(LSTM(64, return_sequences=True)),
        GRU(32, recurrent_dropout=0.2)]``; the output layer is added. Where the last of them yields sequences, it is a
        dense layer at each step, and y has a target at each step. None is a GRU with 4 units a channel, at least 32
        and at most 128.

    epsilon : float, default=1e-7
        Number added to the denominator of "adam", "adamw", "rmsprop" and "adagrad". Gradients through many steps are
        small: where 1e-8 is all that is added, their rounding errors grow with every epoch.

    clip_norm : float or None, default=1.0
        Largest norm of the gradient of all weights together: long sequences make it explode now and then (Pascanu,
        Mikolov and Bengio, 2013). "lbfgs" does not clip and ignores the default.

    precision : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        Type of weights and predictions; "auto" takes that of X in the first fit (float64 unless X is float32), and
        float32 for tokens. "bfloat16" is float32 but for matrix products, whose operands are rounded to 8 significant
        bits, in training and prediction. Training also keeps gates and states in bfloat16 for their gradients, and
        takes gates from tables within 1e-3 where the CPU has AVX-512.

    Attributes
    ----------
    coefs_ : list of ndarray
        Weights of what comes into each layer that has some: (4, n_inputs, n_units) of an LSTM for the gates i, f, g, o,
        (3, n_inputs, n_units) of a GRU for r, z, n, (n_inputs, n_units) of a SimpleRNN or a Dense, (tokens, n_units) of
        an Embedding. Predictions use what is in these arrays, also after you change them.

    intercepts_ : list of ndarray
        Biases of each of these layers, (4, n_units), (3, n_units) or (n_units,); None for one without.

    recurrent_coefs_ : list of ndarray
        Weights of the last state in each of these layers, (4, n_units, n_units), (3, n_units, n_units) or
        (n_units, n_units); None for a layer without. There if a layer is recurrent.

    recurrent_intercepts_ : list of ndarray of shape (n_units,)
        Of each GRU, what its reset gate is multiplied with besides the product with the last state; None for other
        layers. There if a layer is a GRU.

    n_channels_ : int
        Numbers in a step of a sequence.

    n_features_in_ : int
        Columns of X in `fit` if it was a table, else channels.

    Notes
    -----
    X is a list of (time_i, channels) arrays of different lengths, an array (n, time, channels), with `lengths` where it
    is padded, or a table (n, time) whose rows are series of one channel. Where the first layer is an Embedding, X holds
    whole numbers: a list of (time_i,) arrays or an array (n, time). Both directions of a Bidirectional layer have
    places of their own in `coefs_` and the other lists, the forward one first.

    Predictions take sequences of any length, unless layers such as Flatten depend on it. They have the same bits alone
    and among others; a table must have the columns of the fit, series of other lengths are (n, time, 1).

    The loss of a sequence with a target at each step is the mean over its steps.

    References
    ----------
    Elman (1990), Finding structure in time.
    Hochreiter and Schmidhuber (1997), Long short-term memory.
    Cho et al. (2014), Learning phrase representations using RNN encoder-decoder for statistical machine translation.
    Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent neural networks.
    """

    _parameter_constraints: dict = {
        **BaseNetwork._parameter_constraints,
        "layers": [list, tuple, None],
    }
    _usual_clip_norm = 1.0

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    # ---- sequences ----

    def _sequences(self, X, *, reset):
        """X, with or without lengths, as Sequences."""
        if isinstance(X, Sequences):
            return X
        X, lengths = (X.X, X.lengths) if isinstance(X, Padded) else (X, None)
        if reset:
            self._tokens = sequences.tokens(self._given_layers())
        if self._tokens is None:
            return sequences.read(self, X, lengths, reset=reset)
        return sequences.read_tokens(self, X, lengths, self._tokens, reset=reset)

    def _read(self, X, *, reset, **y):
        """X packed (see ``sequences.Sequences.packed``), or (X, y)."""
        X = self._sequences(X, reset=reset).packed()
        return (X, self._check_y(y["y"], X)) if y else X

    @staticmethod
    def _as_given(X, y):
        return {"X": X.X, "y": y, "lengths": X.lengths} if isinstance(X, Padded) else {"X": X, "y": y}

    # ---- network ----

    def _given_layers(self):
        return () if self.layers is None else check_layers(self.layers, f"{type(self).__name__}: layers")

    def _stack(self):
        return default_layers(self.n_channels_) if self.layers is None else self._given_layers()

    def _ends_with_sequences(self, X):
        """Whether the layers without the output layer yield sequences for packed X."""
        shape, lengths = sequences.form(X, self.n_channels_)
        lowered = self._plan(Network(shape, self._stack(), get_loss(self.loss, self._kind), lengths=lengths))
        output = lowered.buffers[lowered.output].shape
        if len(output) == 2 and output[0] != shape[0]:
            raise ValueError(
                f"{type(self).__name__}: the layers turn {shape[0]} steps into {output[0]}; layers that end with a "
                "sequence must keep its steps, as convolutions with padding='same' do"
            )
        return len(output) == 2

    def _build(self, X, n_outputs, multiclass):
        """The given layers or the default ones, and the output layer."""
        loss = get_loss(self.loss, self._kind)
        shape, lengths = sequences.form(X, self.n_channels_)
        output = Dense(n_outputs, activation="identity")
        stack = (*self._stack(), TimeDistributed(output) if self._ends_with_sequences(X) else output)
        network = Network(shape, stack, loss, loss.output_activation(multiclass), lengths=lengths)
        self._plan(network)
        return network

    def _network_for(self, network, X):
        """The same network for as many steps as packed X has."""
        shape, lengths = sequences.form(X, self.n_channels_)
        if (shape, lengths) == (network.input_shape, network.lengths):
            return network
        other = replace(network, input_shape=shape, lengths=lengths)
        plans = self._plan(network), self._plan(other)
        shapes, wanted = ({name: p.buffers[name].shape for name in p.parameters + p.statistics} for p in plans)
        if shapes != wanted:
            raise ValueError(
                f"{type(self).__name__}: the layers depend on the number of steps: they have weights for "
                f"{network.input_shape[0]}, X has {shape[0]}; end with LastStep(), GlobalAvgPool() or GlobalMaxPool() "
                "instead of Flatten(), or give all sequences the same length"
            )
        return other

    # ---- prediction ----

    def _yields_sequences(self, part):
        """Whether the fitted network, or a part of it, yields sequences; False before the fit."""
        if not self.__sklearn_is_fitted__():
            return False
        if not isinstance(part, int):
            return isinstance(self._network.layers[-1], TimeDistributed)
        lowered = networks.plan(self._network_of(part), "predict")
        return len(lowered.buffers[lowered.output].shape) == 2

    def _read_outputs(self, X, part, both):
        """Outputs of each sequence; where they are sequences, of all steps one after another."""
        outputs = self._each_output(self._sequences(X, reset=False), part, both)
        return np.concatenate(outputs) if self._yields_sequences(part) else np.stack(outputs)

    def _each_output(self, read, part, both=False):
        """The output of each of the Sequences in a list, of a sequence without padding."""
        outputs = [None] * len(read)
        for index in read.groups():
            X = read.packed(index)
            Y = self._ready(part, X).outputs(X, both)
            ends = sequences.steps(X) if X.ndim == 2 and Y.ndim == 3 else [None] * len(Y)
            for i, y, end in zip(index, Y, ends, strict=True):
                outputs[i] = y if end is None else y[:end]
        return outputs

    def _forms(self, network):
        if network.lengths or "feature_names_in_" in vars(self) or self._yields_sequences(None):
            return ()
        if self._tokens is not None:
            return ()
        time, channels = network.input_shape
        is_table = channels == 1 and (not self._reads_table or time == self.n_features_in_)
        return ((time, channels), *[(time,)] * is_table)


@documented
class RecurrentClassifier(SequenceTargets, ClassifierTargets, BaseRecurrent):
    """Recurrent network that classifies sequences, or each step of them.

    Builds any list of layers, by default a GRU. Trains on binary, multiclass and multilabel targets with the parameters
    of :class:`MLPClassifier`.

    See Also
    --------
    RecurrentRegressor : The same network for numbers.
    ESNClassifier : A recurrent network whose recurrence is not trained: faster, for small data.
    ConvNet : Convolutional networks for signals of one length.
    fastnn.check_gradient : Compares backpropagation with finite differences.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import RecurrentClassifier
    >>> random = np.random.default_rng(0)
    >>> speed = random.integers(1, 4, 60)
    >>> X = [np.sin(v * np.arange(random.integers(20, 40)) / 5)[:, np.newaxis] for v in speed]
    >>> clf = RecurrentClassifier(learning_rate_init=0.02, batch_size=20, max_iter=100, tol=0.01, random_state=0)
    >>> clf.fit(X[:40], speed[:40]).score(X[40:], speed[40:])
    1.0
    """

    _parameter_constraints: dict = {**BaseRecurrent._parameter_constraints, **ClassifierTargets._parameter_constraints}

    def __init__(
        self,
        layers=None,
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
        epsilon=1e-7,
        n_iter_no_change=10,
        max_fun=15000,
        loss="log_loss",
        class_weight=None,
        label_smoothing=0.0,
        l1_ratio=0.0,
        init="auto",
        clip_norm=1.0,
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

    @available_if(lambda estimator: estimator._check_solver())
    def partial_fit(self, X, y, sample_weight=None, classes=None, *, lengths=None):
        """Train for one epoch on these sequences, going on from the last call.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As in `fit`.

        classes : array-like of shape (n_classes,), default=None
            All class labels there will ever be; needed in the first call only.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return super().partial_fit(padded(X, lengths), y, sample_weight, classes)

    @available_if(has_probabilities)
    def predict_proba(self, X, lengths=None):
        """Predict the probability of each class.

        Parameters
        ----------
        X : list of ndarray of shape (time_i, channels), or array-like of shape (n, time, channels) or (n, time)

        lengths : array-like of shape (n,), default=None
            Steps of each sequence in a padded array.

        Returns
        -------
        P : ndarray of shape (n, n_classes)
            In the order of `classes_`; for multilabel targets the probability of each label. Where there is a target at
            each step, in the form of X: a list of arrays (time_i, n_classes), or an array (n, time, n_classes).
        """
        return self._in_form(super().predict_proba, X, lengths)

    @available_if(has_probabilities)
    def predict_log_proba(self, X, lengths=None):
        """Predict the logarithm of the probability of each class.

        The logarithm of `predict_proba`, except that it stays finite where a probability rounds to 0.

        Parameters
        ----------
        X, lengths
            As in `predict_proba`.

        Returns
        -------
        log_P : ndarray of shape (n, n_classes)
            Where there is a target at each step, in the form of X.
        """
        return self._in_form(super().predict_log_proba, X, lengths)

    def decision_function(self, X, lengths=None):
        """Outputs of the last layer before softmax or logistic function.

        Parameters
        ----------
        X, lengths
            As in `predict`.

        Returns
        -------
        z : ndarray of shape (n,) or (n, n_outputs)
            One number for two classes, positive for ``classes_[1]``; else one a class or label. Where there is a target
            at each step, in the form of X.
        """
        return self._in_form(super().decision_function, X, lengths)


@documented
class RecurrentRegressor(SequenceTargets, RegressorTargets, BaseRecurrent):
    """Recurrent network that predicts numbers from sequences, or from each step of them.

    Builds any list of layers, by default a GRU. Trains on one or several outputs with the parameters of
    :class:`MLPRegressor`.

    See Also
    --------
    RecurrentClassifier : The same network for classes.
    ESNRegressor : A recurrent network whose recurrence is not trained: faster, and it forecasts.
    SlidingWindow : Windows of a series, for any regressor.
    fastnn.check_gradient : Compares backpropagation with finite differences.

    Examples
    --------
    The next value of a series, at each step:

    >>> import numpy as np
    >>> from fastnn import RecurrentRegressor
    >>> from fastnn.layers import GRU
    >>> x = np.sin(np.linspace(0, 6, 50) + np.arange(40)[:, np.newaxis])[:, :, np.newaxis]
    >>> net = RecurrentRegressor([GRU(16, return_sequences=True)], learning_rate_init=0.02, batch_size=10, max_iter=60,
    ...                          tol=0.001, random_state=0)
    >>> net.fit(x[:30, :-1], x[:30, 1:, 0]).score(x[30:, :-1], x[30:, 1:, 0]) > 0.99
    True
    """

    _parameter_constraints: dict = {**BaseRecurrent._parameter_constraints, **RegressorTargets._parameter_constraints}

    def __init__(
        self,
        layers=None,
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
        epsilon=1e-7,
        n_iter_no_change=10,
        max_fun=15000,
        loss="squared_error",
        l1_ratio=0.0,
        init="auto",
        clip_norm=1.0,
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

    @available_if(lambda estimator: estimator._check_solver())
    def partial_fit(self, X, y, sample_weight=None, *, lengths=None):
        """Train for one epoch on these sequences, going on from the last call.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As in `fit`.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return super().partial_fit(padded(X, lengths), y, sample_weight)
