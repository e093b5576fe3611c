"""Plan -> plan: the same numbers with less traffic and less waiting.

`pool_first`, `fold_norms`, `skip_zeros` and `read_entries` leave out work; `fuse` joins ops whose intermediate buffer
nobody else reads; `halve_long_rows` and `split_wide_layers` choose how threads share the forward products;
`place_barriers` marks where threads must wait for each other, and what they do meanwhile for those that are late. For
products of bfloat16 see bfloat16.py.
"""

from collections import Counter
from dataclasses import replace
from itertools import zip_longest

from fastnn.ops.recurrent import CELLS
from fastnn.plan import Buffer, Op

RECURRENT_GRADIENTS = {f"{kind}_grad" for kind in CELLS}
UNCACHED = 1 << 20  # weights, with Adam's moments 12 MB
OF_ROWS = {"dense", "dense_grad_weights", "dense_update"}  # products of a dense layer with the rows it reads
HELPED = {"conv_grad_input"}  # takes hundreds of microseconds, and is the last of the ops on rows


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
    step, prepare, buffers = [], list(plan.prepare), dict(plan.buffers)
    for op in plan.step:
        last = step[-1] if step else None
        fits = op.kind == "batch_norm_inference" and last is not None and last.kind in ("dense", "conv")
        if not fits or not _flows(plan, last, op):
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
    plan = _fuse_pairs(plan, _pooled)
    plan = _fuse_pairs(plan, _activated)
    plan = _fuse_pool_gradients(plan)
    plan = _fuse_pairs(plan, _dropout_gradient)
    plan = _fuse_pairs(plan, _activation_gradient)
    plan = _fuse_pairs(plan, _last_step_gradient)
    if update:
        plan = _fuse_updates(plan)
    used = {name for op in plan.ops for name in op.inputs + op.outputs}
    return plan.with_(buffers={name: buffer for name, buffer in plan.buffers.items() if name in used})


def _is_read_once(plan, name):
    return len(plan.readers.get(name, ())) + (name == plan.output) == 1


def _fuse_pairs(plan, rule):
    """Replaces an op of the step and the one right before it by rule(plan, last, op), where that is not None."""
    ops = []
    for op in plan.step:
        fused = rule(plan, ops[-1], op) if ops else None
        if fused is None:
            ops.append(op)
        else:
            ops[-1] = fused
    return plan.with_(step=tuple(ops))


def _pooled(plan, conv, pool):
    """conv -> z, max_pool z -> (y, index) becomes one op, where windows lie side by side."""
    if (conv.kind, pool.kind) != ("conv", "max_pool") or conv.outputs != pool.inputs:
        return None
    if not pool.attributes["geometry"].separate or not _is_read_once(plan, pool.inputs[0]):
        return None
    return conv.with_(outputs=pool.outputs, attributes=conv.attributes | {"pool": pool.attributes["geometry"]})


def _activated(plan, layer, activation):
    """dense or conv -> z, activation z -> y becomes one op; z stays an output only where something else reads it."""
    if layer.kind not in ("dense", "conv") or layer.attributes["activation"] is not None:
        return None
    if activation.kind != "activation" or layer.outputs[:1] != activation.inputs:
        return None
    (z, *index), (y,) = layer.outputs, activation.outputs
    alone = _is_read_once(plan, z)
    if layer.attributes.get("pool") is not None and not alone:
        return None
    attributes = layer.attributes | {"activation": activation.attributes["activation"]}
    return layer.with_(outputs=(y, *index) if alone else (y, z), attributes=attributes)


def _dropout_gradient(plan, dropout, relu):
    """dropout_grad and the activation_grad of the relu before it become that of a relu that scales as dropout does:
    what dropout gave is positive exactly where it let a positive number through. The mask is not drawn again. Where an
    add lies between, through which a gradient passes without an op, dropout was given something else."""
    if (dropout.kind, relu.kind) != ("dropout_grad", "activation_grad") or not _flows(plan, dropout, relu):
        return None
    if relu.attributes["activation"] != ("relu",):
        return None
    stream = dropout.attributes["stream"]
    forward = next(op for op in plan.step if op.kind == "dropout" and op.attributes["stream"] == stream)
    if forward.inputs != relu.inputs[1:]:
        return None
    attributes = {"activation": ("scaled_relu", 1.0 / (1.0 - dropout.attributes["rate"]))}
    return relu.with_(inputs=dropout.inputs + forward.outputs, attributes=attributes)


