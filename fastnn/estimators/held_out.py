"""Score and loss on held-out rows, epoch by epoch."""

import numpy as np
from sklearn.metrics import check_scoring

from fastnn.estimators import network as networks
from fastnn.estimators.validation import few_entries, fitted_copy
from fastnn.spec import shown


class HeldOut:
    """``held_out(weights) -> (score, loss)`` for the rows it was made with.

    Parameters
    ----------
    estimator : estimator being fitted
    rows : Rows
        Held out.
    network : Network
    target_options : dict
        How targets are coded: arguments of `lower`.
    runner : callable
        ``runner(plan, rows)`` makes a Runner.
    dtype : numpy dtype
        Of the fitted weights.
    attributes : callable
        ``attributes(weights)`` gives the fitted attributes for weights by name.
    """

    def __init__(self, estimator, rows, network, target_options, runner, dtype, attributes):
        network, n = estimator._network_for(network, rows.X), rows.X.shape[0]
        self.estimator, self.rows, self.network, self.attributes = estimator, rows, network, attributes
        if rows.weight is not None and not rows.weight.sum() > 0:
            raise ValueError(
                f"{type(estimator).__name__}: the sample weights of the validation rows sum to {rows.weight.sum():g}, "
                "expected a positive number; no score can be computed from them"
            )
        weighted = rows.loss_weight is not None
        options = networks.cpu_options(network, estimator.backend) | {"entries": few_entries(rows.X, network)}
        self.loss_plan = networks.plan(network, "evaluate", weighted=weighted, **target_options, **options)
        self.loss_runner = runner(self.loss_plan, networks.prediction_capacity(self.loss_plan, n, dtype))
        self.loss_runner.bind(*rows.bound)
        self.scorer = None
        if estimator.scoring is not None:
            self.scorer = check_scoring(estimator, scoring=estimator.scoring)
        else:
            self.plan = networks.plan(network, "predict", **options)
            self.runner = runner(self.plan, networks.prediction_capacity(self.plan, n, dtype))
            self.runner.bind(rows.X)

    def __call__(self, weights):
        networks.load(self.loss_runner, self.network, self.loss_plan, weights)
        loss = float(self.loss_runner.evaluate())
        if not np.isfinite(loss):
            return np.nan, loss  # scorers raise errors on outputs that are not numbers
        score = self._own_score(weights) if self.scorer is None else self._scored(weights)
        few = self.scorer is None or self.rows.X.shape[0] == 1
        if np.isnan(score) and few and self.estimator.early_stopping and self.estimator.solver != "lbfgs":
            raise ValueError(
                f"{type(self.estimator).__name__}: early_stopping goes by the score of the validation rows, which is "
                "NaN: R^2 needs at least two of them; give more rows in X_val, or a score that is there for one, such "
                "as scoring='neg_mean_squared_error'"
            )
        return score, loss

    def _own_score(self, weights):
        networks.load(self.runner, self.network, self.plan, weights)
        return float(self.estimator._score_outputs(self.runner.forward(), self.rows, self.network))

    def _scored(self, weights):
        view = fitted_copy(self.estimator, self.attributes(weights))
        # The rows are plain arrays by now; with names on the view, predict would ask for them.
        vars(view).pop("feature_names_in_", None)
        if hasattr(view, "scale_"):  # and what there was to say about their scale has been said
            view.scale = view.scale_
        X, y, weight = view._scored(self.rows)
        options = {} if weight is None else {"sample_weight": weight}
        name = type(self.estimator).__name__
        try:
            score = self.scorer(view, X, y, **options)
        except Exception as error:
            weighted = " and their sample_weight" if options else ""
            error.add_note(
                f"{name}: this comes from scoring={shown(self.estimator.scoring)} on the {self.rows.X.shape[0]} "
                f"held-out rows{weighted}; choose another score, or give rows in X_val and y_val where it is defined"
            )
            raise
        try:
            return float(score)
        except (TypeError, ValueError):
            raise ValueError(f"{name}: scoring must return a number, got {shown(score)}") from None
