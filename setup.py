"""The compile step: a static library per instruction set, one for what they share, the Cython modules on top.

Metadata and every tool's settings stand in pyproject.toml. Three environment variables:
FASTNN_SANITIZE=address,undefined builds with these sanitizers, FASTNN_OPENMP=0 without threads, FASTNN_EMULATE_TILES=1
with the tiles of AMX in C: slow, for tests of their kernels on CPUs that have AVX512-BF16 only; show_config tells.
Such builds want a copy of the tree: a module in place gives way to newer ones only, of whatever build.
"""

import multiprocessing
import os
import platform
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.sdist import sdist
from setuptools.dist import Distribution
from setuptools.errors import CCompilerError

MSVC = sys.platform == "win32"
SANITIZE = os.environ.get("FASTNN_SANITIZE", "")
EMULATE_TILES = os.environ.get("FASTNN_EMULATE_TILES") == "1"
TARGET = sysconfig.get_platform()  # the machine built for, which on macOS need not be this one
if TARGET.endswith("universal2"):  # one architecture a wheel: their instruction sets differ
    os.environ.setdefault("ARCHFLAGS", f"-arch {platform.machine()}")
    TARGET = os.environ["ARCHFLAGS"].split()[-1]

AVX512 = "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mprfchw -mprefer-vector-width=512"
# architecture -> instruction set -> flags; a row here is a row of csrc/isa.def
X86 = {
    "baseline": [],
    "avx2": ["/arch:AVX2"] if MSVC else ["-mavx2", "-mfma", "-mprfchw"],
    "avx512": ["/arch:AVX512"] if MSVC else AVX512.split(),
}
if not MSVC:
    X86["avx512_bf16"] = [*AVX512.split(), "-mavx512bf16"]
if sys.platform == "linux":
    X86["amx"] = [*X86["avx512_bf16"], "-mamx-tile", "-mamx-bf16"]
ISAS = {"x86_64": X86, "amd64": X86, "aarch64": {"neon": []}, "arm64": {"neon": []}}
ISA_FLAGS = next((isas for name, isas in ISAS.items() if TARGET.endswith(name)), {"baseline": []})

# Nobody reads errno or traps of arithmetic, and the kernels count on contraction. Never fast-math: it breaks NaN here
# and subnormal numbers in the whole process.
if MSVC:
    FLAGS, LINK = ["/O2", "/std:c11"], []
elif SANITIZE:
    # Python's own flags define what a signed overflow does, which "undefined" is to find.
    FLAGS = ["-O1", "-g", f"-fsanitize={SANITIZE}", "-fno-sanitize-recover", "-fno-omit-frame-pointer", "-fno-wrapv"]
    LINK = [f"-fsanitize={SANITIZE}"]
else:
    FLAGS, LINK = ["-O3", "-g0"], []
if not MSVC:
    FLAGS += ["-std=c11", "-fPIC", "-fvisibility=hidden"]
    FLAGS += ["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
if EMULATE_TILES:
    FLAGS += ["-DFNN_EMULATE_TILES"]


def openmp_flags():
    """Flags (compile, link) with which this compiler builds an OpenMP program, or two empty lists."""
    if os.environ.get("FASTNN_OPENMP") == "0":
        return [], []
    macos = ["-Xpreprocessor", "-fopenmp"], ["-lomp"]
    candidate = {"win32": (["/openmp"], []), "darwin": macos}.get(sys.platform, (["-fopenmp"], ["-fopenmp"]))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("#include <omp.h>\nint PyInit_probe(void) { return omp_get_max_threads(); }\n")
        probe = Extension("probe", [str(source)])
        probe.extra_compile_args, probe.extra_link_args = candidate
        build_ext = Distribution({"ext_modules": [probe]}).get_command_obj("build_ext")
        build_ext.build_lib = build_ext.build_temp = folder
        try:
            build_ext.ensure_finalized()
            build_ext.run()
        except CCompilerError:
            print("fastnn: the compiler has no OpenMP; building a serial library", file=sys.stderr)
            return [], []
    return candidate


class BuildLibraries(build_clib):
    """build_clib with the libraries side by side: the kernels of one instruction set compile for many seconds."""

    def build_libraries(self, libraries):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            # The widest vectors first: they take as long as all others together.
            list(pool.map(lambda library: super(BuildLibraries, self).build_libraries([library]), libraries[::-1]))


class SourceDistribution(sdist):
    """sdist with the C sources of every machine, the tests, the benchmarks and docs, and no generated file."""

    def make_distribution(self):
        files = {name for name in self.filelist.files if not name.startswith("build")}
        for folder in ("csrc", "fastnn", "tests", "benchmarks", "docs"):
            for path in Path(folder).rglob("*.*"):
                source = path.suffix in {".c", ".h", ".def", ".py", ".pyx", ".pxd", ".json", ".npz", ".md"}
                if source and "results" not in path.parts:
                    files.add(str(path))
        self.filelist.files = sorted(files)
        super().make_distribution()


openmp_compile, openmp_link = openmp_flags()
headers = [str(path) for suffix in ("*.h", "*.def") for path in sorted(Path("csrc").rglob(suffix))]


def library(name, sources, flags):
    """A setuptools `libraries` entry; every object is made anew when any header changes."""
    return name, {"sources": sources, "obj_deps": {"": headers}, "cflags": FLAGS + flags, "include_dirs": ["csrc"]}


# The shared library first: a linker takes from a static library what those before it ask for.
libraries = [
    library("fnn_shared", [f"csrc/{name}.c" for name in ("dispatch", "random", "threads")], openmp_compile),
    *(library(f"fnn_{isa}", [f"csrc/isa/{isa}.c"], flags) for isa, flags in ISA_FLAGS.items()),
]
extensions = [
    Extension(
        ".".join(path.with_suffix("").parts),
        [str(path)],
        include_dirs=["csrc"],
        depends=headers,
        extra_compile_args=FLAGS + openmp_compile,
        extra_link_args=LINK + openmp_link,
    )
    for path in sorted(Path("fastnn/native").glob("*.pyx"))
]

directives = {"language_level": 3, "cdivision": True}
directives |= dict.fromkeys(("boundscheck", "wraparound", "initializedcheck"), False)

# Processes that are not forked would run this file again.
processes = os.cpu_count() if multiprocessing.get_start_method() == "fork" else 0

setup(
    cmdclass={"build_clib": BuildLibraries, "sdist": SourceDistribution},
    libraries=libraries,
    ext_modules=cythonize(extensions, nthreads=processes, build_dir="build/cython", compiler_directives=directives),
    options={
        "build": {"build_base": str(Path("build", SANITIZE, "tiles" * EMULATE_TILES))},
        "build_ext": {"parallel": os.cpu_count()},
    },
)
