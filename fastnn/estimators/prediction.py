"""Networks with fitted weights, ready to run: kept from one prediction to the next while nothing has changed."""

from functools import partial

import numpy as np

from fastnn import training
from fastnn.estimators import network as networks

KEPT_BYTES = 16 << 20  # of packed weights an estimator keeps, for several networks; one network is always kept

# What a packed network depends on besides the weights. Names are of X: with them every X has to be validated.
ORIGIN = ("_network", "backend", "n_jobs", "scale", "n_features_in_", "feature_names_in_")


class Ready:
    """A network with an estimator's weights, packed.

    Parameters
    ----------
    estimator : estimator
    network : Network
        The one of its fitted weights, or a part of it.
    entries : bool
        Whether for sparse matrices of few entries, or for all others.

    Attributes
    ----------
    network : Network
    runner : Runner
    quick : callable or None
        ``quick(vars(estimator), X, both)`` gives the outputs, or None where X needs validation or where something has
        changed since. None for a backend without a short way.
    """

    def __init__(self, estimator, network, entries):
        self.network, self.entries = network, entries
        known, names = vars(estimator), networks.attribute_names(network)
        options = networks.cpu_options(network, estimator.backend)
        lowered = networks.plan(network, "predict", entries=entries, **options)
        weights = networks.from_attributes(estimator, network)
        dtype = np.dtype(np.float32) if network.precision == "bfloat16" else real_type(estimator.coefs_)
        self.runner = training.runner_class(estimator.backend)(
            lowered,
            dtype=dtype,
            rows=networks.prediction_capacity(lowered, networks.CHUNK, dtype),
            n_threads=partial(training.thread_limit, estimator.backend, estimator.n_jobs),
        )
        same, forms = {name: known.get(name) for name in ORIGIN}, estimator._forms(network)
        networks.load(self.runner, network, lowered, weights)
        # A network that ends early has no names for the arrays of later layers.
        arrays = {name: [*given, *[""] * (len(known[name]) - len(given))] for name, given in names.items()}
        self.quick = self.runner.quick(forms, estimator._types(), same, arrays)

    def belongs_to(self, estimator, network, X):
        """Whether it is this network on the backend that the estimator still asks for, with the weights that rows which
        have been read need."""
        few = self.entries and X.nnz < X.shape[1]
        columns = X.indices[: X.nnz].astype(np.int64, copy=False) if few else None
        return self.network == network and self.quick.holds(vars(estimator), columns)

    def outputs(self, X, both):
        """Outputs for rows that have been read; with `both`, a single output p as two columns, 1 - p and p."""
        P = self.runner.forward(X)
        return np.concatenate([1 - P, P], axis=-1) if both and P.shape[-1] == 1 else P


class Kept(dict):
    """The networks of an estimator that are ready, by what they yield; the latest is the last.

    Empty in a pickle and in a deep copy. A shallow copy shares it, as it shares the arrays.
    """

    def __reduce__(self):
        return Kept, ()

    def add(self, part, ready):
        """Keeps a network, if there is a short way to use it, and drops old ones that are too much.

        Other threads may read and add meanwhile.
        """
        if ready.quick is None:
            return
        self.pop(part, None)
        self[part] = ready
        size = 0
        for name, other in reversed(list(self.items())):
            size += other.runner.nbytes
            if size > KEPT_BYTES and other is not ready:
                self.pop(name, None)


def real_type(arrays):
    """The real type of weights that a user may have replaced."""
    return np.dtype(np.float32 if all(np.asarray(a).dtype == np.float32 for a in arrays) else np.float64)
