"""Data sets of the benchmarks, in float32."""

import os

import numpy as np
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

MISSING = "set FASTNN_DATA to the folder that holds {}.npz (arrays X_train, y_train, X_test, y_test)"


def standardised(load):
    """X with columns of mean 0 and variance 1, and y, of a loader of ``sklearn.datasets``."""
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X).astype(np.float32), y


def iris():
    return standardised(datasets.load_iris)


def breast_cancer():
    return standardised(datasets.load_breast_cancer)


def synthetic(n, shape, classes):
    """n rows of normal numbers, and classes of equal size that depend on them by chance alone."""
    random = np.random.default_rng(0)
    return random.normal(size=(n, *shape)).astype(np.float32), random.permutation(np.arange(n) % classes)


def has(name="mnist"):
    """Whether FASTNN_DATA names a folder with this data set."""
    return "FASTNN_DATA" in os.environ and os.path.exists(_path(name))


def split(name):
    """X_train, y_train, X_test, y_test of a data set in that folder, as they lie there."""
    if not has(name):
        raise FileNotFoundError(MISSING.format(name))
    with np.load(_path(name)) as arrays:
        return [arrays[key] for key in ("X_train", "y_train", "X_test", "y_test")]


def sequences(name):
    """The same of sequences of different lengths, which lie one after another: X_train and X_test are lists."""
    X_train, y_train, X_test, y_test = split(name)
    with np.load(_path(name)) as arrays:
        ends = [np.cumsum(arrays[f"lengths_{part}"])[:-1] for part in ("train", "test")]
    return np.split(X_train, ends[0]), y_train, np.split(X_test, ends[1]), y_test


def mnist(*shape):
    """X_train, y_train, X_test, y_test; images as rows of that shape (default: 784), of numbers in [0, 1]."""
    X_train, y_train, X_test, y_test = split("mnist")
    X_train, X_test = (X.reshape(len(X), *(shape or (-1,))).astype(np.float32) / 255 for X in (X_train, X_test))
    return X_train, y_train, X_test, y_test


def mnist_train(n=None, *shape):
    """The first n training images as rows of that shape, and their labels."""
    X, y, *_ = mnist(*shape)
    return np.ascontiguousarray(X[:n]), y[:n]


def _path(name):
    return os.path.join(os.environ["FASTNN_DATA"], f"{name}.npz")
