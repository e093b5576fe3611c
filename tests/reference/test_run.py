"""The reference Runner: whole plans, chunks, batches, weights, traces, and scikit-learn's MLP step
for step.
"""

import threading

import numpy as np
import pytest
from scipy import sparse
from sklearn.neural_network import MLPClassifier, MLPRegressor

from fastnn import losses, optimizers
from fastnn.activations import ACTIVATIONS
from fastnn.initializers import Auto
from fastnn.layers import (
    GRU,
    LSTM,
    AvgPool1D,
    BatchNorm,
    Bidirectional,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    LayerNorm,
    MaxPool2D,
    Reshape,
    Residual,
    SimpleRNN,
    TimeDistributed,
)
from fastnn.lower import Network, lower
from fastnn.plan import Buffer, Op, Plan
from fastnn.reference import Runner, trace

N, FEATURES, CLASSES = 30, 5, 3
RANDOM = np.random.RandomState(0)
X = RANDOM.normal(size=(N, FEATURES))
y = RANDOM.randint(CLASSES, size=N)
weights = RANDOM.uniform(0.5, 2, N)


def network(*hidden, loss=None, outputs=CLASSES):
    loss = loss or losses.LogLoss()
    layers = (*hidden, Dense(outputs, "identity"))
    return Network(FEATURES, layers, loss, loss.output_activation(multiclass=outputs > 1))


def runner_for(net, purpose, rows=N, dtype=np.float64, data=None, seed=0, **options):
    """A runner with small random parameters, bound to the data."""
    plan = lower(net, purpose, one_hot=isinstance(net.loss, losses.LogLoss), **options)
    runner = Runner(plan, dtype=dtype, rows=rows, seed=seed)
    draw = np.random.RandomState(1)
    for name in plan.parameters:
        base = plan.initial.get(name, 0.0)
        runner.set(name, base + 0.4 * draw.normal(size=plan.buffers[name].shape))
    if purpose != "predict":
        runner.bind(*(data or (X, y)))
    return runner


def gradient_vector(runner):
    return np.concatenate([runner.get(g).ravel() for g in runner.plan.gradients.values()])


def parameters_of(runner):
    return {name: runner.get(name) for name in runner.plan.parameters + runner.plan.statistics}


SMOOTH = [name for name in ACTIVATIONS if name not in ("unit_step", "sign")]


@pytest.mark.parametrize("activation", SMOOTH)
def test_gradient_of_a_whole_network_equals_central_differences(activation):
    net = network(Dense(4, activation), LayerNorm(), Dropout(0.2), Dense(4, activation))
    runner = runner_for(net, "gradient", weighted=True, l1=0.1, l2=0.3, data=(X, y, weights))
    runner.loss_and_gradient()
    check_gradients(runner)


def test_gradient_through_batch_norm_equals_central_differences():
    runner = runner_for(network(Dense(4, "tanh"), BatchNorm(), Dense(4, "tanh")), "gradient", l2=0.3)
    runner.loss_and_gradient()
    check_gradients(runner)


@pytest.mark.parametrize("loss", [spec() for spec in losses.REGRESSOR_LOSSES.values()], ids=repr)
def test_gradient_of_every_regression_loss_equals_central_differences(loss):
    target = np.random.RandomState(2).uniform(0.1, 3, (N, 2))
    runner = runner_for(network(Dense(4, "tanh"), loss=loss, outputs=2), "gradient", data=(X, target))
    runner.loss_and_gradient()
    check_gradients(runner)


def check_gradients(runner, h=1e-6):
    analytic = {name: runner.get(gradient) for name, gradient in runner.plan.gradients.items()}
    assert set(analytic) == set(runner.plan.parameters)
    for name, gradient in analytic.items():
        value = runner.get(name)
        for place in list(np.ndindex(value.shape))[::3]:
            losses_at = []
            for shift in (h, -h):
                moved = value.copy()
                moved[place] += shift
                runner.set(name, moved)
                losses_at.append(runner.loss_and_gradient())
            runner.set(name, value)
            assert gradient[place] == pytest.approx((losses_at[0] - losses_at[1]) / (2 * h), rel=1e-5, abs=1e-7)


IMAGE_LAYERS = (
    Reshape((5, 1, 1)),
    Conv2D(3, (2, 1), padding="same", activation="rrelu"),
    Residual([LayerNorm(), Conv2D(3, 1, groups=3)]),
    Dropout(0.3),
    MaxPool2D((2, 1)),
    Reshape((2, 3)),
    AvgPool1D(2, 1),
    Dropout(0.3, channels=True),
)


