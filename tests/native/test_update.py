"""The optimisers' steps at the ends of the number range."""

import numpy as np
import pytest

from fastnn.native import Runner, _machine
from fastnn.optimizers import SGD, AdaGrad, Adam, RMSProp
from fastnn.reference.run import Runner as Reference
from tests.native.networks import data, draw, lowered, network


@pytest.mark.parametrize("isa", _machine.isa_names())
@pytest.mark.parametrize("second_moment", [0.0, 1e-38, 1e38, np.inf])
def test_adam_divides_by_any_root(second_moment, isa):
    net = network(5, (20,), 3)
    plan = lowered(net, one_hot=True, optimizer=Adam(), whole_batch=True)
    rng = np.random.default_rng(0)
    X, y, _ = data(rng, net, 12, np.float32, one_hot=True)
    runners = Runner(plan, dtype=np.float32, rows=12, isa=isa), Reference(plan, dtype=np.float32, rows=12)
    weights = draw(rng, plan)
    for runner in runners:
        runner.bind(X, y)
        for name, value in weights.items():
            runner.set(name, value)
        runner.set("dense0.W.state1", np.full((5, 20), second_moment))
        runner.train(12, 0, 1, 0, np.array([0.1]), 1e9)
    native, reference = (runner.get("dense0.W") for runner in runners)
    np.testing.assert_allclose(native, reference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("isa", _machine.isa_names())
@pytest.mark.parametrize("optimizer", [SGD(), AdaGrad(), RMSProp(), Adam()], ids=str)
def test_a_limit_that_no_gradient_reaches_changes_no_bit(optimizer, isa):
    net, weights = network(5, (20,), 3), []
    for clip in (None, 1e30):
        plan = lowered(net, one_hot=True, optimizer=optimizer, whole_batch=True, clip_value=clip)
        rng = np.random.default_rng(0)
        X, y, _ = data(rng, net, 12, np.float32, one_hot=True)
        runner = Runner(plan, dtype=np.float32, rows=12, isa=isa)
        runner.bind(X, y)
        for name, value in draw(rng, plan).items():
            runner.set(name, value)
        runner.train(12, 0, 1, 0, np.array([0.1]), 1e9)
        weights.append(runner.get("dense0.W"))
    np.testing.assert_array_equal(*weights)
