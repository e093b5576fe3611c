"""From gradients to parameters: textbook steps, scikit-learn's optimisers, penalties, clipping."""

import math

import numpy as np
import pytest
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from fastnn import optimizers as specs
from fastnn.reference import Step
from fastnn.reference.update import OPTIMIZERS, optimise

RANDOM = np.random.RandomState(0)
W0 = RANDOM.normal(size=(4, 3))
GRADIENTS = RANDOM.normal(size=(5, 4, 3))


def run(spec, dtype=np.float64, rate=0.1, W=W0):
    W = W.astype(dtype)
    states = [np.zeros_like(W) for _ in range(spec.n_states)]
    for t, g in enumerate(GRADIENTS, start=1):
        W, states = optimise(W, g.astype(dtype), states, Step(n=1, t=t, rate=rate), spec.kernel, spec.decay)
    assert W.dtype == dtype and all(state.dtype == dtype for state in states)
    return W


def by_hand(rule):
    """Runs a rule for one number at a time in plain Python: rule(w, g, memory, t) -> w."""
    W = W0.copy()
    for place in np.ndindex(W.shape):
        memory = {}
        for t in range(1, len(GRADIENTS) + 1):
            W[place] = rule(float(W[place]), float(GRADIENTS[t - 1][place]), memory, t)
    return W


def sgd(w, g, memory, t, momentum=0.9, nesterov=True):
    v = memory["v"] = momentum * memory.get("v", 0.0) - 0.1 * g
    return w + (momentum * v - 0.1 * g if nesterov else v)


def adagrad(w, g, memory, t):
    s = memory["s"] = memory.get("s", 0.0) + g**2
    return w - 0.1 * g / (math.sqrt(s) + 1e-10)


def rmsprop(w, g, memory, t):
    s = memory["s"] = 0.9 * memory.get("s", 0.0) + 0.1 * g**2
    return w - 0.1 * g / (math.sqrt(s) + 1e-8)


def adam(w, g, memory, t, decay=0.0):
    w *= 1 - 0.1 * decay
    m = memory["m"] = 0.9 * memory.get("m", 0.0) + 0.1 * g
    v = memory["v"] = 0.999 * memory.get("v", 0.0) + 0.001 * g**2
    corrected = 0.1 * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return w - corrected * m / (math.sqrt(v) + 1e-8)


RULES = [
    (specs.SGD(), sgd),
    (specs.SGD(nesterov=False), lambda *a: sgd(*a, nesterov=False)),
    (specs.GradientDescent(), lambda w, g, memory, t: w - 0.1 * g),
    (specs.AdaGrad(), adagrad),
    (specs.RMSProp(), rmsprop),
    (specs.Adam(), adam),
    (specs.AdamW(weight_decay=0.5), lambda *a: adam(*a, decay=0.5)),
]


@pytest.mark.parametrize("spec, rule", RULES, ids=[repr(spec) for spec, _ in RULES])
@pytest.mark.parametrize("dtype, rtol", [(np.float64, 1e-12), (np.float32, 1e-4)])
def test_five_steps_equal_the_textbook(spec, rule, dtype, rtol):
    np.testing.assert_allclose(run(spec, dtype), by_hand(rule), rtol=rtol, atol=rtol)


def test_every_rule_of_the_specs_exists():
    kernels = {spec().kernel[0] for spec in specs.OPTIMIZERS.values()}
    assert kernels == set(OPTIMIZERS)


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_equals_scikit_learn(nesterov):
    params = [W0.copy()]
    theirs = SGDOptimizer(params, learning_rate_init=0.1, momentum=0.8, nesterov=nesterov)
    for g in GRADIENTS:
        theirs.update_params(params, [g])
    np.testing.assert_allclose(run(specs.SGD(0.8, nesterov)), params[0], rtol=1e-14)


def test_adam_equals_scikit_learn():
    params = [W0.copy()]
    theirs = AdamOptimizer(params, learning_rate_init=0.1)
    for g in GRADIENTS:
        theirs.update_params(params, [g])
    np.testing.assert_allclose(run(specs.Adam()), params[0], rtol=1e-13)


