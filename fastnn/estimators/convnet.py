"""The convolutional networks: images and signals."""

from math import prod
from numbers import Integral, Real

from sklearn.utils._param_validation import StrOptions

from fastnn.augment import get_augmentations
from fastnn.estimators import images
from fastnn.estimators.architecture import default_layers
from fastnn.estimators.base import BaseNetwork
from fastnn.estimators.documentation import documented
from fastnn.estimators.targets import ClassifierTargets, RegressorTargets
from fastnn.estimators.validation import Range
from fastnn.layers import Dense, Dropout, check_layers
from fastnn.losses import get_loss
from fastnn.lower import Network
from fastnn.spec import shown


class BaseConvNet(BaseNetwork):
    """Base of ConvNet and ConvNetRegressor: reads images and signals, builds the layers it is given.

    Parameters
    ----------
    layers : list of layers or None, default=None
        Specs from ``fastnn.layers`` from input to output, such as ``[Conv2D(32, 3), MaxPool2D(2), Dropout(0.5)]``; the
        output layer is added. None chooses layers that suit the shape of X:
        ``fastnn.estimators.architecture.default_layers``, without their dropout where solver="lbfgs".

    input_shape : tuple of int or None, default=None
        Shape of a row: (height, width, channels), (height, width) or (time, channels). Needed where X is flat, except
        for signals of one channel. None: what X is like in the first fit.

    scale : "auto" or float, default="auto"
        What every X is multiplied with. "auto" is 1 / 255 if X is of type uint8 in the first fit, else 1; it warns
        where the first X was not of type uint8 and a later one is. Tokens, for an Embedding, stay as they are.

    augment : list of augmentations or None, default=None
        Random changes of the rows in training, by name or as specs: ``["horizontal_flip", Shift(2), Rotate(10)]``; see
        ``fastnn.augment``. Never applied to held-out rows, nor in predictions.

    init : str or initialiser spec, default="auto"
        Initial weights of the layers that have no `init` of their own: "auto" (scikit-learn's rule), "zeros", "normal",
        "uniform", "glorot_uniform", "glorot_normal", "lecun_uniform", "lecun_normal", "he_uniform", "he_normal",
        "orthogonal" or a spec from ``fastnn.initializers``. All but "auto" start with zero biases.

    precision : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        Type of weights and predictions; "auto" takes that of X in the first fit (float32 for float32 and uint8, else
        float64). "bfloat16" is float32 but for products of matrices and convolutions, whose operands are rounded to 8
        significant bits, in training and prediction; L-BFGS and :func:`check_gradient` do not round. Faster
        than float32 where the CPU has AMX or AVX512-BF16, elsewhere a little slower.

    Attributes
    ----------
    coefs_ : list of ndarray
        Weights of each layer that has some: (kernel height, kernel width, channels / groups, filters) of a Conv2D,
        (kernel size, channels / groups, filters) of a Conv1D, (n_inputs, n_units) of a Dense. Predictions use what is
        in these arrays, also after you change them.

    intercepts_ : list of ndarray of shape (filters,) or (n_units,)
        Biases of each of these layers, None for one without.

    scales_, shifts_ : list of ndarray of shape (n_channels,)
        With normalisation: what the normalised values of each such layer are multiplied with, and what is added.

    running_means_, running_variances_ : list of ndarray of shape (n_channels,)
        With batch normalisation: the statistics that predictions use; None for a layer that normalises otherwise.

    input_shape_ : tuple of int
        Shape of a row, (height, width, channels) or (time, channels).

    scale_ : float
        What X is multiplied with.

    n_features_in_ : int
        Numbers in a row.

    Notes
    -----
    X may have the shape (n, height, width, channels), (n, height, width) for one channel, (n, time, channels), or
    (n, features) with `input_shape`; without it a flat X holds signals of one channel. Of X with three axes, and of an
    `input_shape` with two, the first convolution or pool among `layers` tells images from signals; where there is none,
    up to 16 columns that are fewer than the rows are the channels of a signal, and all else is an image. Predictions
    take the rows in the same shape or flat.

    X of type uint8 is used as it is: no copy in floating point is made.
    """

    _parameter_constraints: dict = {
        **BaseNetwork._parameter_constraints,
        "layers": [list, tuple, None],
        "input_shape": ["array-like", Range(Integral, 1, None), None],
        "scale": [StrOptions({"auto"}), Range(Real, 0, None, "neither")],
        "augment": [list, tuple, None],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _given_layers(self):
        return () if self.layers is None else check_layers(self.layers, f"{type(self).__name__}: layers")

    def _read(self, X, *, reset, **y):
        """X as rows of shape `input_shape_`, or (rows, y); sets or checks that shape."""
        return images.read(self, X, reset=reset, **y)

    def _forms(self, network):
        shape = self.input_shape_
        if "feature_names_in_" in vars(self) or self._tokens is not None:
            return ()
        return (shape, (prod(shape),), *[shape[:-1]] * (shape[-1] == 1))

    def _types(self):
        return b"fd" if images.warns_of_bytes(self) else super()._types()

    def _build(self, X, n_outputs, multiclass):
        """The given layers or the default ones, and the output layer."""
        loss = get_loss(self.loss, self._kind)
        stack = (*self._stack(self.input_shape_), Dense(n_outputs, activation="identity"))
        augment = get_augmentations(self.augment, self.input_shape_, where=f"{type(self).__name__}: augment")
        network = Network(X.shape[1:], stack, loss, loss.output_activation(multiclass), self.scale_, augment)
        self._plan(network)
        return network

    def _stack(self, input_shape):
        if self.layers is not None:
            return self._given_layers()
        # L-BFGS needs the same loss in every evaluation.
        return tuple(
            layer
            for layer in default_layers(input_shape)
            if not (self.solver == "lbfgs" and isinstance(layer, Dropout))
        )

    def _check_continuation(self, network, weights):
        super()._check_continuation(network, weights)
        shape = images.check_input_shape(self)
        for name, kept, other in (
            ("scale", self.scale_, self.scale not in ("auto", self.scale_)),
            ("input_shape", self.input_shape_, shape and images.with_channels(self, shape) != self.input_shape_),
        ):
            if other:
                raise ValueError(
                    f"{type(self).__name__}: training cannot go on with {name}={shown(getattr(self, name))}, since the "
                    f"first fit had {kept}; keep to it, or start anew with fit and warm_start=False"
                )

    def _unfitted_network(self):
        shape = images.check_input_shape(self)
        if shape is None:
            return super()._unfitted_network()
        shape = images.with_channels(self, shape)
        network = Network(shape, self._stack(shape), get_loss(self.loss, self._kind))
        self._plan(network)
        return network


@documented
class ConvNet(ClassifierTargets, BaseConvNet):
    """Convolutional network that classifies images or signals.

    Builds any list of layers, or chooses them from the shape of X. Trains on binary, multiclass and multilabel targets
    with the parameters of :class:`MLPClassifier`.

    See Also
    --------
    ConvNetRegressor : The same network for numbers.
    MLPClassifier : Dense layers for tables.
    fastnn.check_gradient : Compares backpropagation with finite differences.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to document recognition.
    Wang, Yan and Oates (2017), Time series classification from scratch with deep neural networks.

    Examples
    --------
    >>> from fastnn import ConvNet
    >>> from fastnn.layers import Conv2D, MaxPool2D
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> net = ConvNet([Conv2D(16, 3, activation="relu"), MaxPool2D(2)], input_shape=(8, 8), scale=1 / 16,
    ...               learning_rate_init=0.01, tol=0.01, random_state=0).fit(X[:1000], y[:1000])
    >>> net.score(X[1000:], y[1000:]) > 0.9
    True
    >>> net.transform(X[:1], layer=0).shape
    (1, 6, 6, 16)
    """

    _parameter_constraints: dict = {**BaseConvNet._parameter_constraints, **ClassifierTargets._parameter_constraints}

    def __init__(
        self,
        layers=None,
        *,
        input_shape=None,
        scale="auto",
        augment=None,
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
class ConvNetRegressor(RegressorTargets, BaseConvNet):
    """Convolutional network that predicts numbers from images or signals.

    Builds any list of layers, or chooses them from the shape of X. Trains on one or several outputs with the parameters
    of :class:`MLPRegressor`.

    See Also
    --------
    ConvNet : The same network for classes.
    MLPRegressor : Dense layers for tables.
    fastnn.check_gradient : Compares backpropagation with finite differences.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to document recognition.
    Wang, Yan and Oates (2017), Time series classification from scratch with deep neural networks.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import ConvNetRegressor
    >>> t, speed = np.linspace(0, 10, 64), np.linspace(0.5, 3, 100)
    >>> X = np.sin(speed[:, np.newaxis] * t)
    >>> net = ConvNetRegressor(batch_size=20, learning_rate_init=0.003, tol=0.01, random_state=0).fit(X, speed)
    >>> net.score(X, speed) > 0.9
    True
    """

    _parameter_constraints: dict = {**BaseConvNet._parameter_constraints, **RegressorTargets._parameter_constraints}

    def __init__(
        self,
        layers=None,
        *,
        input_shape=None,
        scale="auto",
        augment=None,
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
        loss="squared_error",
        l1_ratio=0.0,
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
