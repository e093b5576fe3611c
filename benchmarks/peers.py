"""The competitors of the race: each builds a function that fits a row's network once and returns seconds an epoch.

Building and warming up happen before the race. What is timed: for fastnn and scikit-learn a whole `fit`, with all its
checks; for PyTorch the epochs only, without building, compiling or validating anything. Nobody penalises weights.
"""

import os
import warnings
from contextlib import contextmanager
from time import perf_counter

import numpy as np
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

import fastnn
from fastnn import layers

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
SMALL = 1 << 20  # bytes of X that stay in the cache


def _estimator(library):
    def build(row, X, y):
        if row.convolutional and library is not fastnn:
            raise NotImplementedError("has no convolution")
        Estimator = fastnn.ConvNet if row.convolutional else library.MLPClassifier
        network = {"layers": _layers(row.hidden)} if row.convolutional else {"hidden_layer_sizes": row.hidden}

        def fit():
            # No tolerance and no patience: exactly `row.epochs` epochs.
            estimator = Estimator(
                **network, batch_size=row.batch, max_iter=row.epochs, alpha=0.0, tol=0.0, n_iter_no_change=np.inf,
                random_state=0,
            )  # fmt: skip
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                start = perf_counter()
                estimator.fit(X, y)
                seconds = perf_counter() - start
            assert estimator.n_iter_ == row.epochs and estimator.coefs_[0].dtype == np.float32
            return seconds / row.epochs

        fit()
        return fit, "default threads"

    return build


def _layers(description):
    """Layers of fastnn for a row of the race."""
    make = {
        "conv": lambda filters, size, padding: layers.Conv2D(filters, size, padding=padding, activation="relu"),
        "pool": layers.MaxPool2D,
        "dropout": layers.Dropout,
    }
    return [
        make[layer[0]](*layer[1:]) if isinstance(layer, tuple) else layers.Dense(layer, "relu") for layer in description
    ]


def _torch(compiled):
    """Runs with one thread and with all cores, whichever is faster for this network."""

    def build(row, X, y):
        fits = {threads: _torch_fit(row, X, y, compiled, threads) for threads in sorted({1, CORES})}
        for fit in fits.values():
            fit()
        times = {threads: min(fit() for _ in range(2)) for threads, fit in fits.items()}
        threads = min(times, key=times.get)
        return fits[threads], f"{threads} thread{'s' * (threads > 1)}"

    return build


def _torch_fit(row, X, y, compiled, threads):
    import torch

    torch.manual_seed(0)
    classes = len(np.unique(y))
    X, y = torch.from_numpy(X), torch.from_numpy(np.asarray(y, np.int64))
    if row.convolutional:  # (n, channels, height, width) that lies in memory as (n, height, width, channels)
        X = X.permute(0, 3, 1, 2)
    model = _torch_model(X.shape[1:], row.hidden, 1 if classes == 2 else classes)
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    if classes == 2:
        # One logistic output for two classes, as the estimators have.
        y = y.to(torch.float32)[:, None]
        criterion = torch.nn.functional.binary_cross_entropy_with_logits
    else:
        criterion = torch.nn.functional.cross_entropy

    def loss(inputs, targets):
        return criterion(model(inputs), targets)

    if compiled:
        torch.compiler.reset()  # or the row before counts against this one's limit of recompilations
        loss = torch.compile(loss, dynamic=False)

    def batches():
        order = torch.randperm(len(X))
        if X.nbytes <= SMALL:
            # Slices of a shuffled copy: one gather an epoch instead of one a batch.
            return zip(X[order].split(row.batch), y[order].split(row.batch), strict=True)
        return ((X[rows], y[rows]) for rows in order.split(row.batch))

    def fit():
        with _threads(torch, threads):
            model.load_state_dict(initial)
            optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)
            start = perf_counter()
            for _ in range(row.epochs):
                for inputs, targets in batches():
                    optimizer.zero_grad()
                    loss(inputs, targets).backward()
                    optimizer.step()
            return (perf_counter() - start) / row.epochs

    return fit


@contextmanager
def _threads(torch, number):
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _torch_model(shape, hidden, outputs):
    """The network in PyTorch, with the units of lazy layers settled by one batch."""
    import torch
    from torch import nn

    make = {
        "conv": lambda filters, size, padding: [nn.LazyConv2d(filters, size, padding=padding), nn.ReLU()],
        "pool": lambda size: [nn.MaxPool2d(size)],
        "dropout": lambda rate: [nn.Dropout(rate)],
    }
    modules, flat = [], len(shape) == 1
    for layer in hidden:
        if isinstance(layer, tuple):
            modules += make[layer[0]](*layer[1:])
            continue
        modules += [*([] if flat else [nn.Flatten()]), nn.LazyLinear(layer), nn.ReLU()]
        flat = True
    model = nn.Sequential(*modules, *([] if flat else [nn.Flatten()]), nn.LazyLinear(outputs))
    model(torch.zeros(2, *shape))
    return model.to(memory_format=torch.channels_last)


PEERS = {
    "fastnn": _estimator(fastnn),
    "scikit-learn": _estimator(neural_network),
    "torch eager": _torch(compiled=False),
    "torch compile": _torch(compiled=True),
}
