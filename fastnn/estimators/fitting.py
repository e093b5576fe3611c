"""One fit of one estimator: plans and runners made, training run, fitted attributes gathered."""

import hashlib
import warnings
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps

import numpy as np
from sklearn import get_config

from fastnn import memory, training
from fastnn.estimators import network as networks
from fastnn.estimators.callbacks import Watch
from fastnn.estimators.held_out import HeldOut
from fastnn.estimators.prediction import Kept
from fastnn.estimators.resumable import Resumable
from fastnn.estimators.validation import few_entries, largest, mostly_zeros


@contextmanager
def unchanged_on_failure(estimator):
    """What fails inside leaves the estimator's attributes as they were; arrays must be replaced, not written to.

    What scikit-learn keeps for callbacks stays: it takes them down itself.
    """

    def ours():
        return {name: value for name, value in vars(estimator).items() if not name.startswith(("_skl_", "_callback_"))}

    before = ours()
    try:
        yield
    except BaseException:
        for name in set(ours()) - set(before):
            del vars(estimator)[name]
        vars(estimator).update(before)
        raise


def parameters_checked(partial_fit):
    """partial_fit that checks the parameters in every call: scikit-learn's `_fit_context` does so in the first alone,
    and they may have been set since."""

    @wraps(partial_fit)
    def checked(estimator, *args, **options):
        if not get_config()["skip_parameter_validation"]:
            estimator._validate_params()
        return partial_fit(estimator, *args, **options)

    return checked


