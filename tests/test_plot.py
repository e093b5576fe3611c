"""Displays draw what the estimator holds, and say what they need."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastnn import ConvNet, MLPClassifier, plot
from fastnn.layers import Conv1D, Conv2D, MaxPool2D

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:200].reshape(-1, 8, 8) / 16, y[:200]


@pytest.fixture(scope="module")
def net(digits):
    layers = [Conv2D(6, 3, activation="relu"), MaxPool2D(2)]
    return ConvNet(layers, max_iter=2, early_stopping=True, random_state=0).fit(*digits)


@pytest.fixture
def axes():
    """Axes of a figure that no window system needs to know."""
    figure = pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed (extra: plot)")
    return figure.Figure().subplots()


def test_tiles_lie_side_by_side_with_gaps():
    tiles = np.arange(5.0)[:, np.newaxis, np.newaxis] * np.ones((5, 2, 3))
    picture = plot._side_by_side(tiles)
    assert picture.shape == (2 * 3 + 2, 2 * 4 - 1) or picture.shape == (2 * 3 - 1, 3 * 4 - 1)
    assert sorted(set(picture[np.isfinite(picture)])) == [0, 1, 2, 3, 4]
    assert np.isfinite(picture).sum() == tiles.size


def test_loss_curves(net, axes):
    display = plot.LossCurveDisplay.from_estimator(net, ax=axes, name="digits")
    assert [line.get_label() for line in display.lines_] == ["digits: training loss", "digits: validation loss"]
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), net.loss_curve_)
    assert display.ax_ is axes and display.figure_ is axes.figure


def test_loss_curve_of_a_pipeline(digits, axes):
    X, y = digits
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((5,), max_iter=2)).fit(X.reshape(200, -1), y)
    assert len(plot.LossCurveDisplay.from_estimator(pipeline, ax=axes).lines_) == 1


def test_filters(net, axes):
    display = plot.FilterDisplay.from_estimator(net, ax=axes)
    np.testing.assert_array_equal(display.tiles[4], net.coefs_[0][:, :, 0, 4])
    assert display.image_.get_array().shape[0] >= 3


def test_filters_of_colours_and_of_one_channel(digits, axes):
    X, y = digits
    net = ConvNet([Conv2D(4, 3)], max_iter=1).fit(np.repeat(X[..., np.newaxis], 3, axis=3), y)
    display = plot.FilterDisplay.from_estimator(net, ax=axes)
    assert display.tiles.shape == (4, 3, 3, 3)
    assert 0 <= display.tiles.min() <= display.tiles.max() <= 1
    assert plot.FilterDisplay.from_estimator(net, channel=2, ax=axes).tiles.shape == (4, 3, 3)


def test_filters_and_feature_maps_of_signals(digits, axes):
    X, y = digits
    net = ConvNet([Conv1D(4, 5, padding="same")], input_shape=(64, 1), max_iter=1).fit(X.reshape(200, 64), y)
    assert plot.FilterDisplay.from_estimator(net, ax=axes).tiles.shape == (4, 1, 5)
    assert plot.FeatureMapDisplay.from_estimator(net, X.reshape(200, 64), ax=axes).tiles.shape == (4, 1, 64)


def test_feature_maps(net, digits, axes):
    X, _ = digits
    display = plot.FeatureMapDisplay.from_estimator(net, X[3:4], layer=1, ax=axes, cmap="gray")
    np.testing.assert_allclose(np.moveaxis(display.tiles, 0, -1), net.transform(X[3:4], layer=1)[0])
    assert plot.FeatureMapDisplay.from_estimator(net, X, layer=-1, ax=axes).tiles.shape == (1, 1, 10)


def test_feature_maps_of_a_pipeline(digits, axes):
    X, y = digits[0].reshape(200, -1), digits[1]
    pipeline = make_pipeline(
        StandardScaler(), "passthrough", ConvNet([Conv2D(4, 3)], input_shape=(8, 8), max_iter=1)
    ).fit(X, y)
    display = plot.FeatureMapDisplay.from_estimator(pipeline, X, ax=axes)
    maps = pipeline[-1].transform(pipeline[0].transform(X[:1]), layer=0)[0]
    np.testing.assert_array_equal(np.moveaxis(display.tiles, 0, -1), maps)


def test_bad_requests(net):
    with pytest.raises(ValueError, match="index=2 is not in coefs_, which holds 2"):
        plot.FilterDisplay.from_estimator(net, 2)
    with pytest.raises(ValueError, match=r"coefs_\[1\] of shape \(54, 10\) is a dense layer; .*\[0\]"):
        plot.FilterDisplay.from_estimator(net, 1)
    with pytest.raises(ValueError, match="channel=1, but the layer reads 1"):
        plot.FilterDisplay.from_estimator(net, channel=1)
    with pytest.raises(ValueError, match="index='a' is not in coefs_"):
        plot.FilterDisplay.from_estimator(net, "a")
    with pytest.raises(ValueError, match=r"channel=0\.5, but the layer reads 1"):
        plot.FilterDisplay.from_estimator(net, channel=0.5)
    scaler = StandardScaler().fit([[0.0], [1.0]])
    for display, rest in ((plot.LossCurveDisplay, ()), (plot.FilterDisplay, ()), (plot.FeatureMapDisplay, ([[0.0]],))):
        for other in (scaler, make_pipeline(scaler)):
            with pytest.raises(TypeError, match=f"{display.__name__}: expected a network of fastnn .* StandardScaler"):
                display.from_estimator(other, *rest)
    with pytest.raises(NotFittedError):
        plot.LossCurveDisplay.from_estimator(ConvNet())


def test_without_matplotlib_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['matplotlib.pyplot'] = sys.modules['matplotlib'] = None\n"
        "from fastnn import plot\n"
        "try: plot.LossCurveDisplay({'loss': [1, 2]}).plot()\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "fastnn.plot needs matplotlib: pip install 'fastnn[plot]'" in done.stdout
