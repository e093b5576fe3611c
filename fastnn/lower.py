"""Layer specs -> plan: forward ops, then backward ops by the gradient rules, then the update."""

from dataclasses import dataclass
from math import prod
from typing import Any

from fastnn import ops, passes
from fastnn.activations import get_activation
from fastnn.bfloat16 import use_bfloat16
from fastnn.layers.stack import lower_stack
from fastnn.plan import NUMBERS, PRODUCTS, TILES, Builder

PURPOSES = ("train", "gradient", "predict", "evaluate")


@dataclass(frozen=True)
class Network:
    """What is to be lowered.

    Parameters
    ----------
    input_shape : tuple of int, or int
        Shape of a row of X: (features,), (time, channels) or (height, width, channels); an int means features.
    layers : tuple of layer specs
        From input to output; the last one yields the pre-activations that the loss reads.
    loss : loss spec
    output_activation : str
        "identity", "softmax", "logistic" or "exp": what prediction applies to the last layer.
    scale : float
        What X is multiplied with.
    augment : tuple of augmentation specs
        What happens to the rows in training.
    lengths : bool
        Whether X holds sequences (time, channels) of which only the first steps count: one number more, behind the
        others of its row, says how many.
    precision : {"full", "bfloat16"}
        "bfloat16" rounds the operands of all products to it, in training and prediction; sums and all else keep the
        backend's real type, which has to be float32.
    """

    input_shape: tuple
    layers: tuple
    loss: Any
    output_activation: str = "identity"
    scale: float = 1.0
    augment: tuple = ()
    lengths: bool = False
    precision: str = "full"

    def __post_init__(self):
        shape = self.input_shape if isinstance(self.input_shape, tuple) else (self.input_shape,)
        object.__setattr__(self, "input_shape", shape)
        for i, spec in enumerate(self.augment if self.lengths else ()):
            if spec.name == "mixup":
                raise ValueError(
                    f"augment[{i}] {spec}: rows have lengths of their own, and a blend of two would count the steps of "
                    "one and the target of both; leave it out, or cut all rows to the same length"
                )

    @property
    def features(self):
        """Numbers in a row of X."""
        return prod(self.input_shape) + self.lengths


def lower(
    network,
    purpose,
    *,
    weighted=False,
    one_hot=False,
    on=1.0,
    off=0.0,
    optimizer=None,
    l1=0.0,
    l2=0.0,
    clip_norm=None,
    clip_value=None,
    whole_batch=False,
    rows=None,
    threads=2,
    sparse=False,
    entries=False,
    products=TILES,
):
    """Lowers a network to a plan.

    Parameters
    ----------
    network : Network
    purpose : {"train", "gradient", "predict", "evaluate"}
        "train" updates parameters with `optimizer`; "gradient" leaves the gradients of the penalised loss in their
        buffers; "predict" stores the output activation; "evaluate" leaves the loss of each row.
    weighted : bool
        Whether rows have sample weights.
    one_hot, on, off
        How y becomes the target: see ``fastnn.ops.gather.gather_target``.
    optimizer : optimiser spec
        For "train".
    l1, l2 : float
        The penalty (l1 |W|_1 + l2/2 |W|_2^2) / weight_sum on weight matrices.
    clip_norm, clip_value : float or None
        Limits of the gradient's norm and of each of its elements.
    whole_batch : bool
        Promise that no batch is split into chunks, so that an update may be fused with its weight gradient.
    rows : int or None
        Rows of a batch, for the choice of how threads share a layer; None where one thread runs the plan.
    threads : int
        That run it, at most.
    sparse : bool
        Whether X is mostly zeros, so that leaving out the products with them pays.
    entries : bool
        Whether X is a sparse matrix with so few entries that multiplying entry by entry pays.
    products : {"tiles", "pairs", "numbers"}
        How the CPU multiplies numbers of bfloat16, for the choice of what such a network does in float32.

    Returns
    -------
    Plan
    """
    if purpose not in PURPOSES:
        raise ValueError(f"lower: purpose must be one of {PURPOSES}, got {purpose!r}")
    if products not in PRODUCTS:
        raise ValueError(f"lower: products must be one of {PRODUCTS}, got {products!r}")
    rounded = network.precision == "bfloat16"
    builder = Builder(purpose)
    x, mixing = _gather(builder, network)
    z = lower_stack(builder, network.layers, x)
    if purpose == "predict":
        output = ops.shape.in_panels(builder, _output(builder, z, network.output_activation))
        ops.gather.store(builder, output)
        builder.step = passes.pool_first(builder)
        plan = passes.fuse(passes.fold_norms(builder.plan(output=output)))
        if entries:
            plan = passes.read_entries(plan)
        return use_bfloat16(plan, products) if rounded else plan

    t = _gather_target(builder, mixing, builder.shape(z), one_hot=one_hot, on=on, off=off)
    w = ops.gather.gather_weight(builder) if weighted else None
    builder.step = passes.pool_first(builder)
    forward = tuple(builder.step)
    kernel = network.loss.kernel(network.output_activation == "softmax")
    dz, row_loss = ops.loss.loss(builder, z, t, w, kernel)
    if purpose != "evaluate":
        _backward(builder, forward, z, dz)
        _update(builder, purpose, optimizer, l1, l2, clip_norm, clip_value)
    update = whole_batch and purpose == "train" and clip_norm is None
    plan = passes.halve_long_rows(passes.fuse(builder.plan(output=z, row_loss=row_loss), update=update))
    if rows is not None:
        plan = passes.split_wide_layers(plan, rows, threads, rounded, turns=rounded and products != NUMBERS)
    if entries:
        plan = passes.read_entries(plan)
    elif sparse and not (rounded and products == TILES):
        plan = passes.skip_zeros(plan)
    if rounded:
        plan = use_bfloat16(plan, products)
    return passes.place_barriers(plan)


