"""Activations as specs: which function, with which numbers. Only the backends compute.

A spec's `name` and `parameters` reach a backend as `kernel = (name, *parameters)`;
`derivative_from` says whether the derivative is formed from the activation's output or needs its
input.
"""

from dataclasses import dataclass, fields
from typing import ClassVar

from fastnn.spec import check_number, look_up


@dataclass(frozen=True)
class Activation:
    """Base of all activation specs: y = f(z), elementwise on the pre-activation z.

    Attributes
    ----------
    name : str
        The kernel's name in the backends.
    derivative_from : {"output", "input"}
        What f' is computed from: "output" when y suffices, "input" when z must be kept.
    rises : bool
        Whether f never falls, given parameters >= 0.
    """

    name: ClassVar[str] = ""
    derivative_from: ClassVar[str] = "output"
    rises: ClassVar[bool] = False

    @property
    def parameters(self):
        """The spec's numbers in the order of its fields, as a tuple of floats."""
        return tuple(float(getattr(self, field.name)) for field in fields(self))

    @property
    def kernel(self):
        """The tuple ops carry: (name, *parameters)."""
        return (self.name, *self.parameters)

    @property
    def increasing(self):
        """Whether max f(z) = f(max z), so that a max pool may come first."""
        return self.rises and all(parameter >= 0 for parameter in self.parameters)


@dataclass(frozen=True)
class Identity(Activation):
    """f(z) = z, range (-inf, inf): a linear layer."""

    name: ClassVar[str] = "identity"


@dataclass(frozen=True)
class UnitStep(Activation):
    """f(z) = 0, 1/2, 1 for z < 0, z = 0, z > 0; trained with the straight-through derivative.

    The true derivative is zero almost everywhere, so backward uses 1 where |z| <= 1 and 0
    elsewhere.

    References
    ----------
    McCulloch and Pitts (1943), A logical calculus of the ideas immanent in nervous activity.
    Bengio, Leonard and Courville (2013), Estimating or propagating gradients through stochastic
    neurons.
    """

    name: ClassVar[str] = "unit_step"
    derivative_from: ClassVar[str] = "input"


@dataclass(frozen=True)
class Sign(Activation):
    """f(z) = -1, 0, 1 for z < 0, z = 0, z > 0; trained with the straight-through derivative.

    Backward uses 1 where |z| <= 1 and 0 elsewhere.

    References
    ----------
    Hubara et al. (2016), Binarized neural networks.
    """

    name: ClassVar[str] = "sign"
    derivative_from: ClassVar[str] = "input"


@dataclass(frozen=True)
class PiecewiseLinear(Activation):
    """f(z) = min(max(z + 1/2, 0), 1), range [0, 1]: three straight lines.

    f'(z) = 1 for -1/2 < z < 1/2, else 0.

    References
    ----------
    Haykin (2009), Neural Networks and Learning Machines, section 1.3.
    """

    name: ClassVar[str] = "piecewise_linear"
    rises: ClassVar[bool] = True


@dataclass(frozen=True)
class Logistic(Activation):
    """f(z) = 1 / (1 + exp(-z)), range (0, 1); f' = y (1 - y).

    References
    ----------
    Rumelhart, Hinton and Williams (1986), Learning representations by back-propagating errors.
    """

    name: ClassVar[str] = "logistic"
    rises: ClassVar[bool] = True


@dataclass(frozen=True)
class Tanh(Activation):
    """f(z) = tanh(z), range (-1, 1); f' = 1 - y^2.

    References
    ----------
    LeCun, Bottou, Orr and Mueller (1998), Efficient BackProp.
    """

    name: ClassVar[str] = "tanh"
    rises: ClassVar[bool] = True


@dataclass(frozen=True)
class ReLU(Activation):
    """f(z) = max(z, 0), range [0, inf); f' = 1 for z > 0, else 0.

    References
    ----------
    Nair and Hinton (2010), Rectified linear units improve restricted Boltzmann machines.
    """

    name: ClassVar[str] = "relu"
    rises: ClassVar[bool] = True


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """f(z) = z for z > 0, slope * z otherwise; f' = 1 or slope.

    Parameters
    ----------
    slope : float, default=0.01
        Slope of the negative branch, in [0, inf). A negative slope would make the output's sign
        ambiguous.

    References
    ----------
    Maas, Hannun and Ng (2013), Rectifier nonlinearities improve neural network acoustic models.
    """

    slope: float = 0.01
    name: ClassVar[str] = "leaky_relu"
    rises: ClassVar[bool] = True

    def __post_init__(self):
        check_number(self, "slope", "[0, inf)")


@dataclass(frozen=True)
class RReLU(Activation):
    """f(z) = z for z >= 0, slope * z otherwise, with random slopes.

    Training draws a slope from [lower, upper) for every element and step; prediction uses the
    mean slope (`at_prediction`).

    Parameters
    ----------
    lower, upper : float, default=1/8 and 1/3
        Ends of the slope's interval, 0 <= lower <= upper.

    References
    ----------
    Xu, Wang, Chen and Li (2015), Empirical evaluation of rectified activations in convolutional
    network.
    """

    lower: float = 1 / 8
    upper: float = 1 / 3
    name: ClassVar[str] = "rrelu"
    derivative_from: ClassVar[str] = "input"

    def __post_init__(self):
        check_number(self, "lower", "[0, inf)")
        check_number(self, "upper", "[0, inf)")
        if self.lower > self.upper:
            raise ValueError(
                f"RReLU: expected lower <= upper, got lower={self.lower!r}, upper={self.upper!r}; swap them"
            )

    @property
    def at_prediction(self):
        """The LeakyReLU with the mean slope (lower + upper) / 2."""
        return LeakyReLU(slope=(float(self.lower) + float(self.upper)) / 2)


