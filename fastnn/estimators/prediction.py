"""Networks with fitted weights, ready to run: kept from one prediction to the next while nothing has changed."""

from functools import partial

import numpy as np

from fastnn import training
from fastnn.estimators import network as networks

KEPT_BYTES = 16 << 20  # of packed weights an estimator keeps, for several networks; one network is always kept


class Ready:
    """A network with an estimator's weights, packed.

    Weights may be changed in place, so each prediction compares them with the packed ones, which takes as long as
    reading them: 0.4 microseconds for 30-100-2.

    Parameters
    ----------
    estimator : estimator
    network : Network
        The one of its fitted weights, or a part of it.
    """

    def __init__(self, estimator, network):
        self.origin = _origin(vars(estimator))
        lowered, names = networks.plan(network, "predict"), networks.attribute_names(network)
        dtype = real_type(estimator.coefs_)
        self.runner = training.runner_class(estimator.backend)(
            lowered,
            dtype=dtype,
            rows=networks.prediction_capacity(lowered, networks.CHUNK, dtype),
            n_threads=partial(training.thread_limit, estimator.backend, estimator.n_jobs),
        )
        networks.load(self.runner, network, lowered, networks.from_attributes(estimator, network))
        self.attributes, self.forms = tuple(names), estimator._forms()
        arrays = [getattr(estimator, attribute) for attribute in names]
        self.packed = self.runner.packed(
            [(*given, *[None] * (len(now) - len(given)))[: len(now)] for given, now in zip(names.values(), arrays)]
        )

    def belongs_to(self, estimator):
        """Whether the estimator still asks for this network on this backend, with these weights."""
        known = vars(estimator)
        return self.origin == _origin(known) and self.packed.holds([known.get(name) for name in self.attributes])

    def quick(self, estimator, X, both):
        """Outputs for an array that needs no validation, None for anything else and where something has changed."""
        if type(X) is np.ndarray and X.shape[1:] in self.forms and X.size and self.belongs_to(estimator):
            return self.runner.quick(X, both)
        return None

    def outputs(self, X, both):
        """Outputs for rows that have been read."""
        P = self.runner.forward(X)
        return np.hstack([1 - P, P]) if both else P


class Kept:
    """The networks of an estimator that are ready, by what they yield. Empty in a pickle and in a copy.

    Threads may read and add at any time: the dict is replaced, never changed.
    """

    def __init__(self):
        self.ready = {}

    def __reduce__(self):
        return Kept, ()

    def add(self, part, ready):
        """Keeps a network, unless its backend has no short way, and drops the oldest ones that are too much."""
        if ready.packed is None:
            return
        kept = {name: other for name, other in self.ready.items() if name != part}
        while kept and ready.runner.nbytes + sum(other.runner.nbytes for other in kept.values()) > KEPT_BYTES:
            del kept[next(iter(kept))]
        self.ready = {**kept, part: ready}


def real_type(arrays):
    """The real type of weights that a user may have replaced."""
    return np.dtype(np.float32 if all(np.asarray(a).dtype == np.float32 for a in arrays) else np.float64)


def _origin(known):
    """What a packed network depends on besides the weights, out of an estimator's attributes."""
    return known["_network"], known["backend"], known["n_jobs"], known["n_features_in_"], "feature_names_in_" in known
