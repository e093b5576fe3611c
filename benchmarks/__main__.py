"""All benchmarks of speed one after another: ``python benchmarks``, or ``python benchmarks --tiny`` within minutes."""

import sys

import breakdown
import kernels
import latency
import race
import scaling
import time_to_accuracy

for benchmark in (kernels, race, breakdown, latency, scaling, time_to_accuracy):
    print(f"\n=== {benchmark.__name__}", flush=True)
    if benchmark.main(sys.argv[1:]):
        sys.exit(1)
