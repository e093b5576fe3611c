"""What may watch a fit and stop it: scikit-learn's callbacks, a plain function per epoch, a progress bar."""

from fastnn.estimators.progress import Bar
from fastnn.estimators.validation import fitted_copy


class Epoch:
    """What `epoch_callback` receives at the end of an epoch (of an iteration, for L-BFGS).

    Attributes
    ----------
    number : int
        Counted from 1 within this fit.
    loss : float
    learning_rate, validation_loss, validation_score : float or None
        None where the fit has no such thing.
    seconds : float
    """

    def __init__(self, number, history, estimator, attributes):
        def last(key):
            return history[key][-1] if key in history else None

        self.number, self.loss, self.seconds = number, last("loss"), last("seconds")
        self.learning_rate = last("learning_rate")
        self.validation_loss, self.validation_score = last("validation_loss"), last("validation_score")
        self._estimator, self._attributes = estimator, attributes

    @property
    def estimator(self):
        """A fitted copy of the estimator, as if training had ended here; to be asked for during the call."""
        return fitted_copy(self._estimator, self._attributes())

    def __repr__(self):
        shown = {key: value for key, value in vars(self).items() if key[0] != "_" and value is not None}
        return f"Epoch({', '.join(f'{key}={value:.6g}' for key, value in shown.items())})"


class Watch:
    """Everything that looks on while an estimator is being fitted.

    Parameters
    ----------
    estimator : estimator
    X, y : as the caller gave them, or functions that return them
    total : int
        Epochs or iterations at most.
    progress : Progress
    attributes : callable
        Returns the fitted attributes as they would be if training ended now.
    metadata : sample weights and the like, or None
    """

    def __init__(self, estimator, *, X, y, total, progress, attributes, **metadata):
        self.estimator, self.progress, self.attributes = estimator, progress, attributes
        metadata = {
            name: given() if callable(given) else given for name, given in metadata.items() if given is not None
        }
        self.data = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.function = estimator.epoch_callback
        self.bar = Bar(total) if estimator.verbose == "bar" else None
        self.task = self.root = None
        if getattr(estimator, "_skl_callbacks", None):
            self.root = estimator._init_callback_context(max_subtasks=total)
            self.root.call_on_fit_task_begin(**self.data)

    @property
    def before(self):
        """What `training` calls at the start of an epoch, or None when nobody looks on."""
        return self._begin if self.root is not None else None

    @property
    def after(self):
        """What `training` calls at the end of an epoch, or None when nobody looks on."""
        return self._end if self.root is not None or self.function or self.bar else None

    def _begin(self):
        self.task = self.root.subcontext(task_name="epoch")
        self.task.call_on_fit_task_begin(**self.data)

    def _end(self, iteration):
        stop = False
        if self.task is not None:
            task, self.task = self.task, None
            stop = task.call_on_fit_task_end(**self.data, reconstruction_attributes=self.attributes)
        if self.function is not None:
            stop |= bool(self.function(Epoch(iteration, self.progress.history, self.estimator, self.attributes)))
        if self.bar is not None:
            self.bar.update(iteration, self.progress.history)
        return stop

    def close(self):
        """Training is over, for good or ill: ends the bar's line and an epoch that began and was not completed."""
        if self.bar is not None:
            self.bar.close()
        if self.task is not None:
            task, self.task = self.task, None
            task.call_on_fit_task_end(estimator=self.estimator)

    def finish(self):
        """The fitted attributes are in place."""
        if self.root is not None:
            self.root.call_on_fit_task_end(**self.data, reconstruction_attributes={})
