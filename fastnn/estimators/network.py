"""From an estimator's parameters to layer specs and plans, and between weights by name and `coefs_`, `intercepts_`."""

import functools
from dataclasses import replace

import numpy as np

from fastnn import memory, optimizers, training
from fastnn.activations import RReLU, Sign, UnitStep, get_activation
from fastnn.initializers import INITIALIZERS
from fastnn.layers import BatchNorm, Dropout, Residual, all_layers
from fastnn.lower import lower
from fastnn.ops.recurrent import CELLS
from fastnn.schedules import Constant, InverseScaling, get_schedule
from fastnn.spec import shown

CHUNK = 1024  # rows a backend works on at a time: enough for full speed, few enough for the cache
TRAINING_BYTES = 64 << 20  # and bytes of their activations and gradients,
CACHE_BYTES = 2 << 20  # or, of recurrent networks, for each thread, but at least for two,
CACHE_ROWS = 32  # in multiples of so many rows,
PREDICTION_BYTES = 4 << 20  # or of their activations alone, for each thread, but where the weights take more,
WEIGHTS_BYTES = 64 << 20  # as many bytes, up to these,
WEIGHTS_ROWS = 64  # for at most so many rows: each chunk goes through all weights
# batch_size="auto" where a batch runs in one piece, with batch norm:
BATCH_BYTES = 1 << 30  # at most so many bytes of activations and gradients,
ENOUGH_ROWS = 16  # but so many rows, for statistics that mean something

LBFGS_STEPS = 10  # whose length and change of gradient scipy's L-BFGS keeps, in float64

# Lowering costs as much as a small prediction, and specs are hashable.
plan = functools.lru_cache(maxsize=256)(lower)


def cpu_options(network, backend):
    """The arguments of `plan` by which a plan suits the CPU."""
    return {"products": training.runner_class(backend).products()} if network.precision == "bfloat16" else {}


def row_bytes(lowered, dtype):
    """Bytes that a row of a chunk takes in all batch buffers of a plan together."""
    return max(1, int(lowered.row_size * dtype.itemsize))


