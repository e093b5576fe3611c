"""Figures of fitted estimators, after scikit-learn's convention: ``SomeDisplay.from_estimator(estimator, ...)`` gathers
what is to be seen and draws it; ``display.plot()`` draws it again. Needs matplotlib (extra ``plot``)."""

from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastnn.spec import shown


def _axes(ax):
    """The axes to draw on, and their figure."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as missing:
        raise ImportError("fastnn.plot needs matplotlib: pip install 'fastnn[plot]'") from missing
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    return ax, ax.figure


def _side_by_side(tiles):
    """One picture of all tiles (count, height, width, ...) in a grid as square as can be, with gaps of NaN between."""
    count, height, width = tiles.shape[:3]
    columns = int(np.ceil(np.sqrt(count * height / width)))
    columns = min(max(columns, 1), count)
    rows = -(-count // columns)
    picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, *tiles.shape[3:]), np.nan)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        picture[top : top + height, left : left + width] = tile
    return picture


class _Picture:
    """A display that is one picture on one pair of axes."""

    def __init__(self, tiles, title):
        self.tiles, self.title = tiles, title

    def plot(self, ax=None, **imshow_options):
        """Draw the tiles side by side.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure.

        **imshow_options : dict
            Passed on to ``Axes.imshow``; overrides the colours.

        Returns
        -------
        display : the display itself, with `ax_`, `figure_` and `image_`
        """
        self.ax_, self.figure_ = _axes(ax)
        picture = _side_by_side(self.tiles)
        if picture.ndim == 3:  # colours: white gaps
            picture = np.nan_to_num(picture, nan=1.0)
        self.image_ = self.ax_.imshow(picture, **{"cmap": self._colours, "interpolation": "nearest", **imshow_options})
        self.ax_.set(xticks=[], yticks=[], title=self.title)
        return self


class LossCurveDisplay:
    """The training loss of each epoch and, where rows were held out, their loss.

    Parameters
    ----------
    curves : dict of str to array of shape (n_epochs,)
        Label and losses of each line.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    lines_ : list of matplotlib Line2D

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastnn import MLPClassifier
    >>> from fastnn.plot import LossCurveDisplay
    >>> clf = MLPClassifier((10,), solver="lbfgs", alpha=1, random_state=0).fit(*load_iris(return_X_y=True))
    >>> display = LossCurveDisplay.from_estimator(clf)  # doctest: +SKIP
    """

    def __init__(self, curves):
        self.curves = curves

    @classmethod
    def from_estimator(cls, estimator, *, name=None, ax=None, **line_options):
        """Draw the losses of a fitted estimator of fastnn.

        Parameters
        ----------
        estimator : fitted estimator, or Pipeline that ends in one

        name : str, default=None
            Put before the labels, to tell several estimators on the same axes apart.

        ax : matplotlib Axes, default=None

        **line_options : dict
            Passed on to ``Axes.plot``.

        Returns
        -------
        display : LossCurveDisplay
        """
        history = _fitted(cls, estimator, "history_")
        names = {"loss": "training loss", "validation_loss": "validation loss"}
        curves = {
            f"{name}: {label}" if name else label: np.asarray(history[key])
            for key, label in names.items()
            if key in history
        }
        return cls(curves).plot(ax, **line_options)

    def plot(self, ax=None, **line_options):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None

        **line_options : dict

        Returns
        -------
        display : LossCurveDisplay
        """
        self.ax_, self.figure_ = _axes(ax)
        self.lines_ = []
        for label, losses in self.curves.items():
            epochs = np.arange(1, len(losses) + 1)
            self.lines_ += self.ax_.plot(epochs, losses, **{"label": label, **line_options})
        self.ax_.set(xlabel="epoch", ylabel="loss")
        if all(np.min(losses, initial=np.inf) > 0 for losses in self.curves.values()):
            self.ax_.set_yscale("log")
        self.ax_.legend()
        return self


