"""All benchmarks one after another, with the options that all of them have: ``python benchmarks --tiny``."""

import sys

import kernels
import latency
import race
import scaling
import time_to_accuracy

for benchmark in (kernels, race, latency, scaling, time_to_accuracy):
    print(f"\n=== {benchmark.__doc__.splitlines()[0]}", flush=True)
    if benchmark.main(sys.argv[1:]):
        sys.exit(1)