def training_capacity(lowered, batch_size, dtype, n_threads=1):
    """Rows of a chunk in training: the whole batch where an op mixes its rows, else what fits into memory.

    The gates of a recurrent network are many numbers, which go forward, back and into the weights' gradients: rows
    whose numbers stay in the cache are trained up to a quarter faster. Its bits do not depend on the chunks, since sums
    go on where the last chunk left them, in parts of the batch; products of bfloat16 add up to 32 rows at once. Sums
    over parts of a chunk would.
    """
    if lowered.needs_whole_batch:
        return int(batch_size)
    rows = max(1, min(int(batch_size), CHUNK, TRAINING_BYTES // row_bytes(lowered, dtype)))
    if not any(op.kind in CELLS for op in lowered.step):
        return rows
    of_batch = all(op.split != "parts" or "part_rows" in op.attributes for op in lowered.ops)
    cached = max(2, n_threads) * CACHE_BYTES // row_bytes(lowered, dtype) // CACHE_ROWS * CACHE_ROWS
    return min(rows, cached) if of_batch and cached else rows


def batch_bytes(lowered, rows, dtype, shared=True):
    """Bytes of all batch buffers of a plan; with `shared`, those that are never alive together lie in one place."""
    if not shared:
        return rows * row_bytes(lowered, dtype)
    batch = [buffer for buffer in lowered.buffers.values() if buffer.role in ("batch", "row")]
    sizes = {buffer.name: rows * buffer.size * dtype.itemsize for buffer in batch}
    return memory.allocate(sizes, memory.lifetimes(lowered.step + lowered.update, "phase"))[1]


def bounded_batch_size(lowered, batch_size, dtype):
    """The rows of a batch that runs in one piece: fewer than `batch_size` where these took more than BATCH_BYTES."""
    most = BATCH_BYTES * batch_size // max(1, batch_bytes(lowered, batch_size, dtype))
    return min(batch_size, max(ENOUGH_ROWS, most))


def check_room(estimator, network, dtype):
    """Refuses weights that have no room in training, before any are drawn."""
    lowered = plan(network, "predict")
    size = sum(lowered.buffers[name].size for name in lowered.parameters + lowered.statistics)
    if estimator.solver == "lbfgs":
        needed = 2 * LBFGS_STEPS * 8 * size
    else:
        needed = (2 + optimizer(estimator).n_states) * dtype.itemsize * size  # as drawn, in training, and its memory
    what = f"{type(estimator).__name__}: {size:,} weights take, with what solver={estimator.solver!r} keeps of each,"
    memory.check(needed, what, "choose fewer units or filters")


def prediction_capacity(lowered, n_rows, dtype):
    """Rows of a chunk where nothing is learnt: a power of two, so that few layouts serve all sizes of X."""
    row = row_bytes(lowered, dtype)
    weights = sum(lowered.buffers[name].size for name in lowered.parameters) * dtype.itemsize
    worthwhile = min(WEIGHTS_ROWS, min(WEIGHTS_BYTES, weights) // row)
    most = max(1, worthwhile, min(CHUNK, PREDICTION_BYTES // row))
    return min(1 << (n_rows - 1).bit_length(), 1 << (most.bit_length() - 1))


def activations(network):
    """The activation specs of all layers that have one."""
    return [get_activation(layer.activation) for layer in all_layers(network.layers) if hasattr(layer, "activation")]


def is_random(network):
    """Whether training draws masks, slopes or changes of X, so that the loss is not a function of the weights alone."""
    layers = list(all_layers(network.layers))
    drops = any(isinstance(layer, Dropout) and layer.rate for layer in layers)
    drops = drops or any(getattr(layer, "dropout", 0) or getattr(layer, "recurrent_dropout", 0) for layer in layers)
    return drops or bool(network.augment) or any(isinstance(activation, RReLU) for activation in activations(network))


def inexact_gradient(network):
    """What makes gradients other than those of the loss and what to take instead, in words, or None."""
    for activation in activations(network):
        if isinstance(activation, (Sign, UnitStep)):
            return f"{activation.name!r} is flat and trains with a straight-through derivative", "'tanh' in its place"
    for layer in all_layers(network.layers):
        truncate = getattr(layer, "truncate", None)
        if truncate is not None:
            return f"{type(layer).__name__} has truncate={truncate}, a gradient that is cut short", "truncate=None"
    return None


def linear_output(network):
    """The same network without its output activation."""
    return replace(network, output_activation="identity")


def first_layers(network, n):
    """The network that ends after n of its layers; only all of them have an output activation."""
    if n == len(network.layers):
        return network
    return replace(network, layers=network.layers[:n], output_activation="identity")


def remember_last_batch(network):
    """The same network with batch norms that predict with the statistics of the last batch.

    L-BFGS sees all rows in every evaluation: the last one's statistics are exactly those of its result.
    """

    def changed(layer):
        if isinstance(layer, BatchNorm):
            return replace(layer, momentum=1.0)
        if isinstance(layer, Residual):
            return replace(
                layer, layers=tuple(map(changed, layer.layers)), shortcut=tuple(map(changed, layer.shortcut))
            )
        return layer

    return replace(network, layers=tuple(map(changed, network.layers)))


def initial_weights(network, random_state, init, activation):
    """Starting weights by name, drawn layer by layer as scikit-learn does, by `init` where a layer has none of its own.

    init="auto" goes by each layer's activation; the output layer has none and takes that of the layer before it, or
    `activation` where there is no other layer with weights.
    """
    lowered = plan(network, "predict")
    weights = {name: np.full(lowered.buffers[name].shape, value) for name, value in lowered.initial.items()}
    names = attribute_names(network)
    weighty = [layer for layer in all_layers(network.layers) if hasattr(layer, "starting_weights")]
    columns = (names.get(attribute, (None,) * len(weighty)) for attribute in ATTRIBUTES[0].values())
    for layer, W, b, U, d in zip(weighty, *columns, strict=True):
        activation = activation if layer is weighty[-1] else get_activation(getattr(layer, "activation", "tanh")).name
        weights[W], start = layer.starting_weights(random_state, lowered.buffers[W].shape, activation, init)
        if b is not None:
            weights[b] = start
        if U is not None:
            weights[U] = layer.starting_recurrence(random_state, lowered.buffers[U].shape)
        if d is not None:
            weights[d] = np.zeros(lowered.buffers[d].shape)
    return weights


def draws_anew(network, init):
    """Whether starting weights are arrays that nobody else has, as an initialiser of the user's own might."""
    layers = all_layers(network.layers)
    given = [init, *(getattr(layer, name, "auto") for layer in layers for name in ("init", "recurrent_init"))]
    return all(spec is None or isinstance(spec, str) or type(spec) in INITIALIZERS.values() for spec in given)


# Of each kind of layer that has arrays: their names in a plan, and the fitted attributes that list them.
ATTRIBUTES = (
    {"W": "coefs_", "b": "intercepts_", "U": "recurrent_coefs_", "d": "recurrent_intercepts_"},
    {
        "gamma": "scales_",
        "beta": "shifts_",
        "running_mean": "running_means_",
        "running_var": "running_variances_",
    },
)


@functools.lru_cache(maxsize=256)
def attribute_names(network):
    """Fitted attribute -> names of its arrays in a plan, layer by layer; None for a layer that has no such array.

    {"coefs_": ("conv0.W", "dense1.W"), "intercepts_": (None, "dense1.b")}, say, and those of normalisation where there
    is any.
    """
    lowered = plan(network, "predict")
    kept = [name for name in lowered.buffers if name in lowered.parameters or name in lowered.statistics]
    owners = dict.fromkeys(name.rpartition(".")[0] for name in kept)
    names = {}
    for attributes in ATTRIBUTES:
        main = next(iter(attributes))
        layers = [owner for owner in owners if f"{owner}.{main}" in kept]
        for array, attribute in attributes.items():
            column = tuple(f"{layer}.{array}" if f"{layer}.{array}" in kept else None for layer in layers)
            if any(column):
                names[attribute] = column
    return names


def public_name(network, name):
    """What a user calls the array that a plan calls "dense0.W": "coefs_[0]"."""
    return next(
        f"{attribute}[{names.index(name)}]" for attribute, names in attribute_names(network).items() if name in names
    )


def to_attributes(network, weights, dtype):
    """Fitted attributes, lists of arrays, from weights by name."""
    return {
        attribute: [None if name is None else weights[name].astype(dtype, copy=False) for name in names]
        for attribute, names in attribute_names(network).items()
    }


def from_attributes(estimator, network):
    """Weights by name from the fitted attributes as they are now."""
    weights = {}
    for attribute, names in attribute_names(network).items():
        for i, (name, array) in enumerate(zip(names, arrays(estimator, attribute), strict=False)):
            if array is None:
                continue
            if name is None:
                raise ValueError(f"{attribute}[{i}]: expected None, got {shown(array)}; its layer has no such array")
            weights[name] = numbers(array, f"{attribute}[{i}]")
    return weights


def arrays(estimator, attribute):
    """The list in a fitted attribute such as `coefs_`, in whose place a user may have put something else."""
    given = getattr(estimator, attribute, ())
    if not isinstance(given, (list, tuple, np.ndarray)):
        raise ValueError(
            f"{type(estimator).__name__}: {attribute} must be a list of arrays as after fit, got {shown(given)}"
        )
    return given


def numbers(array, where):
    """An entry of such a list as an array of numbers."""
    try:
        converted = np.asarray(array)
        if converted.dtype == object and array is not None:
            converted = converted.astype(np.float64)
    except (TypeError, ValueError):
        converted = None
    if converted is None or converted.dtype.kind not in "biuf":
        raise ValueError(f"{where}: expected an array of real numbers, got {shown(array)}")
    return converted


def load(runner, network, lowered, weights):
    """Puts weights into a runner, each checked against the shape the plan expects."""
    for name in lowered.parameters + lowered.statistics:
        shape, array = lowered.buffers[name].shape, weights.get(name)
        if array is None or array.shape != shape:
            came = "nothing" if array is None else f"shape {array.shape}"
            raise ValueError(
                f"{public_name(network, name)}: expected shape {shape}, got {came}; coefs_ and intercepts_ must fit "
                "each other"
            )
        runner.set(name, array)


def optimizer(estimator):
    """The optimiser spec of a first-order solver."""
    momentum, beta_1, beta_2, epsilon, rho, weight_decay = (
        float(getattr(estimator, name)) for name in ("momentum", "beta_1", "beta_2", "epsilon", "rho", "weight_decay")
    )
    return {
        "gd": lambda: optimizers.GradientDescent(),
        "sgd": lambda: optimizers.SGD(momentum, estimator.nesterovs_momentum and momentum > 0),
        "adagrad": lambda: optimizers.AdaGrad(epsilon),
        "rmsprop": lambda: optimizers.RMSProp(rho, epsilon),
        "adam": lambda: optimizers.Adam(beta_1, beta_2, epsilon),
        "adamw": lambda: optimizers.AdamW(beta_1, beta_2, epsilon, weight_decay),
    }[estimator.solver]()


def schedule(estimator):
    """The schedule spec; "invscaling" takes its power from `power_t`."""
    if estimator.solver == "adam" and estimator.learning_rate in estimator._not_with_adam:
        return Constant()
    if estimator.learning_rate == "invscaling":
        return InverseScaling(estimator.power_t)
    return get_schedule(estimator.learning_rate, where=f"{type(estimator).__name__}: learning_rate")
