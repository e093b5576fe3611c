"""Plan -> plan: the operands of products rounded to bfloat16.

How the CPU multiplies such numbers decides what becomes of an op. Tiles of them are many times as fast as float32, so
that nearly all ops get precision="bfloat16" and read packed operands. Pairs are twice as fast: what leaves out products
in float32 is faster still, and stays there, on rounded operands, and so do dense layers of a few units. Where there is
no instruction for them, all dense layers and convolutions do. Results agree within the rounding of the sums.
"""

from dataclasses import replace
from math import prod

from fastnn.ops.recurrent import CELLS
from fastnn.passes import RECURRENT_GRADIENTS
from fastnn.plan import NUMBERS, PAIRS, TILES, Buffer, Op

FEW_FILTERS = 8  # half of a vector of AVX-512
FEW_UNITS = 4  # a quarter of the columns of a tile
FEW_PLACES = {PAIRS: 36, TILES: 12}  # beside the 32 that a block is deep
SMALL_WINDOW, FEW_PRODUCTS = 4, 16  # half the depth of a tile

DENSE = ("dense", "dense_grad_input", "dense_grad_weights", "dense_update")
CONVOLUTIONS = ("conv", "conv_grad_input", "conv_grad_weights", "conv_transpose")
RECURRENT = (*(f"{cell}_grad" for cell in CELLS), "recurrent_grad_input", "recurrent_grad_weights")
TRANSPOSES = {"transpose": "dense_grad_input", "conv_transpose": "conv_grad_input"}  # and who reads the copy
ROUNDED = {"precision": "bfloat16"}


def use_bfloat16(plan, products):
    """Rounds the operands of the products to bfloat16: ops read rounded copies of weights, which are made before the
    first step and again by each update. products: see ``fastnn.plan.PRODUCTS``."""
    rounding = _Rounding(plan, products)
    prepare, step, update = (rounding.section(section) for section in (plan.prepare, plan.step, plan.update))
    prepare, update = rounding.prepared(prepare), rounding.renewed(update)
    return plan.with_(prepare=tuple(prepare), step=tuple(step), update=tuple(update), buffers=rounding.buffers)