SEQUENCE_LAYERS = (
    Reshape((5, 1)),
    Bidirectional(LSTM(2, True, dropout=0.3, recurrent_dropout=0.3)),
    TimeDistributed(Dense(3, "gelu")),
    SimpleRNN(3, True, recurrent_dropout=0.3, activation="silu"),
    GRU(4, truncate=2, recurrent_dropout=0.3),
)


@pytest.mark.parametrize("rows", [1, 7, 29, 30, 64])
@pytest.mark.parametrize(
    "layers",
    [(Dense(4, "rrelu"), LayerNorm(), Dropout(0.3), Dense(4, "gelu")), IMAGE_LAYERS, SEQUENCE_LAYERS],
    ids=["rows", "images", "sequences"],
)
def test_chunks_of_any_size_give_the_same_loss_and_gradient(rows, layers):
    net = network(*layers)
    whole = runner_for(net, "gradient", weighted=True, l2=0.1, data=(X, y, weights))
    parts = runner_for(net, "gradient", rows=rows, weighted=True, l2=0.1, data=(X, y, weights))
    assert parts.loss_and_gradient() == pytest.approx(whole.loss_and_gradient(), rel=1e-13)
    np.testing.assert_allclose(gradient_vector(parts), gradient_vector(whole), rtol=1e-10, atol=1e-14)


def test_a_plan_that_mixes_rows_refuses_to_split_a_batch():
    runner = runner_for(network(BatchNorm()), "gradient", rows=N - 1)
    with pytest.raises(ValueError, match="build the Runner with rows=30"):
        runner.loss_and_gradient()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("first", [(), IMAGE_LAYERS, SEQUENCE_LAYERS], ids=["rows", "images", "sequences"])
def test_every_buffer_has_its_shape_and_the_real_type_and_sums_are_float64(dtype, first):
    net = network(*first, Dense(4, "gelu"), BatchNorm(), Dropout(0.3), Dense(4, "rrelu"), LayerNorm())
    options = {"l2": 0.1, "clip_norm": 1.0, "optimizer": optimizers.AdamW(), "weighted": True}
    check_types_and_shapes(runner_for(net, "train", dtype=dtype, data=(X.astype(np.float32), y, weights), **options))


