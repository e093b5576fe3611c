"""Optimisers as specs: the update rule and its constants; the learning rate comes with the step.

In the formulas g is the gradient, W the parameter, rate the step's learning rate, t the step's
number from 1.
"""

from dataclasses import dataclass
from typing import ClassVar

from fastnn.spec import check_number


@dataclass(frozen=True)
class Optimizer:
    """Base of all optimiser specs.

    Attributes
    ----------
    name : str
        The name users write.
    n_states : int
        Arrays of the parameter's shape the rule keeps between steps.
    full_batch : bool
        True when one step takes all rows, whatever the batch size.
    """

    name: ClassVar[str] = ""
    n_states: ClassVar[int] = 1
    full_batch: ClassVar[bool] = False

    @property
    def kernel(self):
        """The tuple an update op carries: (rule, *constants)."""
        raise NotImplementedError

    @property
    def decay(self):
        """Decoupled weight decay: W is first multiplied by 1 - rate * decay. Biases are spared."""
        return 0.0


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum: v <- momentum v - rate g, W <- W + v.

    With Nesterov's look-ahead W <- W + momentum v - rate g, with the new v. The state v starts at
    zero.

    Parameters
    ----------
    momentum : float, default=0.9
        Share of the last step that is kept, in [0, 1]; 0 is plain gradient descent.
    nesterov : bool, default=True

    References
    ----------
    Polyak (1964), Some methods of speeding up the convergence of iteration methods.
    Sutskever, Martens, Dahl and Hinton (2013), On the importance of initialization and momentum.
    """

    momentum: float = 0.9
    nesterov: bool = True
    name: ClassVar[str] = "sgd"

    def __post_init__(self):
        check_number(self, "momentum", "[0, 1]")

    @property
    def kernel(self):
        return ("sgd", float(self.momentum), float(bool(self.nesterov)))


@dataclass(frozen=True)
class GradientDescent(Optimizer):
    """W <- W - rate g with the gradient of all rows.

    References
    ----------
    Cauchy (1847), Methode generale pour la resolution des systemes d'equations simultanees.
    """

    name: ClassVar[str] = "gd"
    full_batch: ClassVar[bool] = True

    @property
    def kernel(self):
        return ("sgd", 0.0, 0.0)


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """s <- s + g^2, W <- W - rate g / (sqrt(s) + epsilon). The state s starts at zero.

    Parameters
    ----------
    epsilon : float, default=1e-10
        Keeps the quotient finite, in (0, inf).

    References
    ----------
    Duchi, Hazan and Singer (2011), Adaptive subgradient methods for online learning.
    """

    epsilon: float = 1e-10
    name: ClassVar[str] = "adagrad"

    def __post_init__(self):
        check_number(self, "epsilon", "(0, inf)")

    @property
    def kernel(self):
        return ("adagrad", float(self.epsilon))


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """s <- rho s + (1 - rho) g^2, W <- W - rate g / (sqrt(s) + epsilon). s starts at zero.

    Parameters
    ----------
    rho : float, default=0.9
        Memory of the mean square, in [0, 1).
    epsilon : float, default=1e-8
        Keeps the quotient finite, in (0, inf).

    References
    ----------
    Tieleman and Hinton (2012), Neural networks for machine learning, lecture 6.5.
    """

    rho: float = 0.9
    epsilon: float = 1e-8
    name: ClassVar[str] = "rmsprop"

    def __post_init__(self):
        check_number(self, "rho", "[0, 1)")
        check_number(self, "epsilon", "(0, inf)")

    @property
    def kernel(self):
        return ("rmsprop", float(self.rho), float(self.epsilon))


@dataclass(frozen=True)
class Adam(Optimizer):
    """W <- W - rate' m / (sqrt(v) + epsilon), m and v being running means of g and g^2.

    m <- beta_1 m + (1 - beta_1) g, v <- beta_2 v + (1 - beta_2) g^2, both from zero, for which
    rate' = rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) makes up: the paper's efficient form, where
    epsilon is not rescaled, and scikit-learn's.

    Parameters
    ----------
    beta_1, beta_2 : float, default=0.9 and 0.999
        Memories of the mean gradient and of its mean square, in [0, 1).
    epsilon : float, default=1e-8
        Keeps the quotient finite, in (0, inf).

    References
    ----------
    Kingma and Ba (2015), Adam: a method for stochastic optimization.
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    name: ClassVar[str] = "adam"
    n_states: ClassVar[int] = 2

    def __post_init__(self):
        check_number(self, "beta_1", "[0, 1)")
        check_number(self, "beta_2", "[0, 1)")
        check_number(self, "epsilon", "(0, inf)")

    @property
    def kernel(self):
        return ("adam", float(self.beta_1), float(self.beta_2), float(self.epsilon))


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam after W <- (1 - rate * weight_decay) W, which m and v do not see; biases are spared.

    Parameters
    ----------
    beta_1, beta_2, epsilon : float
        As for Adam.
    weight_decay : float, default=0.01
        In [0, inf), per step and per unit of learning rate.

    References
    ----------
    Loshchilov and Hutter (2019), Decoupled weight decay regularization.
    """

    weight_decay: float = 0.01
    name: ClassVar[str] = "adamw"

    def __post_init__(self):
        super().__post_init__()
        check_number(self, "weight_decay", "[0, inf)")

    @property
    def decay(self):
        return float(self.weight_decay)


OPTIMIZERS = {spec.name: spec for spec in (SGD, GradientDescent, AdaGrad, RMSProp, Adam, AdamW)}
