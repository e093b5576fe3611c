"""What ops mean: operands, shape rules, gradient rules; one file a family, imported by the layers.

A function named after the op adds it to a builder and returns the name of its (first) output. `GRADIENTS` maps the
kind of an op to the rule that adds its backward ops: ``rule(builder, op, dy) -> dx``, where `dy` names the gradient
of the op's first output and `dx` that of its first input (None when nothing before it depends on a parameter); a rule
for several inputs returns a dict of their gradients.
"""

from fastnn.ops import (
    activation,
    augment,
    conv,
    dense,
    embedding,
    gather,
    gram,
    loss,
    norm,
    pool,
    random,
    recurrent,
    reservoir,
    shape,
    steps,
    update,
    window,
)

GRADIENTS = {
    **activation.GRADIENTS,
    **conv.GRADIENTS,
    **dense.GRADIENTS,
    **embedding.GRADIENTS,
    **norm.GRADIENTS,
    **pool.GRADIENTS,
    **random.GRADIENTS,
    **recurrent.GRADIENTS,
    **shape.GRADIENTS,
    **steps.GRADIENTS,
}

__all__ = [
    "GRADIENTS",
    "activation",
    "augment",
    "conv",
    "dense",
    "embedding",
    "gather",
    "gram",
    "loss",
    "norm",
    "pool",
    "random",
    "recurrent",
    "reservoir",
    "shape",
    "steps",
    "update",
    "window",
]