def _output(builder, z, activation):
    if activation == "softmax":
        return ops.activation.softmax(builder, z, "y")
    if activation == "identity":
        return z
    return ops.activation.activation(builder, z, get_activation(activation), "y")


def _gather(builder, network):
    """The rows as the first layer sees them, and what is mixed in: (alpha, stream, stream of the partners) or None."""
    if network.lengths:
        builder.buffer("X", (network.features,), "source")
        builder.lengths = ops.gather.gather(builder, (1,), first=prod(network.input_shape), name="lengths")
    x = ops.gather.gather(builder, network.input_shape, scale=network.scale)
    if builder.purpose != "train" or not network.augment:
        return x, None
    transforms = tuple(spec for spec in network.augment if spec.name != "mixup")
    mixups = [spec for spec in network.augment if spec.name == "mixup"]

    def augmented(x):
        streams = [builder.number("stream") + 1 for _ in transforms]
        return ops.augment.augment(builder, x, transforms, streams[0]) if transforms else x

    x = augmented(x)
    if not mixups:
        return x, None
    stream, partner = builder.number("stream") + 1, builder.number("stream") + 1
    other = augmented(ops.gather.gather(builder, network.input_shape, scale=network.scale, partner=partner))
    return ops.augment.mix(builder, x, other, mixups[0].alpha, stream), (mixups[0].alpha, stream, partner)


def _gather_target(builder, mixing, shape, **coding):
    t = ops.gather.gather_target(builder, shape, **coding)
    if mixing is None:
        return t
    alpha, stream, partner = mixing
    other = ops.gather.gather_target(builder, shape, partner=partner, **coding)
    return ops.augment.mix(builder, t, other, alpha, stream)


def _backward(builder, forward, z, dz):
    """Reverse mode, once and for all: walks the forward ops backwards and adds the gradient ops of each. Where several
    ops read a buffer their gradients add up."""
    gradients = {z: dz}
    for op in reversed(forward):
        rule = ops.GRADIENTS.get(op.kind)
        dy = gradients.pop(op.outputs[0], None)
        if rule is None or dy is None or builder.dependent.isdisjoint(op.inputs):
            continue
        result = rule(builder, op, dy)
        for x, dx in (result if isinstance(result, dict) else {op.inputs[0]: result}).items():
            if dx is not None and x in builder.dependent:
                known = gradients.get(x)
                gradients[x] = dx if known is None else ops.shape.add(builder, known, dx, f"{x}.gradient")


def _update(builder, purpose, optimizer, l1, l2, clip_norm, clip_value):
    parameters = [name for name in builder.parameters if name in builder.gradients]
    for parameter in parameters:
        if (l1 or l2) and ops.update.is_weight(builder, parameter):
            ops.update.penalty(builder, parameter, l1, l2)
    if purpose == "gradient":
        return
    gradients = [builder.gradients[parameter] for parameter in parameters]
    if clip_norm is not None:
        ops.update.clip_norm(builder, gradients, clip_norm)
    if clip_value is not None:
        for gradient in gradients:
            ops.update.clip_value(builder, gradient, clip_value)
    for parameter in parameters:
        ops.update.update(builder, parameter, optimizer)
    ops.update.renew_copies(builder, parameters)
