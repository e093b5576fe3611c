"""Plan -> plan: the same numbers with less traffic and less waiting.

`pool_first` and `fold_norms` leave out work; `fuse` joins ops whose intermediate buffer nobody else reads;
`split_wide_layers` chooses how threads share the forward products; `use_bfloat16` rounds the operands of products;
`place_barriers` marks where threads must wait for each other.
"""

from collections import Counter

from fastnn.plan import Buffer, Op


def pool_first(builder):
    """The forward ops with increasing activations moved behind the max pool that follows: fewer numbers to activate."""
    step, readers = [], Counter(name for op in builder.step for name in op.inputs)
    for op in builder.step:
        last = step[-1] if step else None
        if op.kind == "max_pool" and last is not None and last.outputs == op.inputs:
            if last.attributes.get("increasing") and readers[op.inputs[0]] == 1:
                y, index = op.outputs
                z = builder.batch(f"{y}.z", builder.shape(y))
                if y in builder.dependent:
                    builder.dependent.add(z)
                step[-1] = op.with_(inputs=last.inputs, outputs=(z, index))
                op = last.with_(inputs=(z,), outputs=(y,))
        step.append(op)
    return step


def fold_norms(plan):
    """Predictions: a batch norm right behind a dense or convolution layer goes into that layer's weights."""
    readers, step, prepare, buffers = _readers(plan), [], list(plan.prepare), dict(plan.buffers)
    for op in plan.step:
        last = step[-1] if step else None
        fits = op.kind == "batch_norm_inference" and last is not None and last.kind in ("dense", "conv")
        if not fits or last.outputs != op.inputs[:1] or readers[op.inputs[0]] > 1:
            step.append(op)
            continue
        x, W, *b = last.inputs
        folded = (f"{W}.folded", f"{W}.shift")
        shapes = (buffers[W].shape, buffers[op.inputs[1]].shape)
        buffers |= {name: Buffer(name, shape, "transposed") for name, shape in zip(folded, shapes, strict=True)}
        attributes = {"epsilon": op.attributes["epsilon"], "bias": bool(b)}
        prepare.append(Op("fold_norm", (W, *b, *op.inputs[1:]), folded, attributes, "columns"))
        step[-1] = last.with_(inputs=(x, *folded), outputs=op.outputs)
    return plan.with_(step=tuple(step), prepare=tuple(prepare), buffers=buffers)


def fuse(plan, *, update=False):
    """Joins dense or conv + max_pool + activation, their gradients and, with `update`, a dense layer's whole update."""
    plan = _fuse_pools(plan)
    plan = _fuse_activations(plan)
    plan = _fuse_pool_gradients(plan)
    plan = _fuse_activation_gradients(plan)
    if update:
        plan = _fuse_updates(plan)
    used = {name for op in plan.ops for name in op.inputs + op.outputs}
    return plan.with_(buffers={name: buffer for name, buffer in plan.buffers.items() if name in used})


def _readers(plan):
    return Counter(name for op in plan.ops for name in set(op.inputs)) + Counter([plan.output])


def _fuse_pools(plan):
    """conv -> z, max_pool z -> (y, index) becomes one op, where windows lie side by side."""
    readers, ops = _readers(plan), []
    for op in plan.step:
        last = ops[-1] if ops else None
        fits = op.kind == "max_pool" and op.attributes["geometry"].separate and last is not None
        if fits and last.kind == "conv" and last.outputs == op.inputs and readers[op.inputs[0]] == 1:
            attributes = last.attributes | {"pool": op.attributes["geometry"]}
            ops[-1] = last.with_(outputs=op.outputs, attributes=attributes)
        else:
            ops.append(op)
    return plan.with_(step=tuple(ops))


def _fuse_pool_gradients(plan):
    """max_pool_grad (dy, index) -> dz and the gradient ops of the conv that made z: these put dy in its places
    themselves."""
    pools = {}
    for op in plan.step:
        if op.kind == "max_pool_grad" and op.attributes["geometry"].separate:
            readers = [reader for reader in plan.ops if op.outputs[0] in reader.inputs]
            if all(_is_conv_gradient(reader, op.outputs[0]) for reader in readers):
                pools[op.outputs[0]] = op
    ops = []
    for op in plan.step:
        if op.outputs[0] in pools:
            continue
        for dz, pool in pools.items():
            if dz in op.inputs:
                dy, index = pool.inputs
                inputs = (*(dy if name == dz else name for name in op.inputs), index)
                op = op.with_(inputs=inputs, attributes=op.attributes | {"pool": pool.attributes["geometry"]})
        ops.append(op)
    return plan.with_(step=tuple(ops))


