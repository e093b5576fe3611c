"""One full-batch SGD step of an estimator is PyTorch autograd's step from the same weights."""

import numpy as np
import pytest

from fastnn import MLPClassifier, MLPRegressor

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'bench')")
functional = torch.nn.functional

ACTIVATIONS = {
    "identity": lambda z: z,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": lambda z: functional.leaky_relu(z, 0.01),
    "softplus": functional.softplus,
    "elu": functional.elu,
    "selu": functional.selu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "mish": functional.mish,
    "hard_tanh": functional.hardtanh,
    "piecewise_linear": lambda z: torch.clamp(z + 0.5, 0, 1),
}
TASKS = ("binary", "multiclass", "multilabel", "regression", "multi_output")


def draw_task(rng, task, rows):
    """A target, the number of classes, and the estimator's class."""
    if task == "binary":
        y = np.arange(rows) % 2
    elif task == "multiclass":
        y = np.arange(rows) % 5
    elif task == "multilabel":
        y = rng.integers(0, 2, (rows, 7))
    else:
        shape = rows if task == "regression" else (rows, 3)
        return rng.standard_normal(shape).astype(np.float32), MLPRegressor
    return y, MLPClassifier


def torch_loss(z, y, task):
    target = torch.from_numpy(np.asarray(y))
    if task == "multiclass":
        return functional.cross_entropy(z, target)
    if task in ("binary", "multilabel"):
        target = target.float().reshape(z.shape)
        return functional.binary_cross_entropy_with_logits(z, target, reduction="sum") / len(z)
    return 0.5 * ((z - target.reshape(z.shape)) ** 2).sum() / len(z)


def torch_step(coefs, intercepts, activation, X, y, task, alpha, rate):
    W = [torch.tensor(c, requires_grad=True) for c in coefs]
    b = [torch.tensor(i, requires_grad=True) for i in intercepts]
    x = torch.from_numpy(X)
    for layer in range(len(W)):
        x = x @ W[layer] + b[layer]
        if layer < len(W) - 1:
            x = ACTIVATIONS[activation](x)
    loss = torch_loss(x, y, task) + 0.5 * alpha * sum((w**2).sum() for w in W) / len(X)
    loss.backward()
    with torch.no_grad():
        return [(p - rate * p.grad).numpy() for p in W], [(p - rate * p.grad).numpy() for p in b], loss.item()


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("seed", range(60))
def test_one_step(seed, backend):
    rng = np.random.default_rng(seed)
    task = TASKS[seed % len(TASKS)]
    rows = int(rng.integers(5 if task == "multiclass" else 2, 71))
    hidden = tuple(int(h) for h in rng.integers(1, 131, rng.integers(0, 4)))
    activation = str(rng.choice(list(ACTIVATIONS)))
    X = rng.standard_normal((rows, int(rng.integers(1, 131)))).astype(np.float32)
    y, estimator = draw_task(rng, task, rows)
    alpha, rate = float(rng.choice([0.0, 0.1, 1.0])), 0.1
    classes = np.arange(y.shape[1]) if task == "multilabel" else np.unique(y)
    options = {"classes": classes} if estimator is MLPClassifier else {}
    model = estimator(
        hidden_layer_sizes=hidden, activation=activation, solver="sgd", momentum=0.0, learning_rate_init=rate,
        alpha=alpha, batch_size=rows, random_state=seed, backend=backend,
    )  # fmt: skip
    model.partial_fit(X, y, **options)
    coefs = [c.copy() for c in model.coefs_]
    intercepts = [i.copy() for i in model.intercepts_]
    model.partial_fit(X, y)
    expected = torch_step(coefs, intercepts, activation, X, y, task, alpha, rate)
    for actual, wanted in zip(model.coefs_ + model.intercepts_, expected[0] + expected[1], strict=True):
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, wanted, rtol=2e-5, atol=2e-5)
    assert model.loss_ == pytest.approx(expected[2], rel=2e-5, abs=2e-5)
