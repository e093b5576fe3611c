"""Times `predict_proba` of fastnn against scikit-learn, PyTorch and onnxruntime: microseconds a call.

All compute the same network with the same weights, from a NumPy array to a NumPy array, in float32. fastnn and
scikit-learn check X and report both classes of two; PyTorch and onnxruntime do neither. Each of these two runs on
whichever of one thread and all cores is faster for the number of rows, and gets images channels first, in the order
that is theirs. The competitors take turns, round after round; PyTorch, onnx and onnxruntime take part where they are
installed (extra `bench`).

    python benchmarks/latency.py --write README.md
"""

import time
from functools import partial
from time import perf_counter

import data
import machine
import networks
import numpy as np
import report
from machine import CORES, PAUSE
from networks import KERAS, Network
from peers import quietly, torch_threads
from sklearn import neural_network

SAMPLE = 5e-3  # seconds of calls, at least one, that make one time
NETWORKS = {
    "small": Network((30,), (100,), 2),
    "mnist": Network((784,), (256, 128), 10),
    "convnet": KERAS,
}


def main(arguments=None):
    options = report.parse(_parser(), arguments)
    if options.tiny:
        options.rows, options.sample = [1, 3], 0
    results = [result for name in options.networks for result in measure(NETWORKS[name], options)]
    text = f"Microseconds a call, median (least-greatest) of {options.rounds} interleaved rounds; float32."
    table = report.comparison(results, options.peers, "microseconds")
    lines = [f"{text} {machine.text()}", "", *table]
    report.save("latency", options, lines, results, lambda figure: chart(figure, results, options.peers))


def _parser():
    parser = report.parser(__doc__, rounds=15)
    names = list(NETWORKS)
    parser.add_argument("--networks", nargs="+", choices=names, default=names)
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 32, 10_000], help="rows of a call")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="competitors")
    parser.add_argument("--sample", type=float, default=SAMPLE, help="seconds of a sample (default: %(default)s)")
    return parser


def chart(figure, results, peers):
    report.bars(figure.subplots(), results, peers, "microseconds")


def measure(network, options):
    """Times of every competitor on a network, a dict for each number of rows."""
    # After one step on random numbers: no time here depends on the weights.
    model = networks.estimator(network, max_iter=1, random_state=0)
    quietly(model.fit, *data.synthetic(2 * network.classes, network.shape, network.classes))
    for n in options.rows:
        X, _ = data.synthetic(n, network.shape, network.classes)
        expected, calls, notes = model.predict_proba(X), {}, {}
        for peer in options.peers:
            try:
                calls[peer], notes[peer] = PEERS[peer](network, model, X, expected)
            except ModuleNotFoundError:
                notes[peer] = "not run: not installed"
            except networks.NotOffered as cause:
                notes[peer] = f"not run: {cause}"
        title = f"{network}, {n} row{'s' * (n > 1)}"
        times = {peer: [] for peer in calls}
        for _ in range(options.rounds):
            for peer, call in calls.items():
                time.sleep(PAUSE)
                times[peer].append(1e6 * machine.turn(partial(seconds, call, options.sample), options.tiny))
        print(f"{title}: {', '.join(f'{peer} {note}' for peer, note in notes.items())}", flush=True)
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


def _agrees(output, expected):
    """Whether these are the probabilities; of two classes, the second one's will do."""
    output = np.asarray(output)
    np.testing.assert_allclose(output, expected[:, -output.shape[1] :], rtol=1e-3, atol=1e-5)


def _fastnn(network, model, X, expected):
    return lambda: model.predict_proba(X), "default threads"


def _scikit_learn(network, model, X, expected):
    if network.kind != "dense":
        raise networks.NotOffered(f"has no {network.kind} layers")
    twin = neural_network.MLPClassifier(network.hidden, max_iter=1)
    quietly(twin.fit, np.tile(X[:1], (network.classes, 1)), range(network.classes))
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
    return np.ascontiguousarray(X.transpose(0, 3, 1, 2)) if network.kind == "convolutional" else X


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
    module = networks.torch_model(network).eval()
    with torch.no_grad():
        for parameter, array in zip(module.parameters(), (a for pair in _weights(model) for a in pair), strict=True):
            parameter.copy_(torch.from_numpy(array))
    module.append(torch.nn.Sigmoid() if model.n_outputs_ == 1 else torch.nn.Softmax(1))

    def make(threads):
        def call():
            with torch.inference_mode():
                return module(torch.from_numpy(X)).numpy()

        def with_threads():
            with torch_threads(threads):
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

    weights, flat = _weights(model), network.kind != "convolutional"
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
