"""Plan -> plan: the same numbers with less traffic and less waiting.

`fuse` joins ops whose intermediate buffer nobody else reads; `split_wide_layers` chooses how threads share the
forward products; `place_barriers` marks where threads must wait for each other.
"""

from collections import Counter

from fastnn.plan import Op


def fuse(plan, *, update=False):
    """Joins dense + activation, dense_grad_input + activation_grad and, with `update`, a layer's whole update."""
    plan = _fuse_activations(plan)
    plan = _fuse_activation_gradients(plan)
    if update:
        plan = _fuse_updates(plan)
    used = {name for op in plan.ops for name in op.inputs + op.outputs}
    return plan.with_(buffers={name: buffer for name, buffer in plan.buffers.items() if name in used})


def _readers(plan):
    return Counter(name for op in plan.ops for name in set(op.inputs)) + Counter([plan.output])


def _fuse_activations(plan):
    """dense -> z, activation z -> y becomes one op; z stays an output only where something else reads it."""
    readers, ops = _readers(plan), []
    for op in plan.step:
        last = ops[-1] if ops else None
        if op.kind == "activation" and last is not None and last.kind == "dense" and last.outputs == op.inputs:
            z, y = last.outputs[0], op.outputs[0]
            outputs = (y,) if readers[z] == 1 else (y, z)
            attributes = last.attributes | {"activation": op.attributes["activation"]}
            ops[-1] = last.with_(outputs=outputs, attributes=attributes)
        else:
            ops.append(op)
    return plan.with_(step=tuple(ops))


def _fuse_activation_gradients(plan):
    """dense_grad_input -> dy, activation_grad dy -> dz becomes one op that multiplies by f' before it stores."""
    readers, ops = _readers(plan), []
    for op in plan.step:
        last = ops[-1] if ops else None
        fits = op.kind == "activation_grad" and last is not None and last.kind == "dense_grad_input"
        if fits and last.outputs[0] == op.inputs[0] and readers[op.inputs[0]] == 1:
            attributes = last.attributes | {"activation": op.attributes["activation"]}
            ops[-1] = last.with_(inputs=(*last.inputs, op.inputs[1]), outputs=op.outputs, attributes=attributes)
        else:
            ops.append(op)
    return plan.with_(step=tuple(ops))


def _fuse_updates(plan):
    """dense_grad_weights, penalty, clip_value, update and transpose of a layer become dense_update without a
    gradient buffer."""
    step, update = list(plan.step), list(plan.update)
    gradients, fused = dict(plan.gradients), []
    for op in plan.step:
        if op.kind != "dense_grad_weights":
            continue
        own = [u for u in update if set(op.outputs) & set(u.inputs + u.outputs)]
        W, b = (u.inputs[0] for u in own if u.kind == "update")
        own += [u for u in update if u.kind == "transpose" and u.inputs == (W,)]
        fused.append(_dense_update(op, own, W, b))
        step.remove(op)
        update = [u for u in update if u not in own]
        del gradients[W], gradients[b]
    return plan.with_(step=tuple(step), update=tuple(fused + update), gradients=gradients)


def _dense_update(op, own, W, b):
    def of_kind(kind, default=()):
        return next((u for u in own if u.kind == kind), default)

    update_W, update_b = (next(u for u in own if u.kind == "update" and u.inputs[0] == p) for p in (W, b))
    penalty, clip, transpose = of_kind("penalty"), of_kind("clip_value"), of_kind("transpose")
    states = update_W.inputs[2:] + update_b.inputs[2:]
    attributes = {
        "optimizer": update_W.attributes["optimizer"],
        "decay": update_W.attributes["decay"],
        "l1": penalty.attributes["l1"] if penalty else 0.0,
        "l2": penalty.attributes["l2"] if penalty else 0.0,
        "clip": clip.attributes["limit"] if clip else None,
        "states": len(update_W.inputs) - 2,
        "penalty": bool(penalty),
        "transposed": bool(transpose),
    }
    outputs = (W, b, *states, *(penalty.outputs[1:] if penalty else ()), *(transpose.outputs if transpose else ()))
    return Op("dense_update", (*op.inputs, W, b, *states), outputs, attributes, "columns", op.multiply_adds)


def split_wide_layers(plan, rows):
    """Lets threads share a forward product by columns where its weights outweigh its activations.

    With rows split, every thread reads all weights and the lines of freshly updated weights travel between cores:
    in out > rows (in + out) is where that costs more than one more barrier (53 -> 63 % of peak on a 784-256 layer).
    The layer's update then gives each thread the same columns.
    """
    wide = set()
    for op in plan.step:
        if op.kind == "dense":
            features, units = plan.buffers[op.inputs[1]].shape
            if features * units > rows * (features + units):
                wide.add(op.inputs[1])

    def choose(op):
        if op.kind == "dense" and op.inputs[1] in wide:
            return op.with_(split="columns")
        if op.kind == "dense_update" and op.inputs[2] in wide:
            return op.with_(attributes=op.attributes | {"own_columns": True})
        return op

    return plan.with_(step=tuple(map(choose, plan.step)), update=tuple(map(choose, plan.update)))


def place_barriers(plan):
    """Marks the ops before which threads must wait: where an op touches what another thread may still be writing,
    or writes what another may still be reading. Ops split by rows never disturb each other."""
    placed, pending = [], []
    for op in plan.step + plan.update:
        barrier = any(_disturbs(earlier, op) for earlier in pending)
        pending = [op] if barrier else [*pending, op]
        placed.append(op.with_(barrier=barrier))
    n = len(plan.step)
    return plan.with_(step=tuple(placed[:n]), update=tuple(placed[n:]))


def _disturbs(earlier, later):
    if earlier.split == later.split == "rows":
        return False
    writes, reads = set(earlier.outputs), set(earlier.inputs)
    return bool(writes & set(later.inputs + later.outputs) or reads & set(later.outputs))
