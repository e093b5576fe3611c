"""Times `predict_proba` of fastnn against scikit-learn, PyTorch and onnxruntime: microseconds a call.

All compute the same network with the same weights, from a NumPy array to a NumPy array, in float32. fastnn and
scikit-learn check X and report both classes of two; PyTorch and onnxruntime do neither. Each of these two runs on
whichever of one thread and all cores is faster for the number of rows, and gets images channels first, in the order
that is theirs. The competitors take turns, round after round; PyTorch, onnx and onnxruntime take part where they are
installed (extra `bench`).

    python benchmarks/latency.py --json latency.json --write README.md
"""

import argparse
import json
import time
import warnings
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from peers import CORES, _layers, _threads, _torch_model
from race import KERAS, PAUSE, machine, machine_text, table, write
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

import fastnn

MARKS = "<!-- latency: begin -->", "<!-- latency: end -->"
SAMPLE = 5e-3  # seconds of calls, at least one, that make one time


@dataclass(frozen=True)
class Network:
    """Layers as the rows of the race have them, for rows of some shape."""

    title: str
    shape: tuple
    hidden: tuple
    classes: int

    @property
    def convolutional(self):
        return len(self.shape) > 1

    def fitted(self):
        """An estimator of it, after one step on random numbers: no time here depends on the weights."""
        random = np.random.default_rng(0)
        X, y = random.normal(size=(2 * self.classes, *self.shape)).astype(np.float32), [*range(self.classes)] * 2
        if self.convolutional:
            estimator = fastnn.ConvNet(_layers(self.hidden), max_iter=1, random_state=0)
        else:
            estimator = fastnn.MLPClassifier(self.hidden, max_iter=1, random_state=0)
        return _quietly(estimator.fit, X, y)


NETWORKS = {
    "small": Network("30-100-2", (30,), (100,), 2),
    "mnist": Network("784-256-128-10", (784,), (256, 128), 10),
    "convnet": Network("28x28, 32@3x3-pool-64@3x3-pool-10", (28, 28, 1), KERAS, 10),
}


def main(arguments=None):
    options = _parser().parse_args(arguments)
    results = [
        result
        for name in options.networks
        for result in measure(NETWORKS[name], options.rows, options.peers, options.rounds, options.sample)
    ]
    lines = [describe(options.rounds), "", *table(results, options.peers, "microseconds")]
    print("\n".join(["", *lines]))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine(), "rounds": options.rounds, "results": results}, file, indent=1)
    if options.write:
        write(options.write, lines, MARKS)


def _parser():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    names = list(NETWORKS)
    parser.add_argument("--rounds", type=int, default=15, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--networks", nargs="+", choices=names, default=names)
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 32, 10_000], help="rows of a call")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="competitors")
    parser.add_argument("--sample", type=float, default=SAMPLE, help="seconds of a sample (default: %(default)s)")
    parser.add_argument("--json", metavar="PATH", help="write all times, the machine and the versions")
    parser.add_argument("--write", metavar="PATH", help=f"replace the text between {' and '.join(MARKS)} by the table")
    return parser


def describe(rounds):
    """One sentence above the table."""
    return f"Microseconds a call, median (least-greatest) of {rounds} interleaved rounds; float32. {machine_text()}"


def measure(network, numbers, peers, rounds, sample):
    """Times of every competitor on a network, a dict for each number of rows."""
    model = network.fitted()
    for n in numbers:
        X = np.random.default_rng(n).normal(size=(n, *network.shape)).astype(np.float32)
        expected, calls, notes = model.predict_proba(X), {}, {}
        for peer in peers:
            try:
                calls[peer], notes[peer] = PEERS[peer](network, model, X, expected)
            except (ImportError, NotImplementedError) as cause:
                notes[peer] = f"not run: {cause}"
        title = f"{network.title}, {n} row{'s' * (n > 1)}"
        times = {peer: [] for peer in calls}
        for _ in range(rounds):
            for peer, call in calls.items():
                time.sleep(PAUSE)
                times[peer].append(1e6 * seconds(call, sample))
        print(f"{title}: {', '.join(f'{peer} {notes[peer]}' for peer in peers)}", flush=True)
        yield {"row": title, "notes": notes, "microseconds": times}


def seconds(call, sample):
    """Mean time of the calls that fit into `sample` seconds, after as long a warm-up."""
    repeats, start = 0, perf_counter()
    while not repeats or perf_counter() - start < sample:
        call()
        repeats += 1
    start = perf_counter()
    for _ in range(repeats):
        call()
    return (perf_counter() - start) / repeats


