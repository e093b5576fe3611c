"""What ops mean: operands, shape rules, gradient rules; one file a family, imported by the layers.

A function named after the op adds it to a builder and returns the name of its (first) output. `GRADIENTS` maps the
kind of an op to the rule that adds its backward ops: ``rule(builder, op, dy) -> dx``, where `dy` names the gradient
of the op's first output and `dx` that of its first input (None when nothing before it depends on a parameter).
"""

from fastnn.ops import activation, dense, gather, loss, norm, random, update

GRADIENTS = {
    **activation.GRADIENTS,
    **dense.GRADIENTS,
    **norm.GRADIENTS,
    **random.GRADIENTS,
}

__all__ = ["GRADIENTS", "activation", "dense", "gather", "loss", "norm", "random", "update"]