def _is_conv_gradient(op, dz):
    place = {"conv_grad_input": 0, "conv_grad_weights": 1}.get(op.kind)
    return place is not None and op.inputs[place] == dz


def _fuse_activations(plan):
    """dense or conv -> z, activation z -> y becomes one op; z stays an output only where something else reads it."""
    readers, ops = _readers(plan), []
    for op in plan.step:
        last = ops[-1] if ops else None
        fits = op.kind == "activation" and last is not None and last.kind in ("dense", "conv")
        fits = fits and last.attributes["activation"] is None
        pooled = fits and last.attributes.get("pool") is not None
        if fits and last.outputs[:1] == op.inputs and not (pooled and readers[op.inputs[0]] > 1):
            z, *index = last.outputs
            y = op.outputs[0]
            outputs = (y, *index) if readers[z] == 1 else (y, z)
            attributes = last.attributes | {"activation": op.attributes["activation"]}
            ops[-1] = last.with_(outputs=outputs, attributes=attributes)
        else:
            ops.append(op)
    return plan.with_(step=tuple(ops))


def _fuse_activation_gradients(plan):
    """dense_grad_input or conv_grad_input -> dy, activation_grad dy -> dz becomes one op that multiplies by f' before
    it stores."""
    readers, ops = _readers(plan), []
    for op in plan.step:
        last = ops[-1] if ops else None
        fits = op.kind == "activation_grad" and last is not None
        fits = fits and last.kind in ("dense_grad_input", "conv_grad_input") and last.attributes["activation"] is None
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


BFLOAT16 = {"precision": "bfloat16"}


def use_bfloat16(plan):
    """Rounds the operands of the products to bfloat16: the ops get precision="bfloat16" and read rounded copies of
    weights, which are made before the first step and again by each update."""
    buffers, made = dict(plan.buffers), {}

    def rounded(op):
        if op.kind == "transpose":
            made[op.outputs[0]] = None
        elif op.kind == "dense":
            made[op.inputs[1]] = copy = f"{op.inputs[1]}.bfloat16"
            op = op.with_(inputs=(op.inputs[0], copy, *op.inputs[2:]))
        elif op.kind not in ("dense_grad_input", "dense_grad_weights", "dense_update"):
            return op
        return op.with_(attributes=op.attributes | BFLOAT16)

    prepare, step, update = (list(map(rounded, section)) for section in (plan.prepare, plan.step, plan.update))
    for W, copy in made.items():
        source = buffers[W]
        buffers[copy or W] = Buffer(copy or W, source.shape, "transposed", "bfloat16")
        if copy is not None:
            op = Op("round", (W,), (copy,), BFLOAT16, "columns")
            prepare.append(op)
            fused = [i for i, u in enumerate(update) if u.kind == "dense_update" and u.inputs[2] == W]
            for i in fused:
                update[i] = update[i].with_(outputs=(*update[i].outputs, copy))
            if not fused and any(W in u.outputs for u in update):
                update.append(op)
    return plan.with_(prepare=tuple(prepare), step=tuple(step), update=tuple(update), buffers=buffers)


def place_barriers(plan):
    """Marks the ops before which threads must wait: where an op touches what another thread may still be writing,
    or writes what another may still be reading. Ops that share rows or parts in the same way never disturb each
    other."""
    placed, pending = [], []
    for op in plan.step + plan.update:
        barrier = any(_disturbs(earlier, op) for earlier in pending)
        pending = [op] if barrier else [*pending, op]
        placed.append(op.with_(barrier=barrier))
    n = len(plan.step)
    return plan.with_(step=tuple(placed[:n]), update=tuple(placed[n:]))


def _disturbs(earlier, later):
    if earlier.split == later.split and earlier.split in ("rows", "parts"):
        return False
    writes, reads = set(earlier.outputs), set(earlier.inputs)
    return bool(writes & set(later.inputs + later.outputs) or reads & set(later.outputs))