def _quietly(fit, *data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit(*data)


def _agrees(output, expected):
    """Whether these are the probabilities; of two classes, the second one's will do."""
    output = np.asarray(output)
    np.testing.assert_allclose(output, expected[:, -output.shape[1] :], rtol=1e-3, atol=1e-5)


def _fastnn(network, model, X, expected):
    return lambda: model.predict_proba(X), "default threads"


def _scikit_learn(network, model, X, expected):
    if network.convolutional:
        raise NotImplementedError("has no convolution")
    twin = neural_network.MLPClassifier(network.hidden, max_iter=1)
    _quietly(twin.fit, np.tile(X[:1], (network.classes, 1)), range(network.classes))
    twin.coefs_, twin.intercepts_ = model.coefs_, model.intercepts_
    _agrees(twin.predict_proba(X), expected)
    return lambda: twin.predict_proba(X), "default threads"


def _best(make, expected):
    """The faster one of `make(threads)` for one thread and for all cores."""
    calls = {threads: make(threads) for threads in sorted({1, CORES})}
    for call in calls.values():
        _agrees(call(), expected)
    times = {threads: min(seconds(call, SAMPLE) for _ in range(3)) for threads, call in calls.items()}
    threads = min(times, key=times.get)
    return calls[threads], f"{threads} thread{'s' * (threads > 1)}"


def _channels_first(network, X):
    return np.ascontiguousarray(X.transpose(0, 3, 1, 2)) if network.convolutional else X


def _weights(model):
    """(W, b) of each layer as PyTorch and ONNX have them: outputs first, and inputs channels first."""
    shape = None
    for W, b in zip(model.coefs_, model.intercepts_, strict=True):
        if W.ndim == 4:
            shape, W = W.shape, W.transpose(3, 2, 0, 1)
        elif shape is not None:  # the first dense layer reads an image of so many channels, row by row
            side = int((W.shape[0] // shape[-1]) ** 0.5)
            W, shape = W.reshape(side, side, shape[-1], -1).transpose(3, 2, 0, 1).reshape(W.shape[1], -1), None
        else:
            W = W.T
        yield np.ascontiguousarray(W), b


def _torch(network, model, X, expected):
    import torch

    X = _channels_first(network, X)
    module = _torch_model(X.shape[1:], network.hidden, model.n_outputs_).eval()
    with torch.no_grad():
        for parameter, array in zip(module.parameters(), (a for pair in _weights(model) for a in pair), strict=True):
            parameter.copy_(torch.from_numpy(array))
    module.append(torch.nn.Sigmoid() if model.n_outputs_ == 1 else torch.nn.Softmax(1))

    def make(threads):
        def call():
            with torch.inference_mode():
                return module(torch.from_numpy(X)).numpy()

        def with_threads():
            with _threads(torch, threads):
                return call()

        return call if threads == torch.get_num_threads() else with_threads

    return _best(make, expected)


def _onnxruntime(network, model, X, expected):
    import onnxruntime

    X, graph = _channels_first(network, X), _onnx(network, model)

    def make(threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"X": X})[0]

    return _best(make, expected)


def _onnx(network, model):
    """The network as an ONNX file."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, x = [], [], "X"

    def add(kind, *inputs, **attributes):
        nonlocal x
        nodes.append(helper.make_node(kind, [x, *inputs], [f"x{len(nodes)}"], **attributes))
        x = f"x{len(nodes) - 1}"

    def constant(array):
        constants.append(numpy_helper.from_array(array, f"c{len(constants)}"))
        return constants[-1].name

    def weighted(kind, **attributes):
        add(kind, *map(constant, next(weights)), **attributes)

    weights, flat = _weights(model), not network.convolutional
    for layer in (*network.hidden, model.n_outputs_):
        name, *numbers = layer if isinstance(layer, tuple) else ("dense",)
        if name == "conv":
            weighted("Conv", auto_pad="SAME_UPPER" if numbers[2] == "same" else "VALID")
            add("Relu")
        elif name == "pool":
            add("MaxPool", kernel_shape=numbers * 2, strides=numbers * 2)
        elif name == "dense":
            if not flat:
                add("Flatten")
            flat = True
            weighted("Gemm", transB=1)
            add("Relu")
    nodes.pop()  # the output layer has an activation of its own
    x = nodes[-1].output[0]
    add("Sigmoid" if model.n_outputs_ == 1 else "Softmax")
    shape = (*network.shape[-1:], *network.shape[:-1])
    ends = [
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["n", model.n_outputs_])],
    ]
    graph = helper.make_graph(nodes, "network", *ends, constants)
    # Older numbers than onnx would write by itself: so that an onnxruntime which is a little older reads it too.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


PEERS = {
    "fastnn": _fastnn,
    "scikit-learn": _scikit_learn,
    "torch": _torch,
    "onnxruntime": _onnxruntime,
}


if __name__ == "__main__":
    main()
