"""Data sets of the benchmarks, in float32."""

import os

import numpy as np
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

MISSING = "set FASTNN_DATA to the folder that holds mnist.npz (arrays X_train, y_train, X_test, y_test)"


def standardised(load):
    """X with columns of mean 0 and variance 1, and y, of a loader of ``sklearn.datasets``."""
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X).astype(np.float32), y


def iris():
    return standardised(datasets.load_iris)


def breast_cancer():
    return standardised(datasets.load_breast_cancer)


def has_mnist():
    """Whether FASTNN_DATA names a folder with mnist.npz."""
    return "FASTNN_DATA" in os.environ and os.path.exists(_mnist_path())


def mnist():
    """X_train, y_train, X_test, y_test; images as rows of 784 numbers in [0, 1]."""
    if not has_mnist():
        raise FileNotFoundError(MISSING)
    with np.load(_mnist_path()) as arrays:
        parts = [arrays[name] for name in ("X_train", "y_train", "X_test", "y_test")]
    for i in (0, 2):
        parts[i] = parts[i].reshape(len(parts[i]), -1).astype(np.float32) / 255
    return parts


def mnist_train():
    return mnist()[:2]


def _mnist_path():
    return os.path.join(os.environ["FASTNN_DATA"], "mnist.npz")
