"""Generated series against their equations."""

import numpy as np
import pytest

from fastnn import datasets


def test_mackey_glass_is_known_and_converged(monkeypatch):
    x = datasets.mackey_glass(600, washout=0, random_state=0)
    assert x.shape == (600,) and 0.2 < x.min() < 0.5 and 1.2 < x.max() < 1.5
    monkeypatch.setattr(datasets, "SUBSTEPS", 40)
    finer = datasets.mackey_glass(100, washout=0, random_state=0)
    np.testing.assert_allclose(x[:100], finer, atol=5e-5)  # the start is a kink, which costs an order


def test_several_series_differ():
    assert datasets.mackey_glass(50, n_series=3, random_state=0).shape == (3, 50)
    a, b = datasets.mackey_glass(50, n_series=2, random_state=0)
    assert np.abs(a - b).max() > 1e-3


@pytest.mark.parametrize("order", [2, 10])
def test_narma_follows_its_recursion(order):
    u, y = datasets.narma(60, order=order, random_state=0)
    t = 40
    expected = 0.3 * y[t] + 0.05 * y[t] * y[t - order + 1 : t + 1].sum() + 1.5 * u[t - order + 1] * u[t] + 0.1
    assert y[t + 1] == pytest.approx(expected)
    assert (0 <= u).all() and (u < 0.5).all()


@pytest.mark.parametrize(("order", "n_steps"), [(20, 1000), (12, 2000)])
def test_a_narma_series_that_grows_without_bounds_is_an_error(order, n_steps):
    with pytest.raises(ValueError, match=f"the series of order {order} grows beyond bounds at step"):
        datasets.narma(n_steps, order=order, random_state=0)


@pytest.mark.parametrize("n_steps", [2, 7, 100])
def test_adding_problem_marks_what_it_adds(n_steps):
    X, y = datasets.adding_problem(300, n_steps=n_steps, random_state=0)
    assert X.shape == (300, n_steps, 2)
    marked = X[:, :, 1] == 1
    assert (marked[:, : n_steps // 2].sum(axis=1) == 1).all() and (marked.sum(axis=1) == 2).all()
    np.testing.assert_allclose(y, (X[:, :, 0] * marked).sum(axis=1))


@pytest.mark.parametrize(
    ("generate", "arguments"),
    [
        (datasets.mackey_glass, {"n_steps": 9, "tau": 0}),
        (datasets.mackey_glass, {"n_steps": 9.5}),
        (datasets.narma, {"n_steps": -1}),
        (datasets.narma, {"n_steps": 9, "order": 0}),
        (datasets.adding_problem, {"n_sequences": 3, "n_steps": 1}),
    ],
)
def test_arguments_are_whole_numbers_that_make_sense(generate, arguments):
    name = list(arguments)[-1]
    with pytest.raises(ValueError, match=f"The '{name}' parameter of {generate.__name__} must be an int in the range"):
        generate(**arguments)
