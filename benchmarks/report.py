"""Results of the benchmarks: options that all share, Markdown tables, JSON, charts, and the tables of the README."""

import argparse
import json
import statistics
from importlib.util import find_spec
from pathlib import Path

import machine

RESULTS = Path(__file__).parent / "results"
SIZE = 9, 6  # inches of a chart


def parser(description, rounds=None):
    """Options that all benchmarks have, and --rounds where there is a default number of them."""
    parser = argparse.ArgumentParser(description=description.split("\n\n")[0])
    if rounds:
        parser.add_argument("--rounds", type=int, default=rounds, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--tiny", action="store_true", help="the smallest size, on random data: shows that it runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for tables, JSON and charts")
    parser.add_argument("--write", type=Path, help="file whose text between the benchmark's marks becomes the table")
    return parser


def parse(parser, arguments):
    """The options; tiny is one round."""
    options = parser.parse_args(arguments)
    if options.tiny and "rounds" in options:
        options.rounds = 1
    return options


def save(name, options, lines, results, chart=None):
    """Prints the lines; writes <name>.md, <name>.json with the machine and, with matplotlib, <name>.png.

    Parameters
    ----------
    lines : list of str
        The table in Markdown and what stands around it.
    results : object
        Whatever json can write.
    chart : callable, optional
        Draws on a figure of matplotlib.
    """
    print("\n".join(["", *lines]))
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / name
    path.with_suffix(".md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    record = {"machine": machine.facts(), "results": results}
    path.with_suffix(".json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    if chart is not None and find_spec("matplotlib"):
        from matplotlib.figure import Figure

        figure = Figure(SIZE, layout="constrained")
        chart(figure)
        figure.supxlabel(machine.text(), fontsize=7)
        figure.savefig(path.with_suffix(".png"), dpi=150)
    elif chart is not None:
        print("no chart: matplotlib is not installed")
    if options.write:
        _write(options.write, name, lines)


def _write(path, name, lines):
    """Replaces what stands between the marks of a benchmark in a file."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = path.read_text("utf-8")
    if text.count(begin) != 1 or text.count(end) != 1:
        raise SystemExit(f"{path}: expected {begin} and {end} once each")
    before, after = text.split(begin)[0], text.split(end)[1]
    path.write_text("\n".join([before + begin, *lines, end + after]), encoding="utf-8")


def table(cells):
    """Lines of a Markdown table whose columns line up; the first row is the head."""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    cells = [cells[0], ["-" * width for width in widths], *cells[1:]]
    return [f"| {' | '.join(f'{cell:<{width}}' for cell, width in zip(row, widths, strict=True))} |" for row in cells]


def comparison(results, peers, unit):
    """Table of medians (least-greatest) of each peer's numbers, and how many times more the best of the others takes
    than fastnn.

    Parameters
    ----------
    results : list of dict
        With "row", a title, and `unit`, a list of numbers by peer; less is better.
    """
    cells = [["", *peers, "against the best"]]
    for result in results:
        times = result[unit]
        medians = {peer: statistics.median(values) for peer, values in times.items()}
        others = [median for peer, median in medians.items() if peer != "fastnn"]
        ratio = f"{min(others) / medians['fastnn']:.1f}x" if others and "fastnn" in medians else ""
        cells.append([result["row"], *(spread(times[peer]) if peer in times else "not run" for peer in peers), ratio])
    return table(cells)


def spread(values):
    """Median (least-greatest), or the only value."""
    if len(values) == 1:
        return digits(values[0])
    return f"{digits(statistics.median(values))} ({digits(min(values))}-{digits(max(values))})"


def digits(number):
    """Three significant digits without an exponent."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def bars(axes, results, peers, unit):
    """Draws the median of each peer on each row, on a logarithmic axis, with the range of its times."""
    height = 0.8 / len(peers)
    for number, peer in enumerate(peers):
        there = [(place, result[unit][peer]) for place, result in enumerate(results) if peer in result[unit]]
        medians = [statistics.median(times) for _, times in there]
        places = [place + height * number for place, _ in there]
        ranges = [[median - min(times) for median, (_, times) in zip(medians, there, strict=True)],
                  [max(times) - median for median, (_, times) in zip(medians, there, strict=True)]]  # fmt: skip
        axes.barh(places, medians, height, xerr=ranges, label=peer, error_kw={"linewidth": 0.8})
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(results))], [row["row"] for row in results])
    axes.set(xscale="log", xlabel=unit)
    axes.invert_yaxis()
    axes.legend(fontsize="small")