def _activation_gradient(plan, layer, activation):
    """dense_grad_input or conv_grad_input -> dy, activation_grad dy -> dz becomes one op that multiplies by f' before
    it stores."""
    if layer.kind not in ("dense_grad_input", "conv_grad_input") or layer.attributes["activation"] is not None:
        return None
    if activation.kind != "activation_grad" or not _flows(plan, layer, activation):
        return None
    attributes = layer.attributes | {"activation": activation.attributes["activation"]}
    inputs = (*layer.inputs, activation.inputs[1])
    return layer.with_(inputs=inputs, outputs=activation.outputs, attributes=attributes)


def _last_step_gradient(plan, last, cell):
    """last_step_grad dy -> dh and the gradient of the cell whose last step that is: it starts from dy, and no sequence
    of zeros is written and read. Gradients that are cut off between would take a later start with them."""
    if last.kind != "last_step_grad" or cell.kind not in RECURRENT_GRADIENTS or not _flows(plan, last, cell):
        return None
    if cell.attributes["truncate"] is not None or cell.attributes["reverse"] != last.attributes["reverse"]:
        return None
    return cell.with_(inputs=last.inputs[:1] + cell.inputs[1:], attributes=cell.attributes | {"last": True})


def _flows(plan, op, later):
    """Whether an op's only output is what a later one reads first, and nobody else reads it."""
    return op.outputs == later.inputs[:1] and _is_read_once(plan, later.inputs[0])


def _fuse_pool_gradients(plan):
    """max_pool_grad (dy, index) -> dz and the gradient ops of the conv that made z: these put dy in its places
    themselves."""
    pools = {}
    for op in plan.step:
        if op.kind == "max_pool_grad" and op.attributes["geometry"].separate:
            if all(_is_conv_gradient(reader, op.outputs[0]) for reader in plan.readers.get(op.outputs[0], ())):
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


def _fuse_updates(plan):
    """dense_grad_weights, penalty, clip_value, update and transpose of a layer become dense_update without a
    gradient buffer."""
    touching, gradients, fused, gone = {}, dict(plan.gradients), [], set()
    for u in plan.update:
        for name in set(u.inputs + u.outputs):
            touching.setdefault(name, []).append(u)
    for op in plan.step:
        if op.kind != "dense_grad_weights":
            continue
        own = {id(u): u for name in op.outputs for u in touching[name]}
        W, b = (u.inputs[0] for u in own.values() if u.kind == "update")
        own |= {id(u): u for u in touching[W] if u.kind == "transpose"}
        fused.append(_dense_update(op, own.values(), W, b))
        gone |= {id(op), *own}
        del gradients[W], gradients[b]
    step, update = ([op for op in ops if id(op) not in gone] for ops in (plan.step, plan.update))
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


LONG = 256  # columns
WHOLE = 64  # columns of a panel, at most
LIGHT = 8  # times the weights: activations that travel as cheaply


