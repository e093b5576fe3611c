"""The competitors of the race: each builds a function that fits a row's network once and returns seconds an epoch.

Building and warming up happen before the race. What is timed: for fastnn and scikit-learn a whole `fit`, with all its
checks; for PyTorch and JAX the epochs only, without building, compiling or validating anything. Nobody penalises
weights.
"""

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from time import perf_counter

import networks
import numpy as np
from machine import CORES
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

RATE = 0.001
TRIAL = 30  # batches, at most, by which PyTorch's number of threads is chosen
SMALL = 1 << 20  # bytes of X that stay in the cache
FLOAT32, BFLOAT16 = PRECISIONS = "float32", "bfloat16"


@dataclass(frozen=True)
class Peer:
    """A competitor: the module it needs, and ``build(row, X, y, precision)``, which returns (fit, note).

    `build` raises networks.NotOffered where a row's network or precision is not on offer.
    """

    module: str
    build: object


def quietly(fit, *data):
    """Fits without the warning that epochs have run out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit(*data)


def _estimators(make):
    """Runs a fit of exactly `row.epochs` epochs: no tolerance and no patience."""

    def build(row, X, y, precision):
        def fit():
            estimator = make(
                row.network, precision, batch_size=row.batch, max_iter=row.epochs, alpha=0.0, tol=0.0,
                n_iter_no_change=np.inf, random_state=0,
            )  # fmt: skip
            start = perf_counter()
            quietly(estimator.fit, X, y)
            seconds = perf_counter() - start
            assert estimator.n_iter_ == row.epochs and estimator.coefs_[0].dtype == np.float32
            return seconds / row.epochs

        fit()
        return fit, "default threads"

    return build


def _fastnn(network, precision, **parameters):
    return networks.estimator(network, precision=precision, **parameters)


def _scikit_learn(network, precision, **parameters):
    if network.kind != "dense" or precision != FLOAT32:
        raise networks.NotOffered(f"has no {precision if precision != FLOAT32 else f'{network.kind} layers'}")
    return neural_network.MLPClassifier(network.hidden, **parameters)


def _trainers(make):
    """Runs the epochs of a trainer."""

    def build(row, X, y, precision):
        trainer = make(row.network, X, y, row.batch, precision)

        def fit():
            trainer.start()
            return trainer.epochs(row.epochs) / row.epochs

        fit()
        return fit, trainer.note

    return build


class Torch:
    """Trains a network of PyTorch on tensors in memory, images in channels_last, with fused Adam.

    Runs on one thread or on all cores, whichever has the faster batches. bfloat16 is that of torch.autocast.
    """

    def __init__(self, network, X, y, batch, precision=FLOAT32, compiled=False):
        import torch

        self.torch, self.batch = torch, batch
        torch.manual_seed(0)
        self.X, self.y = self._rows(network, X), torch.from_numpy(np.asarray(y, np.int64))
        self.model = networks.torch_model(network)
        criterion = torch.nn.functional.cross_entropy
        if network.outputs == 1:
            self.y = self.y.to(torch.float32)[:, None]
            criterion = torch.nn.functional.binary_cross_entropy_with_logits

        def loss(inputs, targets):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == BFLOAT16):
                return criterion(self.model(inputs), targets)

        if compiled:
            torch.compiler.reset()  # or the row before counts against this one's limit of recompilations
            loss = torch.compile(loss, dynamic=False)
        self.loss, self.network = loss, network
        self.initial = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.threads = self._best_threads()
        self.note = f"{self.threads} thread{'s' * (self.threads > 1)}"

    def _rows(self, network, X):
        X = self.torch.from_numpy(X)
        # (n, channels, height, width) that lies in memory as (n, height, width, channels)
        return X.permute(0, 3, 1, 2) if network.kind == "convolutional" else X

    def _best_threads(self):
        seconds = {}
        self.threads = CORES
        self.start()
        self.epochs(1)  # compiles for batches of both sizes
        for self.threads in sorted({1, CORES}):
            seconds[self.threads] = min(self.epochs(1, [RATE] * TRIAL) for _ in range(3))
        return min(seconds, key=seconds.get)

    def start(self, seed=None):
        """Goes back to the first weights, or draws new ones, with a new optimiser."""
        if seed is None:
            self.model.load_state_dict(self.initial)
        else:
            self.torch.manual_seed(seed)
            for module in self.model.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
        self.optimizer = self.torch.optim.Adam(self.model.parameters(), lr=RATE, fused=True)

    def epochs(self, n, rates=None):
        """Seconds of n epochs, with a learning rate for each batch (an epoch ends with the rates) or RATE."""
        rates = repeat(RATE) if rates is None else iter(rates)
        with torch_threads(self.threads):
            start = perf_counter()
            for _ in range(n):
                for (inputs, targets), rate in zip(self._batches(), rates, strict=False):
                    self.optimizer.param_groups[0]["lr"] = rate
                    self.optimizer.zero_grad()
                    self.loss(inputs, targets).backward()
                    self.optimizer.step()
            return perf_counter() - start

    def _batches(self):
        order = self.torch.randperm(len(self.X))
        if self.X.nbytes <= SMALL:
            # Slices of a shuffled copy: one gather an epoch instead of one a batch.
            return zip(self.X[order].split(self.batch), self.y[order].split(self.batch), strict=True)
        return ((self.X[rows], self.y[rows]) for rows in order.split(self.batch))

    def score(self, X, y):
        """Share of the rows that are classified right; of more than two classes."""
        self.model.eval()
        with self.torch.inference_mode():
            guesses = [self.model(rows).argmax(1).numpy() for rows in self._rows(self.network, X).split(1000)]
        self.model.train()
        return np.mean(np.concatenate(guesses) == y)


@contextmanager
def torch_threads(number):
    """PyTorch on so many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Jax:
    """Trains a network of JAX: a whole epoch is one compiled scan over the batches, on all cores."""

    note = "default threads"

    def __init__(self, network, X, y, batch, precision):
        import jax

        self.jax, self.batch = jax, batch
        self.X, self.y = jax.device_put(X), jax.device_put(np.asarray(y, np.int32))
        self.parameters, self.apply = networks.jax_model(network, precision)
        self.random = np.random.default_rng(0)
        self.key = jax.random.key(0, impl="rbg")  # faster than the default
        self.logistic = network.outputs == 1
        self._epoch = jax.jit(self._all_batches, donate_argnums=0)

    def start(self):
        """Goes back to the first weights."""
        zeros = self.jax.tree.map(self.jax.numpy.zeros_like, (self.parameters, self.parameters))
        self.state = (self.jax.tree.map(self.jax.numpy.copy, self.parameters), *zeros, self.jax.numpy.zeros(()))

    def epochs(self, n):
        """Seconds of n epochs."""
        start = perf_counter()
        for _ in range(n):
            order = self.random.permutation(len(self.X)).astype(np.int32)
            self.state = self._epoch(self.state, self.X, self.y, order)
        self.jax.block_until_ready(self.state)
        return perf_counter() - start

    def _all_batches(self, state, X, y, order):
        whole = len(order) // self.batch * self.batch

        def step(state, rows):
            return self._adam(state, X[rows], y[rows]), None

        state, _ = self.jax.lax.scan(step, state, order[:whole].reshape(-1, self.batch))
        return step(state, order[whole:])[0] if whole < len(order) else state

    def _adam(self, state, x, t):
        parameters, mean, square, step = state
        step += 1
        gradient = self.jax.grad(self._loss)(parameters, x, t, self.jax.random.fold_in(self.key, step.astype(int)))
        rate = RATE * self.jax.numpy.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        tree = self.jax.tree.map
        mean = tree(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
        square = tree(lambda v, g: 0.999 * v + 0.001 * g * g, square, gradient)
        parameters = tree(lambda w, m, v: w - rate * m / (self.jax.numpy.sqrt(v) + 1e-8), parameters, mean, square)
        return parameters, mean, square, step

    def _loss(self, parameters, x, t, key):
        z, nn = self.apply(parameters, x, key), self.jax.nn
        if self.logistic:
            return self.jax.numpy.mean(nn.softplus(z[:, 0]) - t * z[:, 0])
        return -self.jax.numpy.mean(self.jax.numpy.take_along_axis(nn.log_softmax(z), t[:, None], 1))


PEERS = {
    "fastnn": Peer("fastnn", _estimators(_fastnn)),
    "scikit-learn": Peer("sklearn", _estimators(_scikit_learn)),
    "torch eager": Peer("torch", _trainers(Torch)),
    "torch compile": Peer("torch", _trainers(partial(Torch, compiled=True))),
    "jax": Peer("jax", _trainers(Jax)),
}