class FilterDisplay(_Picture):
    """The kernels of a convolution layer as pictures.

    Parameters
    ----------
    tiles : array of shape (n_tiles, height, width) or (n_tiles, height, width, 3)
    title : str

    Attributes
    ----------
    ax_, figure_, image_ : matplotlib Axes, Figure and AxesImage
    """

    _colours = "gray"

    @classmethod
    def from_estimator(cls, estimator, index=0, *, channel=None, ax=None, **imshow_options):
        """Draw the kernels in ``coefs_[index]``.

        Parameters
        ----------
        estimator : fitted ConvNet or ConvNetRegressor, or Pipeline that ends in one

        index : int, default=0
            Index into `coefs_`, of a convolution.

        channel : int or None, default=None
            Input channel to look at. None: colours for three input channels, the only channel if there is one, else
            the mean over channels.

        ax : matplotlib Axes, default=None

        **imshow_options : dict
            Passed on to ``Axes.imshow``.

        Returns
        -------
        display : FilterDisplay
            One tile a filter; of signals, one line a filter.
        """
        coefs = _fitted(cls, estimator, "coefs_")
        if not isinstance(index, Integral) or not -len(coefs) <= index < len(coefs):
            raise ValueError(f"FilterDisplay: index={shown(index)} is not in coefs_, which holds {len(coefs)} arrays")
        W = np.asarray(coefs[index], float)
        if W.ndim == 2:
            convolutions = [i for i, coef in enumerate(coefs) if np.ndim(coef) > 2]
            raise ValueError(
                f"FilterDisplay: coefs_[{index}] of shape {W.shape} is a dense layer; layers with filters to see: "
                f"{convolutions}"
            )
        if W.ndim == 3:
            W = W[np.newaxis]
        if channel is not None and not (isinstance(channel, Integral) and -W.shape[2] <= channel < W.shape[2]):
            raise ValueError(f"FilterDisplay: channel={shown(channel)}, but the layer reads {W.shape[2]} channels")
        tiles = np.moveaxis(W, -1, 0)  # filter, height, width, channel
        if channel is None and tiles.shape[-1] == 3:
            low, high = (f(tiles, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
            tiles = (tiles - low) / np.maximum(high - low, np.finfo(float).tiny)
        else:
            tiles = tiles.mean(axis=-1) if channel is None else tiles[..., channel]
        return cls(tiles, f"filters of coefs_[{index}]").plot(ax, **imshow_options)


class FeatureMapDisplay(_Picture):
    """What a layer makes of one image or signal: a picture for each channel.

    Parameters
    ----------
    tiles : array of shape (n_channels, height, width)
    title : str

    Attributes
    ----------
    ax_, figure_, image_ : matplotlib Axes, Figure and AxesImage
    """

    _colours = "viridis"

    @classmethod
    def from_estimator(cls, estimator, X, layer=0, *, ax=None, **imshow_options):
        """Draw the activations behind a layer.

        Parameters
        ----------
        estimator : fitted ConvNet or ConvNetRegressor, or Pipeline that ends in one

        X : array of one row
            In any form that `predict` takes, with one row: the first row of more is drawn.

        layer : int, default=0
            Index of the layer, as in ``estimator.transform(X, layer=layer)``.

        ax : matplotlib Axes, default=None

        **imshow_options : dict
            Passed on to ``Axes.imshow``.

        Returns
        -------
        display : FeatureMapDisplay
            Of a signal, one line a channel; of features, one line.
        """
        _fitted(cls, estimator, "coefs_")
        X = X[:1]
        if hasattr(estimator, "steps") and len(estimator) > 1:
            X = estimator[:-1].transform(X)
        maps = np.asarray(_network(estimator).transform(X, layer=layer))[0]
        maps = maps.reshape((1,) * (3 - maps.ndim) + maps.shape) if maps.ndim > 1 else maps[np.newaxis, :, np.newaxis]
        return cls(np.moveaxis(maps, -1, 0), f"layers[{layer}]").plot(ax, **imshow_options)


def _network(estimator):
    """The estimator itself, the last step of a pipeline."""
    return estimator[-1] if hasattr(estimator, "steps") else estimator


def _fitted(display, estimator, attribute):
    """An attribute that the networks of fastnn have once they are fitted."""
    check_is_fitted(estimator)
    network = _network(estimator)
    if not hasattr(network, attribute):
        raise TypeError(
            f"{display.__name__}: expected a network of fastnn that trains by gradients, or a Pipeline that ends in "
            f"one, got {shown(network)}"
        )
    return getattr(network, attribute)