def halve_long_rows(plan):
    """Dense layers of few units add the products of two halves of the rows they read, which are gathered half by half:
    z = (x_1 W_1 + b) + x_2 W_2, for any number of threads, so that the bits are the same.

    Of two threads each then gathers, multiplies and updates inputs that are its alone, and only the two sums travel
    between the cores, where rows and freshly updated weights had slowed all three down by a half (784-100).
    """
    halved, step = {}, []
    gradients = {op.inputs[0]: op.inputs[1] for op in plan.step + plan.update if op.kind in OF_ROWS - {"dense"}}
    for op in plan.step:
        x = op.outputs[0]
        readers = plan.readers.get(x, ())
        if op.kind != "gather" or len(plan.buffers[x].shape) > 1 or {r.kind for r in readers} - OF_ROWS:
            continue
        forward = [reader for reader in readers if reader.kind == "dense"]
        features, units = plan.buffers[forward[0].inputs[1]].shape if len(forward) == 1 else (0, 0)
        if features >= LONG and WHOLE <= units <= features // 2:
            halved[x] = features // 2 // WHOLE * WHOLE
    buffers = dict(plan.buffers)
    for op in plan.step:
        x = op.outputs[0] if op.kind == "gather" else op.inputs[0] if op.kind == "dense" else None
        if x not in halved:
            step.append(op)
            continue
        op = op.with_(split="halves", attributes=op.attributes | {"cut": halved[x]})
        step += _in_halves(op, gradients.get(x), buffers) if op.kind == "dense" else [op]
    return plan.with_(step=tuple(step), buffers=buffers)


def _in_halves(op, gradient, buffers):
    """A dense op that is cut, and the sum of its halves with the activation.

    The sum takes the first half's place, and z's gradient that of the second half, for all of them have rows that a
    thread owns (784-256-128 in bfloat16, whose weights and moments alone nearly fill the second cache: 1.05 times as
    fast).
    """
    z = op.outputs[-1]
    second = gradient or f"{z}.half"
    buffers.setdefault(second, replace(buffers[z], name=second))
    cut = op.with_(outputs=(z, second), attributes=op.attributes | {"activation": None})
    return [cut, Op("add", cut.outputs, op.outputs, {"activation": op.attributes["activation"]})]


def split_wide_layers(plan, rows, threads, rounded=False, turns=False):
    """Lets threads share products by columns where weights weigh something beside activations.

    With rows split, every thread reads all weights, and the update takes their lines back from the other cores; with
    columns split weights, moments and the update's columns are a thread's own, and only activations travel. (256-256,
    64 to 512 rows: 1 to 6 % of a step where a line takes 30 nanoseconds from core to core, up to 11 % where it takes
    160.) A thread without a whole panel of its own would help others with theirs and bring the moments into its caches.

    Operands of bfloat16 (`rounded`) are made of rows, and each thread would make all: such products are shared by
    columns only where in out > rows (in + out), and input gradients only of weights that do not stay in the caches from
    step to step anyway. There threads take `turns` at the panels and pack the other operand together. (Of two cores one
    was half as fast at tiles, for which the other one waited. In float32, where both were alike, turns were 3 %
    slower.)
    """
    forward, backward, whole = set(), set(), WHOLE * threads
    updated = {name for op in plan.update for name in op.outputs}
    for op in plan.step:
        if op.kind == "dense" and op.split == "rows":
            W, (features, units) = op.inputs[1], plan.buffers[op.inputs[1]].shape
            weights, activations = features * units, rows * plan.buffers[op.inputs[0]].positions * (features + units)
            light = not rounded and W in updated and units >= whole and LIGHT * weights > activations
            if light or weights > activations:
                forward.add(W)
                if weights >= UNCACHED or (light and features >= whole):
                    backward |= {W, f"{W}.T"}

    def choose(op):
        place = {"dense": 1, "dense_grad_input": 1, "dense_update": 2}.get(op.kind)
        W = None if place is None else op.inputs[place]
        if turns and W in backward:
            op = op.with_(attributes=op.attributes | {"turns": True}, split="columns")
        if (op.kind == "dense" and W in forward) or (op.kind == "dense_grad_input" and W in backward):
            return op.with_(split="columns")
        if op.kind == "dense_update" and W in forward:
            return op.with_(attributes=op.attributes | {"own_columns": True})
        return op

    return plan.with_(step=tuple(map(choose, plan.step)), update=tuple(map(choose, plan.update)))


