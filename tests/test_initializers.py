"""Initialiser specs: variances, bounds, orthogonality, scikit-learn's starting weights."""

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from fastnn.initializers import INITIALIZERS, PIECE, Auto, Normal, Orthogonal, Uniform, get_initializer

N_IN, N_OUT = 300, 200


def draw(spec_or_name, n_in=N_IN, n_out=N_OUT, activation="relu"):
    return get_initializer(spec_or_name).draw(np.random.RandomState(0), n_in, n_out, activation)


@pytest.mark.parametrize("name", INITIALIZERS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (4, 9)])
def test_draws_float64_of_the_layers_shape(name, shape):
    W, b = draw(name, *shape)
    assert W.shape == shape and b.shape == shape[1:]
    assert W.dtype == b.dtype == np.float64
    assert W.flags.c_contiguous


@pytest.mark.parametrize(
    "name, variance",
    [
        ("normal", 0.01**2),
        ("uniform", 0.05**2 / 3),
        ("glorot_uniform", 2 / (N_IN + N_OUT)),
        ("glorot_normal", 2 / (N_IN + N_OUT)),
        ("lecun_uniform", 1 / N_IN),
        ("lecun_normal", 1 / N_IN),
        ("he_uniform", 2 / N_IN),
        ("he_normal", 2 / N_IN),
        ("auto", 2 / (N_IN + N_OUT)),
    ],
)
def test_variance_is_the_papers(name, variance):
    W, _ = draw(name)
    # The variance of the sample variance is at most that of a normal sample, 2 variance^2 / n.
    assert W.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / W.size))
    assert W.mean() == pytest.approx(0, abs=5 * np.sqrt(variance / W.size))


@pytest.mark.parametrize("name", [name for name in INITIALIZERS if name.endswith("uniform")])
def test_uniform_weights_fill_their_bounds_evenly(name):
    W, _ = draw(name)
    bound = np.sqrt(3 * W.var())
    assert np.abs(W).max() == pytest.approx(bound, rel=0.02)


@pytest.mark.parametrize("name", [name for name in INITIALIZERS if name != "auto"])
def test_biases_start_at_zero(name):
    assert not draw(name)[1].any()


def test_zeros_are_zero():
    assert not draw("zeros")[0].any()


@pytest.mark.parametrize("shape", [(8, 5), (5, 8), (6, 6), (1, 4), (70, 40), (64, 99), (600, 40), (1, 9000)])
def test_orthogonal_rows_or_columns_are_orthonormal_up_to_the_gain(shape):
    W, _ = draw(Orthogonal(gain=2.0), *shape)
    product = W.T @ W if shape[0] >= shape[1] else W @ W.T
    np.testing.assert_allclose(product, 4 * np.eye(min(shape)), atol=1e-12)


def test_orthogonal_prefers_no_sign():
    state = np.random.RandomState(0)
    corners = [Orthogonal().draw(state, 2, 2)[0][0, 0] for _ in range(400)]
    assert np.mean(np.array(corners) > 0) == pytest.approx(0.5, abs=0.125)


def test_numbers_scale_the_draw():
    np.testing.assert_allclose(draw(Normal(std=0.5))[0], 50 * draw(Normal(std=0.01))[0], rtol=1e-14)
    assert np.abs(draw(Uniform(bound=2.0))[0]).max() == pytest.approx(2, rel=0.01)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("activation", ["relu", "logistic", "tanh", "identity"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_auto_gives_scikit_learns_starting_weights(activation, dtype):
    X = np.random.RandomState(1).normal(size=(20, 4)).astype(dtype)
    y = np.arange(20) % 3
    # A learning rate of 1e-300 leaves the starting weights as they are.
    options = {
        "hidden_layer_sizes": (6, 5),
        "max_iter": 1,
        "learning_rate_init": 1e-300,
        "solver": "sgd",
    }
    theirs = MLPClassifier(activation=activation, random_state=7, **options).fit(X, y)
    state = np.random.RandomState(7)
    for W, b in zip(theirs.coefs_, theirs.intercepts_, strict=True):
        ours = Auto().draw(state, *W.shape, activation)
        assert np.array_equal(ours[0].astype(dtype), W)
        assert np.array_equal(ours[1].astype(dtype), b)


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7])
def test_auto_draws_the_same_numbers_in_pieces_as_in_one(size):
    bound = np.sqrt(6 / (size + 1))
    state = np.random.RandomState(3)
    W, b = state.uniform(-bound, bound, (size, 1)), state.uniform(-bound, bound, 1)
    for dtype in (np.float32, np.float64):
        ours = Auto(dtype).draw(np.random.RandomState(3), size, 1)
        assert [array.dtype for array in ours] == [dtype, dtype]
        np.testing.assert_array_equal(ours[0], W.astype(dtype))
        np.testing.assert_array_equal(ours[1], b.astype(dtype))


@pytest.mark.parametrize("spec, field", [(Normal, "std"), (Uniform, "bound"), (Orthogonal, "gain")])
def test_numbers_out_of_range_are_refused(spec, field):
    with pytest.raises(ValueError, match=rf"{spec.__name__}\({field}=\): expected .*got -1.*usual value"):
        spec(**{field: -1})


@pytest.mark.parametrize("wrong, cure", [("glorot", "pass a spec"), (Normal, r"write Normal\(\)"), (0, "pass a spec")])
def test_an_unknown_initialiser_is_refused_with_place_names_and_cure(wrong, cure):
    with pytest.raises(ValueError, match=f"init: expected one of auto, .*orthogonal.*{cure}"):
        get_initializer(wrong)