class Fit:
    """Trains a network for an estimator and leaves the result in its fitted attributes.

    Parameters
    ----------
    estimator : estimator
    network : Network
    progress : Progress
        Moved forward; becomes the estimator's own at the end.
    weights : dict of str to ndarray
        Where training starts.
    drawn : bool
        Whether their arrays are nobody else's, so that the fitted weights may take their places.
    dtype : numpy dtype
        Of the fitted weights.
    rows : Rows
        To train on.
    held_out : Rows or None
        To score on.
    incremental : bool
        One epoch of `partial_fit`.
    """

    def __init__(self, estimator, network, progress, weights, drawn, dtype, rows, held_out, incremental):
        self.estimator, self.network, self.progress = estimator, network, progress
        self.weights, self.drawn = weights, drawn
        self.dtype, self.rows, self.incremental = dtype, rows, incremental
        self.lbfgs = estimator.solver == "lbfgs"
        self.early_stopping = estimator.early_stopping and not self.lbfgs
        self.n_threads = training.thread_limit(estimator.backend, estimator.n_jobs)
        self.target_options = estimator._target_options(network)
        self.weighted = rows.loss_weight is not None
        self.sparse, self.entries = mostly_zeros(rows.X), few_entries(rows.X, network)
        self.held_out = held_out
        self.resumed = None  # the memory whose runner goes on
        self.n_iter, self.epochs_before = None, len(progress.history.get("loss", ()))

    def run(self, data):
        """Trains and sets the fitted attributes; `data` is what callbacks are shown: X, y, metadata by name."""
        try:
            self._run(data)
        except BaseException:
            self.progress.cut(self.epochs_before)
            if self.resumed is not None:
                self.runner.restore()
                networks.load(self.runner, self.network, self.plan, self.weights)
            raise
        finally:
            if self.resumed is not None:
                self.resumed.give_back()
            self.watch = None  # which knows the fit in turn: its arrays would stay until Python looks for cycles

    def _run(self, data):
        e = self.estimator
        total = 1 if self.incremental else e.max_iter
        self.watch = Watch(e, total=total, progress=self.progress, attributes=self.attributes, **data)
        try:
            # A diverging fit overflows; the loss is looked at, so NumPy need not say it too.
            with np.errstate(over="ignore", invalid="ignore"):
                (self._run_lbfgs if self.lbfgs else self._run_epochs)()
            weights = self._final_weights()
            if not all(training.all_finite(array, e.backend, e.n_jobs) for array in weights.values()):
                rates = self.progress.history.get("learning_rate")
                raise training.Divergence(self.n_iter, rates[-1] if rates else None)
        except training.Divergence as divergence:
            raise ValueError(self._explain(divergence)) from None
        finally:
            self.watch.close()
        self._settle(self.progress, weights)
        self.progress.best = None
        fitted = self.attributes(weights)
        for attribute in {name for names in networks.ATTRIBUTES for name in names.values()} - set(fitted):
            vars(e).pop(attribute, None)
        vars(e).update(fitted)
        self.watch.finish()

    def _runner(self, lowered, rows, dtype=None):
        make = training.runner_class(self.estimator.backend)
        return make(lowered, dtype=dtype or self.dtype, rows=rows, n_threads=self.n_threads, seed=self.progress.seed)

    def _validator(self):
        if self.held_out is None:
            return None
        return HeldOut(
            self.estimator,
            self.held_out,
            self.network,
            self.target_options,
            self._runner,
            self.dtype,
            self.attributes,
        )

    def _penalty(self):
        e = self.estimator
        return {"l1": e.alpha * e.l1_ratio, "l2": e.alpha * (1.0 - e.l1_ratio)}

    def _plan(self, purpose, rows, whole_batch, **options):
        # Gradients on their own are for line searches and finite differences, which rounding would mislead.
        network = replace(self.network, precision="full") if purpose == "gradient" else self.network
        return networks.plan(
            network,
            purpose,
            weighted=self.weighted,
            whole_batch=purpose == "train" and whole_batch,
            rows=rows,
            threads=self.n_threads,
            sparse=self.sparse,
            entries=self.entries,
            **networks.cpu_options(network, self.estimator.backend),
            **self.target_options,
            **self._penalty(),
            **options,
        )

    def _lower(self, purpose, batch_size, dtype, **options):
        """The plan for batches of this size, and the rows of its chunks."""
        share = batch_size if self.n_threads > 1 else None
        plan = self._plan(purpose, share, whole_batch=True, **options)
        rows = networks.training_capacity(plan, batch_size, dtype, self.n_threads)
        return plan if rows >= batch_size else self._plan(purpose, share, whole_batch=False, **options), rows

    def _check_memory(self, lowered, rows, dtype):
        """Refuses a batch that runs in one piece and has no room: the system would end the process."""
        if not lowered.needs_whole_batch or rows * networks.row_bytes(lowered, dtype) <= networks.TRAINING_BYTES:
            return
        shared = training.runner_class(self.estimator.backend).shares_buffers
        needed, there = networks.batch_bytes(lowered, rows, dtype, shared), memory.available()
        if there is None or needed <= there:
            return
        e, most = self.estimator, rows * there // needed
        if lowered.purpose == "gradient" and not self.lbfgs:  # of check_gradient
            what, way_out = "the gradient of all rows", "pass fewer rows"
        elif e.solver in ("gd", "lbfgs"):
            what, way_out = f"solver={e.solver!r}", "choose another solver, such as 'adam', which takes batches"
        else:
            what = f"batch_size={e.batch_size!r}"
            way_out = f"choose a batch_size of at most {most}" if most else "choose smaller rows or fewer filters"
        raise MemoryError(
            f"{type(e).__name__}: {what} makes a batch of {rows} rows, which batch normalisation needs in one piece: "
            f"{needed:,} bytes, of which {there:,} are available. Way out: {way_out}, or leave batch normalisation out."
        )

    def _load(self, lowered, rows, dtype=None):
        self._check_memory(lowered, rows, dtype or self.dtype)
        self.plan, self.runner = lowered, self._runner(lowered, rows, dtype)
        networks.load(self.runner, self.network, lowered, self.weights)
        self.runner.bind(*self.rows.bound)

    def _resume(self, memory):
        """Goes on in the runner of the last call; should this one fail, the estimator stays as that one left it."""
        self.plan, self.runner, self.resumed = memory.runner.plan, memory.runner, memory
        self.runner.bind(*self.rows.bound)

    def _hooks(self):
        talkative = self.estimator.verbose and self.estimator.verbose != "bar"
        return {
            "validate": self._validator(),
            "before": self.watch.before,
            "after": self.watch.after,
            "say": print if talkative else None,
        }

    def _run_epochs(self):
        e, progress = self.estimator, self.progress
        optimizer = networks.optimizer(e)
        batch_size, lowered, rows = self._batches(optimizer)
        control = training.Control(
            rows=self.rows.X.shape[0],
            batch_size=batch_size,
            max_iter=int(e.max_iter),
            shuffle=e.shuffle,
            tol=e.tol,
            patience=e.n_iter_no_change,
            early_stopping=self.early_stopping,
            incremental=self.incremental,
        )
        if progress.states is None or progress.optimizer != optimizer:
            progress.optimizer, progress.step, progress.origin, progress.rate = optimizer, 0, 0, None
            progress.states = {}
        states = progress.states
        if isinstance(states, Resumable) and states.take(e, lowered, rows, self.dtype, self.n_threads):
            self._resume(states)
        else:
            self._load(lowered, rows)
            for name, state in states.items():
                self.runner.set(name, state)
        rates = training.Rates(networks.schedule(e), e.learning_rate_init, control, progress)
        hooks = self._hooks()
        if self.early_stopping and progress.best_score > -np.inf:
            self._score_again(hooks["validate"])
        self.n_iter = training.run_epochs(self.runner, self.plan, progress, control, rates, **hooks)

    def _score_again(self, validate):
        """Holds the best weights so far against these held-out rows and this scoring, which may have been others."""
        progress = self.progress
        score, _ = validate(progress.best)
        if score != progress.best_score:
            progress.stalled = 0
            progress.best, progress.best_score = (None, -np.inf) if np.isnan(score) else (progress.best, score)

    def _batches(self, optimizer):
        """The rows of a batch, the plan that trains on them, and the rows of its chunks."""
        e, batch_size = self.estimator, self._batch_size(optimizer)
        options = {"optimizer": optimizer, "clip_norm": e.clip_norm, "clip_value": e.clip_value}
        lowered, rows = self._lower("train", batch_size, self.dtype, **options)
        if e.batch_size == "auto" and lowered.needs_whole_batch and not optimizer.full_batch:
            # A plan for one thread: what comes out must not depend on how many there are.
            alone = self._plan("train", None, whole_batch=True, **options)
            bounded = networks.bounded_batch_size(alone, batch_size, self.dtype)
            if bounded < batch_size:
                return bounded, *self._lower("train", bounded, self.dtype, **options)
        return batch_size, lowered, rows

    def _batch_size(self, optimizer):
        n, given = self.rows.X.shape[0], self.estimator.batch_size
        if optimizer.full_batch:
            return n
        if given == "auto":
            return min(200, n)
        if given > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=7
            )
        return min(int(given), n)

    def _run_lbfgs(self):
        e, n = self.estimator, self.rows.X.shape[0]
        control = training.Control(rows=n, batch_size=n, max_iter=e.max_iter, tol=e.tol)
        self.gradient_runner()
        self.n_iter = training.run_lbfgs(self.runner, self.plan, self.progress, control, e.max_fun, **self._hooks())

    def gradient_runner(self):
        """Plan and runner for the loss of all rows and its gradient, in float64 whatever the weights' type.

        Line searches and finite differences need differences of nearly equal losses.
        """
        dtype = np.dtype(np.float64)
        self._load(*self._lower("gradient", self.rows.X.shape[0], dtype), dtype)
        return self.plan, self.runner

    def _final_weights(self):
        if self.early_stopping and self.progress.best is not None:
            return self.progress.best
        return training.weights_of(self.runner, self.plan, self.weights if self.drawn else {})

    def _memory(self, waits):
        """The optimiser's memory by name; where it waits for the next call, in its runner."""
        if waits:
            return Resumable.of(self.runner, self.network) if self.resumed is None else self.resumed
        return {name: self.runner.get(name) for name in self.plan.states}

    def _settle(self, progress, shown):
        """Keeps what a continuation needs, where there can be one, and drops the rest."""
        keep = self.incremental or self.estimator.warm_start
        progress.states = progress.last = None
        if keep and not self.lbfgs:
            progress.states = self._memory(waits=self.incremental and self.n_iter == 1 and progress is self.progress)
            if shown is progress.best:
                last = training.weights_of(self.runner, self.plan)
                if all(np.isfinite(array).all() for array in last.values()):
                    progress.last, progress.shown = last, digest(shown)
                else:
                    progress.states = None
        if progress.states is None:
            progress.step, progress.optimizer, progress.rate = 0, None, None
        if not self.incremental:
            progress.origin = progress.step
        if not self.early_stopping:
            progress.best_score = -np.inf  # of earlier weights, which nobody kept

    def attributes(self, weights=None):
        """The fitted attributes, for these weights or those of this moment."""
        progress, network = self.progress, self.network
        if weights is None:  # and training goes on
            weights, progress = training.weights_of(self.runner, self.plan), progress.copy()
            self._settle(progress, weights)
        curves = curves_of(progress, self.early_stopping)
        curve = curves["loss_curve_"]
        return {
            **networks.to_attributes(network, weights, self.dtype),
            **curves,
            "layers_": list(network.layers),
            "n_layers_": len(networks.attribute_names(network)["coefs_"]) + 1,
            "n_outputs_": network.layers[-1].units,
            "out_activation_": network.output_activation,
            "n_iter_": len(curve) - self.epochs_before if self.n_iter is None else self.n_iter,
            "t_": progress.samples,
            "loss_": curve[-1] if curve else np.nan,
            "best_loss_": None if self.early_stopping else progress.best_loss,
            "best_validation_score_": progress.best_score if self.early_stopping else None,
            "_network": network,
            "_progress": progress,
            "_kept": Kept(),
        }

    def _explain(self, divergence):
        rate, X = divergence.learning_rate, self.rows.X[:, : -1 if self.network.lengths else None]
        where = f"It happened in epoch {divergence.iteration} at learning rate {rate:g}" if rate else (
            f"It happened after {divergence.iteration} iterations of L-BFGS"
        )  # fmt: skip
        regressor = self.estimator._kind == "regressor"
        found = f"the largest |X| is {largest(X):.3g}"
        found += f" and the largest |y| {largest(self.rows.target):.3g}" if regressor else ""
        way_out = f"scale {'X and y' if regressor else 'X'}, for instance with StandardScaler"
        way_out += ", lower learning_rate_init or set clip_norm=1" if rate else ", or choose solver='adam'"
        return (
            "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
            f"preprocessed. {where}; {found}. Way out: {way_out}."
        )


def curves_of(progress, early_stopping):
    """The fitted attributes that show the curves of a Progress."""
    history = progress.history
    scores = history["validation_score"] if early_stopping else None
    return {"history_": history, "loss_curve_": history.get("loss", []), "validation_scores_": scores}


def digest(weights):
    """A fingerprint of weights by name, to see whether a user has changed them."""
    h = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        h.update(np.ascontiguousarray(weights[name]))
    return h.digest()