def test_penalty_adds_its_gradient_and_value(execute):
    g, step = GRADIENTS[0], Step(n=1, weight_sum=8.0)
    attributes = {"l1": 0.3, "l2": 0.7}

    def value(W):
        return execute("penalty", {"W": W}, {"dW": g, "penalty": 0.0}, attributes, step)["penalty"]

    result = execute("penalty", {"W": W0}, {"dW": g, "penalty": 0.0}, attributes, step)
    assert result["penalty"] == pytest.approx((0.3 * abs(W0).sum() + 0.35 * (W0**2).sum()) / 8)
    for place in np.ndindex(W0.shape):
        shift = np.zeros_like(W0)
        shift[place] = 1e-6
        slope = (value(W0 + shift) - value(W0 - shift)) / 2e-6
        assert result["dW"][place] - g[place] == pytest.approx(slope, rel=1e-6)


def test_penalty_of_float32_weights_is_float64_and_its_gradient_float32(execute):
    operands = {"W": W0.astype(np.float32)}
    outputs = {"dW": GRADIENTS[0].astype(np.float32), "penalty": 0.0}
    result = execute("penalty", operands, outputs, {"l1": 0.1, "l2": 0.1}, Step(n=1, weight_sum=3.0))
    assert result["dW"].dtype == np.float32 and result["penalty"].dtype == np.float64


def test_clip_value_limits_each_element(execute):
    g = np.array([-3.0, -0.5, 0.0, 0.5, 3.0])
    result = execute("clip_value", {"g": g}, ("g",), {"limit": 1.0})["g"]
    assert result.tolist() == [-1, -0.5, 0, 0.5, 1]


@pytest.mark.parametrize("limit, factor", [(2.5, 0.5), (5.0, 1.0), (9.0, 1.0)])
def test_clip_norm_scales_by_the_common_norm(execute, limit, factor):
    parts = {"g": np.array([3.0]), "h": np.array([4.0])}
    squares = {f"{n}2": execute("square_sum", {n: g}, ("s",))["s"] for n, g in parts.items()}
    for name, g in parts.items():
        result = execute("clip_norm", {name: g, **squares}, (name,), {"limit": limit}, Step(n=1))[name]
        np.testing.assert_allclose(result, factor * g)


def test_clip_norm_of_zero_gradients_divides_by_nothing(execute):
    result = execute("clip_norm", {"g": np.zeros(2), "s": 0.0}, ("g",), {"limit": 1.0}, Step(n=1))["g"]
    assert result.tolist() == [0, 0]


def test_transpose_copies(execute):
    WT = execute("transpose", {"W": W0}, ("WT",))["WT"]
    assert np.array_equal(WT, W0.T) and WT.flags.c_contiguous and not np.shares_memory(WT, W0)


@pytest.mark.parametrize("penalty, clip", [(True, 0.05), (False, None)])
def test_dense_update_equals_its_parts(execute, penalty, clip):
    x, dz, b = RANDOM.normal(size=(6, 4)), RANDOM.normal(size=(6, 3)), RANDOM.normal(size=3)
    spec, step = specs.AdamW(), Step(n=6, t=3, rate=0.01, weight_sum=6.0)
    states = {"Wm": abs(W0), "Wv": W0**2, "bm": abs(b), "bv": b**2}
    l1, l2 = (0.1, 0.2) if penalty else (0.0, 0.0)
    attributes = {
        "optimizer": spec.kernel,
        "decay": spec.decay,
        "l1": l1,
        "l2": l2,
        "clip": clip,
        "states": 2,
    }
    attributes |= {"penalty": penalty, "transposed": True}
    outputs = ("W", "b", *states, *(("penalty",) if penalty else ()), "WT")
    operands = {"x": x, "dz": dz, "W": W0, "b": b, **states}
    fused = execute("dense_update", operands, outputs, attributes, step)

    parts = execute("dense_grad_weights", {"x": x, "dz": dz}, ("dW", "db"), step=step)
    value = 0.0
    if penalty:
        before = {"dW": parts["dW"], "penalty": 0.0}
        result = execute("penalty", {"W": W0}, before, {"l1": l1, "l2": l2}, step)
        parts["dW"], value = result["dW"], result["penalty"]
    for name, parameter, decay in (("W", W0, spec.decay), ("b", b, 0.0)):
        g = parts[f"d{name}"]
        if clip is not None:
            g = np.clip(g, -clip, clip)
        own = {state: states[state] for state in (f"{name}m", f"{name}v")}
        attributes = {"optimizer": spec.kernel, "decay": decay}
        result = execute("update", {name: parameter, "g": g, **own}, (name, *own), attributes, step)
        assert all(np.array_equal(result[key], fused[key]) for key in (name, *own))
    assert np.array_equal(fused["WT"], fused["W"].T)
    if penalty:
        assert fused["penalty"] == value
