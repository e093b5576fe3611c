"""From gradients to new parameters: penalty, clipping, the optimiser's step."""

from fastnn.plan import Op


def is_weight(builder, parameter):
    """Whether a parameter holds weights of inputs (W) or of states (U): only those are penalised and decayed."""
    return parameter.endswith((".W", ".U"))


def penalty(builder, parameter, l1, l2):
    """Adds the gradient of (l1 |W|_1 + l2/2 |W|_2^2) / weight_sum and keeps the value for the loss."""
    gradient = builder.gradients[parameter]
    value = builder.buffer(f"{parameter}.penalty", (), "partial")
    builder.penalties.append(value)
    attributes = {"l1": float(l1), "l2": float(l2)}
    builder.emit(Op("penalty", (parameter,), (gradient, value), attributes, split="columns"), section="update")


def clip_value(builder, gradient, limit):
    """Clips each element of a gradient to [-limit, limit]."""
    builder.emit(Op("clip_value", (gradient,), (gradient,), {"limit": float(limit)}, split="columns"), section="update")


def clip_norm(builder, gradients, limit):
    """Scales all gradients by min(1, limit / norm) with their common Euclidean norm (Pascanu et al., 2013)."""
    squares = []
    for gradient in gradients:
        squares.append(builder.buffer(f"{gradient}.square_sum", (), "partial"))
        builder.emit(Op("square_sum", (gradient,), (squares[-1],), split="columns"), section="update")
    for gradient in gradients:
        op = Op("clip_norm", (gradient, *squares), (gradient,), {"limit": float(limit)}, split="columns")
        builder.emit(op, section="update")


def update(builder, parameter, optimizer):
    """One step of `optimizer` (an optimiser spec) on a parameter."""
    states = tuple(
        builder.buffer(f"{parameter}.state{i}", builder.shape(parameter), "state") for i in range(optimizer.n_states)
    )
    decay = optimizer.decay if is_weight(builder, parameter) else 0.0
    attributes = {"optimizer": tuple(optimizer.kernel), "decay": float(decay)}
    inputs = (parameter, builder.gradients[parameter], *states)
    builder.emit(Op("update", inputs, (parameter, *states), attributes, split="columns"), section="update")


def renew_copies(builder, parameters):
    """Makes the copies that `prepare` derives from parameters anew."""
    for op in builder.prepare:
        if op.inputs[0] in parameters:
            builder.emit(op, section="update")