class _Rounding:
    """The ops of a plan with the operands of their products rounded, and the copies of weights that they read."""

    def __init__(self, plan, products):
        self.plan, self.products, self.buffers = plan, products, dict(plan.buffers)
        self.rounded = set()  # buffers that hold rounded numbers
        self.copies = {}  # copy of weights -> the op that makes it
        for x, readers in self._gathered():
            self.rounded.add(x)
            packed = all(reader.kind in DENSE and not self._in_float32(reader) for reader in readers)
            if packed and len(self.buffers[x].shape) == 1:
                self.buffers[x] = replace(self.buffers[x], layout="operand")

    def section(self, ops):
        """The ops of a section, each behind those that round what it reads."""
        made = []
        for op in ops:
            if op.kind in DENSE + CONVOLUTIONS or op.kind in TRANSPOSES:
                op = self._on_rounded(op, made) if self._in_float32(op) else self._packed(op)
            elif op.kind in CELLS:
                op = self._cell(op)
            elif op.kind == "gather" and op.outputs[0] in self.rounded:
                op = op.with_(attributes=op.attributes | ROUNDED)
            elif op.kind in RECURRENT or op.kind == "transpose_gates":
                op = self._of_cell(op)
            made.append(op)
        return made

    def _gathered(self):
        """(x, its readers) for gathered rows that nothing but products reads: they are rounded once, as they are
        gathered."""
        for op in self.plan.step:
            x = op.outputs[0]
            readers = [reader for reader in self.plan.readers.get(x, ()) if reader.kind != "nonzero"]
            if op.kind == "gather" and x != self.plan.output and readers:
                if all(r.kind in DENSE + CONVOLUTIONS and x not in r.inputs[1:] for r in readers):
                    yield x, readers

    def _in_float32(self, op):
        """Whether an op multiplies rounded numbers in float32."""
        if op.kind in TRANSPOSES:
            readers = [r for r in self.plan.readers.get(op.outputs[0], ()) if r.kind == TRANSPOSES[op.kind]]
            return any(map(self._in_float32, readers))
        if self.products == NUMBERS or op.attributes.get("nonzero") or op.attributes.get("entries"):
            return True
        if op.kind in DENSE:
            return self._is_narrow(op)
        rules = self._is_small, self._leaves_out, self._sums_few
        return op.kind in CONVOLUTIONS and (op.attributes["groups"] > 1 or any(rule(op) for rule in rules))

    def _is_narrow(self, op):
        """Whether a dense layer has so few units that tiles or vectors of them would be mostly pads: float32 keeps the
        weights turned (on Zen 4, fits of 20-100-1 are 1.3 times as fast, of 784-1 1.8 times, of 20-100-5 0.93)."""
        units = op.inputs[0 if op.kind == "dense_grad_input" else 1]
        return self.buffers[units].columns <= FEW_UNITS

    def _is_small(self, op):
        """Whether tiles of bfloat16 would be mostly zeros: in a convolution of one channel by a few filters, or one of
        a few products where windows of a pool are small enough to take their maximum from registers."""
        if op.kind != "conv":
            return False
        geometry, pool = op.attributes["geometry"], op.attributes["pool"]
        *_, channels, filters = self.buffers[op.inputs[1]].shape
        if pool is not None and prod(pool.kernel) == SMALL_WINDOW and prod(geometry.kernel) * channels <= FEW_PRODUCTS:
            return True
        return geometry.stride == (1, 1) and channels == 1 and filters <= FEW_FILTERS

    def _leaves_out(self, op):
        """Whether float32 saves more of a convolution's gradient, which is zero but for the maxima of a pool, than
        products of pairs do (on Zen 4, gradients of the weights 1138 instead of 1766 microseconds in a network of 32
        and 64 filters, 218 instead of 596 in LeNet-5; of an input of 6 channels 379 instead of 1034, of 32 channels
        2400 instead of 1764)."""
        if self.products != PAIRS or op.attributes.get("pool") is None:
            return False
        few = op.kind == "conv_grad_input" and self.buffers[op.outputs[0]].columns <= FEW_FILTERS
        return few or op.kind == "conv_grad_weights"

    def _sums_few(self, op):
        """Whether a gradient of weights sums over so few places of an image that blocks are mostly zeros.

        Pairs on Zen 4, 3 x 3 windows of 64 channels and filters: 2 x 2 places 89 instead of 695 microseconds, 4 x 4 of
        them 526 instead of 801, 8 x 8 of them 2597 instead of 2387. Tiles, fits of two or three layers of 64 to 256
        filters: 2 x 2 places 1.2 to 2 times as fast, 3 x 3 of them 1.4 and 1.5, 3 x 4 of them 1.0, 4 x 4 of them 0.8
        to 1.1.
        """
        few = FEW_PLACES.get(self.products, 0)
        return op.kind == "conv_grad_weights" and prod(op.attributes["geometry"].output) <= few

    def _packed(self, op):
        """The op on packed weights."""
        if op.kind in ("dense", "conv"):
            attributes = {}
            if op.kind == "conv":
                in_rows = self.buffers[op.inputs[0]].layout == "rows"
                attributes = {"geometry": op.attributes["geometry"], "in_rows": in_rows}
            op = self._reading(op, "conv_pack" if op.kind == "conv" else "pack", attributes)
        elif op.kind == "conv_grad_input" and op.inputs[1] in (*self.plan.parameters, *self.plan.statistics):
            attributes = {"geometry": op.attributes["geometry"], "groups": 1}
            op = self._reading(op, "conv_transpose", attributes)  # of one channel and filter: float32 reads W
        elif op.kind in TRANSPOSES:
            self._pack_transposed(op)
        return op.with_(attributes=op.attributes | ROUNDED)

    def _pack_transposed(self, op):
        WT = op.outputs[0]
        self.buffers[WT] = replace(self.buffers[WT], layout="bfloat16")

    def _cell(self, op):
        """The op on a packed copy of W above U: x and the state before it are one operand."""
        if CELLS[op.kind].gates:
            self._keep_rounded(op.outputs[1:])
        x, W, U, *rest = op.inputs
        *gates, channels, units = self.buffers[W].shape
        copy = f"{W}.bfloat16"
        self.buffers[copy] = Buffer(copy, (*gates, channels + units, units), "transposed", "bfloat16")
        self.copies[copy] = Op("pack_gates", (W, U), (copy,), ROUNDED, "columns")
        return op.with_(inputs=(x, copy, *rest), attributes=op.attributes | ROUNDED)

    def _of_cell(self, op):
        """An op on the gradients of gates, which take half the room: twice as many rows stay in a cache."""
        if op.kind in RECURRENT_GRADIENTS:
            self._keep_rounded(op.outputs)
        elif op.kind == "recurrent_grad_weights":
            op = op.with_(attributes=op.attributes | {"part_rows": 2 * op.attributes["part_rows"]})
        elif op.kind == "transpose_gates":
            self._pack_transposed(op)
        return op.with_(attributes=op.attributes | ROUNDED)

    def _keep_rounded(self, names):
        """Batch buffers that hold numbers of bfloat16."""
        self.buffers |= {name: replace(self.buffers[name], layout="rounded") for name in names}

    def _reading(self, op, kind, attributes):
        """The op with a copy of its weights that an op of some kind makes."""
        W = op.inputs[1]
        copy = f"{W}.{'T' if kind == 'conv_transpose' else 'bfloat16'}"
        self.buffers[copy] = Buffer(copy, self.buffers[W].shape, "transposed", "bfloat16")
        self.copies[copy] = Op(kind, (W,), (copy,), attributes | ROUNDED, "columns")
        return op.with_(inputs=(op.inputs[0], copy, *op.inputs[2:]))

    def _on_rounded(self, op, made):
        """The op in float32, on operands that are rounded before; the gradient of a bias then sums rounded numbers,
        too."""
        transposes = op.kind in TRANSPOSES
        copies = {name: self._rounded_copy(name, made, transposes) for name in op.inputs[: 1 if transposes else 2]}
        self.rounded |= set(op.outputs if transposes else ())
        attributes = op.attributes | ({"rounded": True} if op.kind == "dense_update" else {})
        if op.attributes.get("entries"):  # which are rounded as they are read
            attributes |= {"entries": "rounded"}
        return op.with_(inputs=tuple(copies.get(name, name) for name in op.inputs), attributes=attributes)

    def _rounded_copy(self, name, made, again):
        """The name of a rounded copy of an operand, or of the operand itself if it holds rounded numbers. With `again`
        an op in `made` rounds it anew, for one that follows."""
        if name in self.rounded:
            return name
        source, copy = self.buffers[name], f"{name}.rounded"
        batch = source.role == "batch"
        op = Op("round", (name,), (copy,), ROUNDED, "rows" if batch else "columns")
        if again or (batch and copy not in self.rounded):
            made.append(op)
        if batch:
            self.rounded.add(copy)
        else:
            self.copies[copy] = op
        self.buffers[copy] = replace(source, name=copy, role="batch" if batch else "transposed")
        return copy

    def renewed(self, update):
        """The update with the copies renewed whose weights it changes: by a layer's own update where it has one."""
        made = {name for op in update for name in op.outputs}
        for copy, op in self.copies.items():
            own = [i for i, u in enumerate(update) if u.kind == "dense_update" and u.inputs[2] in op.inputs]
            for i in own:
                update[i] = update[i].with_(outputs=(*update[i].outputs, copy))
            if not own and made.intersection(op.inputs) and copy not in made:
                update.append(op)
        return update

    def prepared(self, prepare):
        """The preparation with all copies made."""
        made = {name for op in prepare for name in op.outputs}
        return prepare + [op for copy, op in self.copies.items() if copy not in made]