def check_types_and_shapes(runner):
    for _, _, op, outputs in trace(runner, 10, rate=0.01):
        for name, array in outputs.items():
            summed = runner.plan.buffers[name].role in ("partial", "row_loss")
            assert array.dtype == (np.float64 if summed else runner.dtype), (op.kind, name)
            buffer = runner.plan.buffers[name]
            rows = {"batch": (10,), "row": (10,), "row_loss": (10,)}.get(buffer.role, ())
            assert array.shape == (*rows, *buffer.shape), (op.kind, name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_buffer_of_a_plan_with_lengths_has_its_shape_and_the_real_type(dtype):
    layers = (Embedding(4, 3), GRU(3, True), Residual([LSTM(3, True)]), TimeDistributed(Dense(CLASSES)))
    net = Network((5, 1), layers, losses.LogLoss(), "softmax", lengths=True)
    data = np.c_[RANDOM.randint(4, size=(N, 5)), RANDOM.randint(1, 6, size=N)], RANDOM.randint(CLASSES, size=(N, 5))
    runner = runner_for(net, "train", dtype=dtype, data=(*data, weights), weighted=True, optimizer=optimizers.Adam())
    check_types_and_shapes(runner)


def test_weight_two_equals_the_row_twice():
    net = network(Dense(4, "tanh"))
    doubled = np.r_[np.arange(N), 3, 5]
    w = np.ones(N)
    w[[3, 5]] = 2
    weighted = runner_for(net, "gradient", weighted=True, data=(X, y, w), l2=0.1)
    repeated = runner_for(net, "gradient", data=(X[doubled], y[doubled]), l2=0.1)
    assert weighted.loss_and_gradient() == pytest.approx(repeated.loss_and_gradient(), rel=1e-13)
    np.testing.assert_allclose(gradient_vector(weighted), gradient_vector(repeated), rtol=1e-10, atol=1e-14)


def test_rows_without_any_weight_cost_nothing():
    runner = runner_for(network(Dense(4, "relu")), "gradient", weighted=True, data=(X, y, np.zeros(N)), l2=0.1)
    assert runner.loss_and_gradient() == 0
    assert not gradient_vector(runner).any()
    assert runner_for(network(Dense(4, "relu")), "evaluate", weighted=True, data=(X, y, np.zeros(N))).evaluate() == 0


def test_sparse_rows_equal_dense_rows():
    sparse_X = np.where(np.abs(X) > 1, X, 0)
    dense, csr = (
        runner_for(network(Dense(4, "relu")), "gradient", data=(data, y))
        for data in (sparse_X, sparse.csr_array(sparse_X))
    )
    assert dense.loss_and_gradient() == csr.loss_and_gradient()
    assert np.array_equal(gradient_vector(dense), gradient_vector(csr))


def test_evaluate_is_the_weighted_mean_loss_without_penalty():
    net = network(Dense(4, "tanh"))
    loss = runner_for(net, "evaluate", rows=8, weighted=True, data=(X, y, weights)).evaluate()
    probability = runner_for(net, "predict").forward(X)[np.arange(N), y]
    assert loss == pytest.approx(np.average(-np.log(probability), weights=weights), rel=1e-12)


class TestTraining:
    net = network(Dense(6, "relu"), Dropout(0.2))
    options = {"optimizer": optimizers.Adam(), "l2": 0.01}

    def runner(self, **changes):
        return runner_for(self.net, "train", **{**self.options, **changes})

    def test_lowers_the_loss(self):
        runner = self.runner()
        sums = [runner.train(10, 0, 3, 3 * epoch, np.full(3, 0.02))[1] for epoch in range(40)]
        assert np.mean(sums[-5:]) < 0.7 * np.mean(sums[:5])

    def test_in_pieces_equals_training_in_one_go(self):
        whole, pieces = self.runner(), self.runner()
        rates = np.linspace(0.01, 0.03, 4)
        for runner in (whole, pieces):
            runner.shuffle(2)
        done, total = whole.train(8, 0, 4, 5, rates)
        parts = [pieces.train(8, 0, 1, 5, rates[:1]), pieces.train(8, 1, 3, 6, rates[1:])]
        assert (done, total) == (4, pytest.approx(sum(loss for _, loss in parts), rel=1e-14))
        for name, value in parameters_of(whole).items():
            assert np.array_equal(value, pieces.get(name))

    def test_comes_back_after_its_seconds_with_at_least_one_batch_done(self):
        assert self.runner().train(10, 0, 3, 0, np.full(3, 0.01), seconds=0.0)[0] == 1

    def test_counts_the_smaller_last_batch_by_its_rows(self):
        # Rate 0 leaves the weights alone: the loss sum is that of all rows in any batches.
        net = network(Dense(6, "relu"))
        one = runner_for(net, "train", optimizer=optimizers.SGD())
        many = runner_for(net, "train", optimizer=optimizers.SGD())
        total = one.train(30, 0, 1, 0, np.zeros(1))[1]
        assert many.train(8, 0, 4, 0, np.zeros(4))[1] == pytest.approx(total, rel=1e-13)

    def test_fused_updates_equal_separate_ones(self):
        separate, fused = (
            self.runner(clip_value=0.02),
            self.runner(clip_value=0.02, whole_batch=True),
        )
        results = [runner.train(10, 0, 3, 0, np.full(3, 0.01)) for runner in (separate, fused)]
        assert results[0] == results[1]
        for name, value in parameters_of(separate).items():
            assert np.array_equal(value, fused.get(name))

    def test_follows_the_order_and_the_seed(self):
        def train(seed, epoch):
            runner = self.runner(seed=seed)
            runner.shuffle(epoch)
            runner.train(10, 0, 3, 0, np.full(3, 0.01))
            return runner.get("dense0.W").tobytes()

        assert len({train(seed, epoch) for seed in (0, 1) for epoch in (0, 1)}) == 4
        assert train(1, 1) == train(1, 1)

    def test_order_none_is_the_order_of_the_rows(self):
        runner = self.runner()
        assert runner.order is None
        runner.shuffle(0)
        assert sorted(runner.order) == list(range(N))
        runner.order = None
        assert runner.order is None


class TestForward:
    net = network(Dense(6, "rrelu"), BatchNorm(), Dropout(0.5))

    @pytest.mark.parametrize("rows", [1, 7, 100])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_predicts_probabilities_of_the_real_type_in_chunks(self, rows, dtype):
        output = runner_for(self.net, "predict", rows=rows, dtype=dtype).forward(X)
        assert output.shape == (N, CLASSES) and output.dtype == dtype
        np.testing.assert_allclose(output.sum(axis=1), 1, rtol=1e-6)

    def test_bound_rows_are_predicted_without_being_named(self):
        runner = runner_for(self.net, "predict")
        runner.bind(X)
        np.testing.assert_array_equal(runner.forward(), runner.forward(X))

    def test_no_rows_give_no_predictions(self):
        assert runner_for(self.net, "predict").forward(X[:0]).shape == (0, CLASSES)

    def test_is_reentrant(self):
        runner = runner_for(self.net, "predict", rows=4)
        inputs = [X + i for i in range(6)]
        expected = [runner.forward(x) for x in inputs]
        results = [None] * len(inputs)

        def predict(i):
            results[i] = runner.forward(inputs[i])

        threads = [threading.Thread(target=predict, args=(i,)) for i in range(len(inputs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(np.array_equal(a, b) for a, b in zip(expected, results, strict=True))


class TestInterface:
    def test_arrays_go_in_and_come_out_as_copies(self):
        runner = runner_for(network(Dense(4, "relu")), "gradient")
        W = np.ones((FEATURES, 4))
        runner.set("dense0.W", W)
        W[:] = 2
        runner.get("dense0.W")[:] = 3
        assert np.all(runner.get("dense0.W") == 1)

    @pytest.mark.parametrize(
        "name, value, message",
        [("dense0.W", np.ones((2, 2)), "shape"), ("dense0.z", np.ones((1, 4)), "role")],
    )
    def test_set_refuses_what_does_not_fit(self, name, value, message):
        runner = runner_for(network(Dense(4, "gelu")), "gradient")
        with pytest.raises(ValueError, match=message):
            runner.set(name, value)

    @pytest.mark.parametrize(
        "data, message",
        [
            ((X,), "y is missing"),
            ((X, y, weights), "sample_weight is not read"),
            ((X, y[:5]), "y has shape"),
        ],
    )
    def test_bind_refuses_what_the_plan_does_not_read(self, data, message):
        runner = runner_for(network(Dense(4, "relu")), "gradient")
        with pytest.raises(ValueError, match=message):
            runner.bind(*data)

    @pytest.mark.parametrize("shape", [(7, 3, 2, 1), (7, 6), (7, 3, 2)])
    def test_images_may_come_flat(self, shape):
        plan = lower(Network((3, 2, 1), (Conv2D(2, 2), Flatten()), losses.SquaredError()), "predict")
        runner = Runner(plan, dtype=np.float64, rows=4)
        runner.set("conv0.W", np.arange(8.0).reshape(2, 2, 1, 2))
        images = RANDOM.normal(size=(7, 3, 2, 1))
        assert np.array_equal(runner.forward(images.reshape(shape)), runner.forward(images))

    def test_forward_refuses_rows_of_another_size(self):
        with pytest.raises(ValueError, match=r"X has shape \(30, 4\), expected \(30, 5\)"):
            runner_for(network(Dense(4, "relu")), "predict").forward(X[:, :4])

    def test_parameters_and_statistics_start_as_the_plan_says(self):
        plan = lower(network(BatchNorm()), "train", one_hot=True, optimizer=optimizers.SGD())
        runner = Runner(plan, dtype=np.float32, rows=4)
        assert runner.get("norm0.gamma").tolist() == [1] * FEATURES
        assert runner.get("norm0.running_mean").tolist() == [0] * FEATURES
        assert runner.get("norm0.running_var").tolist() == [1] * FEATURES


def test_a_plan_made_by_hand_runs():
    buffers = {
        name: Buffer(name, shape, role)
        for name, shape, role in (
            ("X", (2,), "source"),
            ("x", (2,), "batch"),
            ("W", (2, 3), "parameter"),
            ("b", (3,), "parameter"),
            ("y", (3,), "batch"),
            ("output", (3,), "source"),
        )
    }
    ops = (
        Op("gather", ("X",), ("x",)),
        Op("dense", ("x", "W", "b"), ("y",), {"activation": ("relu",)}),
        Op("store", ("y",), ("output",)),
    )
    runner = Runner(Plan("predict", buffers, step=ops), dtype=np.float64, rows=2)
    W, b = np.arange(6.0).reshape(2, 3), np.array([-9.0, 0.0, 1.0])
    runner.set("W", W)
    runner.set("b", b)
    rows = np.arange(10.0).reshape(5, 2)
    assert np.array_equal(runner.forward(rows), np.maximum(rows @ W + b, 0))


class TestTrace:
    options = {"optimizer": optimizers.SGD(), "l2": 0.1}

    def test_visits_every_op_in_order_and_leaves_the_runner_alone(self):
        runner = runner_for(network(Dense(4, "relu"), Dense(4, "relu")), "train", rows=6, **self.options)
        before = parameters_of(runner)
        traced = list(trace(runner, 10, batch=1, rate=0.5))
        plan = runner.plan
        assert [op for _, _, op, _ in traced] == [
            *plan.prepare,
            *plan.step,
            *plan.step,
            *plan.update,
        ]
        assert all(np.array_equal(value, runner.get(name)) for name, value in before.items())
        assert not np.array_equal(traced[-2].outputs.get("dense2.W", 0), before["dense2.W"])

    def test_ends_where_training_ends(self):
        runner = runner_for(network(Dense(4, "relu")), "train", **self.options)
        final = {}
        for _, _, _, outputs in trace(runner, 10, batch=2, step=7, rate=0.5):
            final |= outputs
        runner.train(10, 2, 1, 7, np.array([0.5]))
        assert all(np.array_equal(final[name], runner.get(name)) for name in runner.plan.parameters)

    def test_names_the_first_buffer_that_differs(self):
        one, two = (runner_for(network(Dense(4, "relu"), Dense(4, "relu")), "train", **self.options) for _ in range(2))
        two.set("dense1.W", 1.5 * two.get("dense1.W"))
        pairs = zip(trace(one, 10), trace(two, 10), strict=True)
        different = [
            name
            for a, b in pairs
            if a.section == "step"
            for name in a.op.outputs
            if not np.array_equal(a.outputs[name], b.outputs[name])
        ]
        assert different[0] == "dense1.y"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
class TestAgainstScikitLearn:
    """Without shuffling, every step is scikit-learn's: same start, same batches, same update, same
    penalty.
    """

    def fit(self, theirs, net, spec, target, activation, rate, **options):
        epochs, batch = theirs.max_iter, theirs.batch_size
        plan = lower(net, "train", optimizer=spec, l2=theirs.alpha, **options)
        runner = Runner(plan, dtype=np.float64, rows=batch)
        state = np.random.RandomState(0)
        for i, layer in enumerate(net.layers):
            n_in = FEATURES if i == 0 else net.layers[i - 1].units
            W, b = Auto().draw(state, n_in, layer.units, activation)
            runner.set(f"dense{i}.W", W)
            runner.set(f"dense{i}.b", b)
        runner.bind(X, target)
        n_batches = -(-N // batch)
        curve = [
            runner.train(batch, 0, n_batches, epoch * n_batches, np.full(n_batches, rate))[1] / N
            for epoch in range(epochs)
        ]
        np.testing.assert_allclose(curve, theirs.loss_curve_, rtol=1e-10)
        for i, (W, b) in enumerate(zip(theirs.coefs_, theirs.intercepts_, strict=True)):
            np.testing.assert_allclose(runner.get(f"dense{i}.W"), W, rtol=1e-8, atol=1e-11)
            np.testing.assert_allclose(runner.get(f"dense{i}.b"), b, rtol=1e-8, atol=1e-11)

    common = {
        "hidden_layer_sizes": (7, 4),
        "random_state": 0,
        "shuffle": False,
        "batch_size": 8,
        "max_iter": 6,
        "alpha": 0.5,
        "learning_rate_init": 0.02,
    }

    @pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
    @pytest.mark.parametrize("solver, spec", [("adam", optimizers.Adam()), ("sgd", optimizers.SGD())])
    def test_classifier_weights_and_loss_curve(self, activation, solver, spec):
        theirs = MLPClassifier(activation=activation, solver=solver, **self.common).fit(X, y)
        net = network(Dense(7, activation), Dense(4, activation))
        self.fit(theirs, net, spec, y, activation, 0.02, one_hot=True)

    def test_binary_classifier(self):
        binary = (y > 0).astype(np.int64)
        theirs = MLPClassifier(**self.common).fit(X, binary)
        net = network(Dense(7, "relu"), Dense(4, "relu"), outputs=1)
        self.fit(theirs, net, optimizers.Adam(), binary, "relu", 0.02, one_hot=True)

    # With several outputs scikit-learn reports their mean squared error but descends on the sum.
    @pytest.mark.parametrize("loss, outputs", [(losses.SquaredError(), 1), (losses.Poisson(), 2)])
    def test_regressor(self, loss, outputs):
        target = np.random.RandomState(3).poisson(2.0, (N, outputs)).astype(float)
        theirs = MLPRegressor(loss=loss.name, **self.common).fit(X, target if outputs > 1 else target.ravel())
        net = network(Dense(7, "relu"), Dense(4, "relu"), loss=loss, outputs=outputs)
        self.fit(theirs, net, optimizers.Adam(), target, "relu", 0.02)