@dataclass(frozen=True)
class Softplus(Activation):
    """f(z) = log(1 + exp(z)), range (0, inf); f' = logistic(z) = -expm1(-y).

    References
    ----------
    Dugas et al. (2001), Incorporating second-order functional knowledge for better option pricing.
    """

    name: ClassVar[str] = "softplus"
    rises: ClassVar[bool] = True


@dataclass(frozen=True)
class ELU(Activation):
    """f(z) = z for z > 0, alpha * (exp(z) - 1) otherwise, range (-alpha, inf); f' = 1 or y + alpha.

    Parameters
    ----------
    alpha : float, default=1.0
        Depth of the negative saturation, in [0, inf).

    References
    ----------
    Clevert, Unterthiner and Hochreiter (2016), Fast and accurate deep network learning by ELUs.
    """

    alpha: float = 1.0
    name: ClassVar[str] = "elu"
    rises: ClassVar[bool] = True

    def __post_init__(self):
        check_number(self, "alpha", "[0, inf)")


@dataclass(frozen=True)
class SELU(Activation):
    """f(z) = 1.0507 * ELU(z; alpha = 1.6733), drawn to mean 0 and variance 1.

    References
    ----------
    Klambauer, Unterthiner, Mayr and Hochreiter (2017), Self-normalizing neural networks.
    """

    name: ClassVar[str] = "selu"
    rises: ClassVar[bool] = True


@dataclass(frozen=True)
class GELU(Activation):
    """f(z) = z * Phi(z) with the exact normal distribution function Phi; range about [-0.17, inf).

    f' = Phi(z) + z * phi(z).

    References
    ----------
    Hendrycks and Gimpel (2016), Gaussian error linear units.
    """

    name: ClassVar[str] = "gelu"
    derivative_from: ClassVar[str] = "input"


@dataclass(frozen=True)
class SiLU(Activation):
    """f(z) = z * logistic(z), range about [-0.28, inf); also called swish.

    f' = s + z s (1 - s) with s = logistic(z).

    References
    ----------
    Elfwing, Uchibe and Doya (2018), Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning.
    """

    name: ClassVar[str] = "silu"
    derivative_from: ClassVar[str] = "input"


@dataclass(frozen=True)
class Mish(Activation):
    """f(z) = z * tanh(softplus(z)), range about [-0.31, inf).

    f' = u + z (1 - u^2) logistic(z) with u = tanh(softplus(z)).

    References
    ----------
    Misra (2020), Mish: a self regularized non-monotonic activation function.
    """

    name: ClassVar[str] = "mish"
    derivative_from: ClassVar[str] = "input"


@dataclass(frozen=True)
class HardTanh(Activation):
    """f(z) = min(max(z, -1), 1), range [-1, 1]; f' = 1 for -1 < z < 1, else 0.

    References
    ----------
    Collobert (2004), Large scale machine learning (thesis), chapter 5.
    """

    name: ClassVar[str] = "hard_tanh"
    rises: ClassVar[bool] = True


@dataclass(frozen=True)
class Exp(Activation):
    """f(z) = exp(z), range (0, inf): the output that the Poisson loss chooses."""

    name: ClassVar[str] = "exp"


@dataclass(frozen=True)
class Softmax(Activation):
    """f(z)_j = exp(z_j) / sum_k exp(z_k): the output that the log loss chooses.

    Acts on a row rather than on an element, hence an op of its own and no hidden layer's
    activation.

    References
    ----------
    Bridle (1990), Probabilistic interpretation of feedforward classification network outputs.
    """

    name: ClassVar[str] = "softmax"


ACTIVATIONS = {
    spec.name: spec
    for spec in (
        Identity, UnitStep, Sign, PiecewiseLinear, Logistic, Tanh, ReLU, LeakyReLU, RReLU, Softplus,
        ELU, SELU, GELU, SiLU, Mish, HardTanh,
    )
}  # fmt: skip


def get_activation(spec_or_name, where="activation"):
    """The activation spec for a name (with its default numbers), or the given spec itself.

    Parameters
    ----------
    spec_or_name : str or Activation
        "relu", or LeakyReLU(0.1). "exp" is understood too, for the Poisson loss's output; softmax
        is not.
    where : str, default="activation"
        The place an error message names, such as "layers[2] Dense: activation".

    Raises
    ------
    ValueError
        For anything else, with the list of names.
    """
    if isinstance(spec_or_name, Exp) or (isinstance(spec_or_name, str) and spec_or_name == Exp.name):
        return Exp()
    if isinstance(spec_or_name, Softmax) or (isinstance(spec_or_name, str) and spec_or_name == Softmax.name):
        way_out = "softmax is an output that the log loss chooses, leave it out"
    else:
        way_out = "for other numbers than the defaults pass a spec, such as LeakyReLU(slope=0.1)"
    return look_up(spec_or_name, ACTIVATIONS, Activation, where, "an activation", way_out)