def skip_zeros(plan):
    """Dense layers that read gathered rows leave out products with zeros: an op behind the gather tells which numbers
    are not zero, and the products get that as their last input and nonzero=True.

    Layers of fewer than 64 units gain nothing: reading the bits costs what it saves (784-32 on MNIST: 0.97).
    """
    gathered = {op.outputs[0] for op in plan.step if op.kind == "gather"}
    readers = {op.inputs[0] for op in plan.step if op.kind == "dense" and plan.buffers[op.inputs[1]].columns >= 64}
    marked = {x for x in gathered & readers if len(plan.buffers[x].shape) == 1}
    bits = {x: replace(plan.buffers[x], name=f"{x}.nonzero", layout="bits") for x in marked}

    def reading(op):
        if op.kind not in OF_ROWS or op.inputs[0] not in marked:
            return op
        inputs = (*op.inputs, bits[op.inputs[0]].name)
        return op.with_(inputs=inputs, attributes=op.attributes | {"nonzero": True})

    step = []
    for op in plan.step:
        step.append(reading(op))
        if op.kind == "gather" and op.outputs[0] in marked:
            cut = {"cut": op.attributes["cut"]} if op.split == "halves" else {}
            step.append(Op("nonzero", op.outputs, (bits[op.outputs[0]].name,), cut, op.split))
    buffers = plan.buffers | {buffer.name: buffer for buffer in bits.values()}
    return plan.with_(step=tuple(step), update=tuple(map(reading, plan.update)), buffers=buffers)


def read_entries(plan):
    """Dense layers that read gathered rows of a sparse matrix multiply entry by entry (entries=True, or "rounded" where
    these are operands of bfloat16): the gather only notes where the entries of each row lie, and no row is ever dense.
    """
    noted = set()
    for op in plan.step:
        x = op.outputs[0]
        if op.kind != "gather" or len(plan.buffers[x].shape) > 1 or op.attributes.get("scale", 1.0) != 1.0:
            continue
        readers = {reader.kind for reader in plan.readers.get(x, ())}
        if readers and readers <= OF_ROWS:
            noted.add(x)

    def reading(op):
        if op.kind not in OF_ROWS or op.inputs[0] not in noted:
            return op
        return op.with_(attributes=op.attributes | {"entries": True})

    step, update = (tuple(map(reading, ops)) for ops in (plan.step, plan.update))
    return plan.with_(
        step=step, update=update, buffers=plan.buffers | {x: replace(plan.buffers[x], layout="entries") for x in noted}
    )


def place_barriers(plan):
    """Marks the ops before which threads must wait: where an op touches what another thread may still be writing,
    or writes what another may still be reading. Ops that share rows or parts in the same way never disturb each
    other."""
    n = len(plan.step)
    placed = _with_help(_with_barriers(plan.step + plan.update))
    return plan.with_(prepare=_with_barriers(plan.prepare), step=placed[:n], update=placed[n:])


def _with_barriers(ops):
    placed, pending = [], {}  # split -> what ops since the last barrier write and read
    for op in ops:
        barrier = any(_disturb(split, *earlier, op) for split, earlier in pending.items())
        if barrier:
            pending = {}
        writes, reads = pending.setdefault(op.split, (set(), set()))
        writes.update(op.outputs)
        reads.update(op.inputs)
        placed.append(op.with_(barrier=barrier))
    return tuple(placed)


def _with_help(ops):
    """Where a barrier follows long work on rows, threads that are done take over rows of others that are late: of a
    core that its neighbours slow down (a third for minutes, convnet on two cores). Nothing else may follow, for what a
    thread does with its rows then would not wait for those who help it."""
    pairs = zip_longest(ops, ops[1:])
    return tuple(
        op.with_(attributes=op.attributes | {"helped": True})
        if op.kind in HELPED and (later is None or later.barrier) else op
        for op, later in pairs
    )  # fmt: skip


def _disturb(split, writes, reads, op):
    """Whether ops of a split that write and read these buffers disturb a later op."""
    if split == op.split and split in ("rows", "halves", "parts"):
        return False
    return not writes.isdisjoint(op.inputs + op.outputs) or not reads.isdisjoint(op.outputs)
