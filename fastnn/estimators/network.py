"""From an estimator's parameters to layer specs and plans, and between weights by name and `coefs_`, `intercepts_`."""

import functools
from dataclasses import replace

import numpy as np

from fastnn import layers, optimizers
from fastnn.activations import RReLU, get_activation
from fastnn.initializers import get_initializer
from fastnn.losses import get_loss
from fastnn.lower import Network, lower
from fastnn.schedules import InverseScaling, get_schedule

CHUNK = 1024  # rows a backend works on at a time: enough for full speed, few enough for the cache

# Lowering costs as much as a small prediction, and specs are hashable.
plan = functools.lru_cache(maxsize=256)(lower)


def capacity(batch_size, whole_batch):
    """Rows of a chunk: the whole batch where an op mixes its rows."""
    return int(batch_size) if whole_batch else min(int(batch_size), CHUNK)


def prediction_capacity(n_rows):
    """Rows of a chunk where nothing is learnt: a power of two, so that few layouts serve all sizes of X."""
    return min(1 << (n_rows - 1).bit_length(), CHUNK)


def hidden_activations(estimator, n_hidden):
    """One activation spec for each hidden layer."""
    given = estimator.activation
    name = type(estimator).__name__
    if isinstance(given, (list, tuple)):
        if len(given) != n_hidden:
            raise ValueError(
                f"{name}: activation has {len(given)} entries for {n_hidden} hidden layers; "
                "give one for each hidden layer, or a single one for all"
            )
        return tuple(get_activation(a, where=f"{name}: activation[{i}]") for i, a in enumerate(given))
    return (get_activation(given, where=f"{name}: activation"),) * n_hidden


def dropout_rates(estimator, n_hidden):
    """One dropout rate for each hidden layer."""
    given, name = estimator.dropout, type(estimator).__name__
    if np.ndim(given) == 0:
        return (float(given),) * n_hidden
    rates = tuple(float(rate) for rate in given)
    if len(rates) != n_hidden:
        raise ValueError(
            f"{name}: dropout has {len(rates)} entries for {n_hidden} hidden layers; "
            "give one for each hidden layer, or a single number for all"
        )
    if not all(0 <= rate < 1 for rate in rates):
        raise ValueError(f"{name}: dropout must lie in [0, 1), got {list(rates)}")
    return rates


def build(estimator, n_features, hidden_sizes, n_outputs, multiclass):
    """The network an estimator's parameters describe: dense, normalisation and dropout for each hidden layer."""
    loss = get_loss(estimator.loss, estimator._kind)
    activations = hidden_activations(estimator, len(hidden_sizes))
    rates = dropout_rates(estimator, len(hidden_sizes))
    init = get_initializer(estimator.init, where=f"{type(estimator).__name__}: init")
    stack = [layers.Dropout(float(estimator.input_dropout))] if estimator.input_dropout else []
    for units, activation, rate in zip(hidden_sizes, activations, rates, strict=True):
        stack.append(layers.Dense(units, activation=activation, init=init))
        if estimator.normalization == "batch":
            # L-BFGS sees all rows in every evaluation: the last one's statistics are exactly those of its result.
            stack.append(layers.BatchNorm(momentum=1.0) if estimator.solver == "lbfgs" else layers.BatchNorm())
        elif estimator.normalization == "layer":
            stack.append(layers.LayerNorm())
        if rate:
            stack.append(layers.Dropout(rate))
    stack.append(layers.Dense(n_outputs, activation="identity", init=init))
    return Network(n_features, tuple(stack), loss, loss.output_activation(multiclass))


def dense_layers(network):
    """The dense layers of a network, in order."""
    return [layer for layer in network.layers if isinstance(layer, layers.Dense)]


def is_random(network):
    """Whether training draws masks or slopes, so that the loss is not a function of the weights alone."""
    drops = any(isinstance(layer, layers.Dropout) and layer.rate for layer in network.layers)
    return drops or any(isinstance(layer.activation, RReLU) for layer in dense_layers(network))


def mixes_rows(network):
    """Whether a layer needs all rows of a batch at once."""
    return any(isinstance(layer, layers.BatchNorm) for layer in network.layers)


def linear_output(network):
    """The same network without its output activation."""
    return replace(network, output_activation="identity")


