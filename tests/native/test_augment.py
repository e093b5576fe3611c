"""Native augmentation is the reference's, in every shape, and has the same bits for all threads and chunks."""

import numpy as np
import pytest

from fastnn.native import Runner as Native
from fastnn.native import _machine
from fastnn.plan import Buffer, Op, Plan
from fastnn.reference.run import Runner as Reference
from fastnn.reference.run import trace

IMAGES = [(1, 5, 1), (5, 4, 7), (9, 13, 3), (16, 16, 1), (17, 31, 2), (28, 28, 1), (40, 40, 4)]
SIGNALS = [(5, 2), (33, 1), (131, 3)]
FOR_BOTH = [
    (),
    (("shift", 3.0),),
    (("gaussian_noise", 0.3),),
    (("cutout", 0.4),),
    (("cutout", 1.0), ("shift", 0.1), ("gaussian_noise", 0.1), ("shift", 1.0)),
]
FOR_IMAGES = [
    (("rotate", 30.0),),
    (("zoom", 0.99),),
    (("horizontal_flip", 0.5),),
    (("vertical_flip", 0.5), ("shift", 2.0), ("horizontal_flip", 0.5)),
    (("shift", 0.2), ("rotate", 15.0), ("zoom", 0.1)),
    (("gaussian_noise", 0.1), ("vertical_flip", 1), ("cutout", 0.3), ("rotate", 180.0), ("shift", 0.5), ("zoom", 0.5)),
]
FOR_SIGNALS = [(("scale", 0.3),), (("scale", 0.1), ("shift", 2.0), ("cutout", 3.0), ("gaussian_noise", 0.2))]
WHOLE = [FOR_BOTH[0], FOR_BOTH[1], FOR_BOTH[3], FOR_IMAGES[2], FOR_IMAGES[3], (("cutout", 2.0), *FOR_IMAGES[3])]
CASES = [(shape, transforms) for shape in IMAGES for transforms in FOR_BOTH + FOR_IMAGES]
CASES += [(shape, transforms) for shape in SIGNALS for transforms in FOR_BOTH + FOR_SIGNALS]
STEP, SEED, STREAM = 4, 2**40 + 9, 5


def augmented(shape, transforms):
    """A plan that gathers rows and changes them."""
    buffers = [Buffer("X", shape, "source"), *(Buffer(name, shape, "batch", "rows") for name in "xy")]
    attributes = {"transforms": transforms, "stream": STREAM}
    step = (Op("gather", ("X",), ("x",), {"scale": 1.0, "partner": None}), Op("augment", ("x",), ("y",), attributes))
    return Plan("train", {buffer.name: buffer for buffer in buffers}, step=step)


def native(plan, X, isa, *, chunk=None, threads=1):
    """The changed rows of the batch's last chunk."""
    chunk = chunk or len(X)
    runner = Native(plan, dtype=X.dtype, rows=chunk, n_threads=threads, seed=SEED, isa=isa, keep=True)
    runner.bind(X)
    runner.train(len(X), 0, 1, STEP, np.zeros(1), 1e9)
    return runner.get("y")[: (len(X) - 1) % chunk + 1]


def reference(plan, X):
    runner = Reference(plan, dtype=X.dtype, rows=len(X), seed=SEED)
    runner.bind(X)
    return list(trace(runner, step=STEP))[-1].outputs["y"]


pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")


def rows(n, shape, dtype):
    return np.random.default_rng(n).uniform(-1, 1, (n, *shape)).astype(dtype)


@pytest.mark.parametrize("isa", _machine.isa_names())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape, transforms", CASES, ids=str)
def test_changed_rows_are_the_references(shape, transforms, dtype, isa):
    plan, X = augmented(shape, transforms), rows(37, shape, dtype)
    # Places are rounded to a pixel number's precision, and neighbouring pixels differ by up to 2.
    tolerance = 40 * max(shape) * np.finfo(dtype).eps
    np.testing.assert_allclose(native(plan, X, isa), reference(plan, X), rtol=0, atol=tolerance)


@pytest.mark.parametrize("isa", _machine.isa_names())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transforms", WHOLE, ids=str)
def test_whole_pixels_keep_their_bits(transforms, dtype, isa):
    plan, X = augmented((9, 13, 3), transforms), rows(70, (9, 13, 3), dtype)
    assert np.array_equal(native(plan, X, isa), reference(plan, X))


@pytest.mark.parametrize("isa", _machine.isa_names())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape, transforms", [((9, 13, 3), FOR_IMAGES[-1]), ((33, 2), FOR_SIGNALS[-1])], ids=str)
def test_threads_and_chunks_have_the_same_bits(shape, transforms, dtype, isa):
    plan, X = augmented(shape, transforms), rows(101, shape, dtype)
    whole = native(plan, X, isa)
    for threads in (2, 3, 4):
        assert np.array_equal(native(plan, X, isa, threads=threads), whole)
    for chunk in (1, 7, 32, 40, 100):
        last = native(plan, X, isa, chunk=chunk, threads=2)
        assert np.array_equal(last, whole[-len(last) :])


@pytest.mark.parametrize("isa", _machine.isa_names())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("times", [3, 300])
def test_places_far_outside_give_zeros(times, dtype, isa):
    plan, X = augmented((4, 6, 1), (("zoom", 1 - 1e-9),) * times + (("shift", 3.0),)), rows(300, (4, 6, 1), dtype)
    y = native(plan, X, isa)
    assert np.isfinite(y).all()
    assert np.abs(y).max() <= 1
    assert (y == 0).all((1, 2, 3)).any()


def test_an_image_whose_places_are_no_int32_is_refused():
    plan = augmented((1 << 16, 1 << 15, 1), (("rotate", 30.0),))
    with pytest.raises(ValueError, match=r"augment: 65536 x 32768 x 1 with a border are .* crop or shrink"):
        Native(plan, dtype=np.float32, rows=1)
