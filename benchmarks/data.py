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


def has(name="mnist"):
    """Whether FASTNN_DATA names a folder with this data set."""
    return "FASTNN_DATA" in os.environ and os.path.exists(_path(name))


def split(name):
    """X_train, y_train, X_test, y_test of a data set in that folder, as they lie there."""
    if not has(name):
        raise FileNotFoundError(MISSING.format(name))
    with np.load(_path(name)) as arrays:
        return [arrays[key] for key in ("X_train", "y_train", "X_test", "y_test")]


def ragged(name):
    """`split` of sequences of unequal length: X as lists of (time_i, channels) arrays."""
    X_train, y_train, X_test, y_test = split(name)
    with np.load(_path(name)) as arrays:
        X_train = np.split(X_train, np.cumsum(arrays["lengths_train"])[:-1])
        X_test = np.split(X_test, np.cumsum(arrays["lengths_test"])[:-1])
    return X_train, y_train, X_test, y_test


def mnist():
    """X_train, y_train, X_test, y_test; images as rows of 784 numbers in [0, 1]."""
    X_train, y_train, X_test, y_test = split("mnist")
    X_train, X_test = (X.reshape(len(X), -1).astype(np.float32) / 255 for X in (X_train, X_test))
    return X_train, y_train, X_test, y_test


def mnist_train():
    return mnist()[:2]


def mnist_images(n=12800):
    """The first n training images (n, 28, 28, 1) in [0, 1], and their labels."""
    X, y = mnist_train()
    return np.ascontiguousarray(X[:n]).reshape(n, 28, 28, 1), y[:n]


def _path(name):
    return os.path.join(os.environ["FASTNN_DATA"], f"{name}.npz")