def resized(network, n_features, units):
    """The same network with dense layers of other sizes: what remains after a user has cut neurons out of `coefs_`."""
    dense = dense_layers(network)
    if n_features == network.features and list(units) == [layer.units for layer in dense]:
        return network
    if len(units) != len(dense):
        raise ValueError(f"coefs_ holds {len(units)} arrays, but the network has {len(dense)} dense layers")
    sizes = iter(units)
    stack = tuple(
        replace(layer, units=int(next(sizes))) if isinstance(layer, layers.Dense) else layer for layer in network.layers
    )
    return replace(network, features=int(n_features), layers=stack)


def initial_weights(estimator, network, random_state):
    """Starting weights by name: dense layers from their initialiser, in scikit-learn's order of draws."""
    weights, n_in = {}, network.features
    dense = dense_layers(network)
    common = estimator.activation
    for i, layer in enumerate(dense):
        if i < len(dense) - 1:
            activation = layer.activation.name
        elif len(dense) > 1:
            activation = dense[-2].activation.name
        else:
            activation = "relu" if isinstance(common, (list, tuple)) else get_activation(common).name
        W, b = get_initializer(layer.init).draw(random_state, n_in, layer.units, activation)
        weights[f"dense{i}.W"], weights[f"dense{i}.b"] = W, b
        n_in = layer.units
    lowered = plan(network, "predict")
    for name, value in lowered.initial.items():
        weights[name] = np.full(lowered.buffers[name].shape, value)
    return weights


# Attribute of the estimator -> names of its arrays. The last four exist with normalisation only.
ATTRIBUTES = {
    "coefs_": "dense{}.W",
    "intercepts_": "dense{}.b",
    "scales_": "norm{}.gamma",
    "shifts_": "norm{}.beta",
    "running_means_": "norm{}.running_mean",
    "running_variances_": "norm{}.running_var",
}


def public_name(name):
    """What a user calls the array that a plan calls "dense0.W": "coefs_[0]"."""
    for attribute, pattern in ATTRIBUTES.items():
        prefix, suffix = pattern.split("{}")
        if name.startswith(prefix) and name.endswith(suffix):
            return f"{attribute}[{name[len(prefix) : -len(suffix)]}]"
    return name


def to_attributes(weights, dtype):
    """Fitted attributes, lists of arrays, from weights by name."""
    attributes = {}
    for attribute, pattern in ATTRIBUTES.items():
        arrays = []
        while (name := pattern.format(len(arrays))) in weights:
            arrays.append(weights[name].astype(dtype, copy=False))
        if arrays:
            attributes[attribute] = arrays
    return attributes


def from_attributes(estimator):
    """Weights by name from the fitted attributes as they are now."""
    return {
        pattern.format(i): np.asarray(array)
        for attribute, pattern in ATTRIBUTES.items()
        for i, array in enumerate(getattr(estimator, attribute, ()))
    }


def load(runner, lowered, weights):
    """Puts weights into a runner, each checked against the shape the plan expects."""
    for name in lowered.parameters + lowered.statistics:
        shape, array = lowered.buffers[name].shape, weights.get(name)
        if array is None or array.shape != shape:
            came = "nothing" if array is None else f"shape {array.shape}"
            raise ValueError(
                f"{public_name(name)}: expected shape {shape}, got {came}; coefs_ and intercepts_ must fit each other"
            )
        runner.set(name, array)


def optimizer(estimator):
    """The optimiser spec of a first-order solver."""
    e = estimator
    return {
        "gd": lambda: optimizers.GradientDescent(),
        "sgd": lambda: optimizers.SGD(e.momentum, e.nesterovs_momentum and e.momentum > 0),
        "adagrad": lambda: optimizers.AdaGrad(e.epsilon),
        "rmsprop": lambda: optimizers.RMSProp(e.rho, e.epsilon),
        "adam": lambda: optimizers.Adam(e.beta_1, e.beta_2, e.epsilon),
        "adamw": lambda: optimizers.AdamW(e.beta_1, e.beta_2, e.epsilon, e.weight_decay),
    }[e.solver]()


def schedule(estimator):
    """The schedule spec; "invscaling" takes its power from `power_t`."""
    if estimator.learning_rate == "invscaling":
        return InverseScaling(estimator.power_t)
    return get_schedule(estimator.learning_rate, where=f"{type(estimator).__name__}: learning_rate")
