"""`transform`: the activations of a layer, in the container that was asked for."""

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._set_output import ADAPTERS_MANAGER, _get_output_config
from sklearn.utils.validation import check_is_fitted

from fastnn.spec import shown


# scikit-learn would wrap every `transform` in data frames, also of images and of a hidden layer, whose units have other
# names than the outputs.
class LayerTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, auto_wrap_output_keys=None):
    """A network as a transformer; it has `_fitted_network` and `_outputs`."""

    def transform(self, X, layer=-1):
        """Activations of a layer.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        layer : int, default=-1
            Which one of `layers_`; negative numbers count from the end. The last one gives the network's outputs, after
            the output activation.

        Returns
        -------
        activations : ndarray of shape (n_samples, n_units), (n_samples, height, width, channels) or \
                (n_samples, time, channels)
            After ``set_output(transform="pandas")`` (or "polars"), a data frame in place of (n_samples, n_units).
        """
        part = self._part(layer)
        return self._contained(self._outputs(X, part), X, part)

    @property
    def _n_features_out(self):
        return self.n_outputs_

    def _contained(self, activations, X, part):
        """What `set_output` asks for, a data frame for instance; arrays that are no tables stay as they are."""
        container = _get_output_config("transform", self)["dense"]
        if container == "default" or np.ndim(activations) != 2:
            return activations
        names = self.get_feature_names_out()
        if part is not None:
            names = [f"{type(self).__name__.lower()}_layer{part - 1}_{i}" for i in range(activations.shape[1])]
        return ADAPTERS_MANAGER.adapters[container].create_container(activations, X, columns=names)

    def _part(self, layer):
        """The part of the network (see `_network_of`) that ends with a layer."""
        if type(layer) is int and layer == -1:
            return None
        check_is_fitted(self)
        network = self._fitted_network()
        try:
            place = range(len(network.layers))[layer]
        except (IndexError, TypeError):
            raise ValueError(
                f"{type(self).__name__}.transform: layer must be an int from {-len(network.layers)} to "
                f"{len(network.layers) - 1}, a place in layers_, got {shown(layer)}"
            ) from None
        return None if place + 1 == len(network.layers) else place + 1
