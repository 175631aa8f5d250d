"""The data sets by name."""

from __future__ import annotations

from peclip.data.benchmarks.afew import AFEW
from peclip.data.benchmarks.benchmark import Benchmark
from peclip.data.benchmarks.cremad import CREMAD
from peclip.data.benchmarks.dfew import DFEW
from peclip.data.benchmarks.fer2013 import FER2013
from peclip.data.benchmarks.ferv39k import FERV39K
from peclip.data.benchmarks.folder import FOLDER
from peclip.data.benchmarks.mafw import MAFW
from peclip.data.benchmarks.ravdess import RAVDESS
from peclip.data.benchmarks.table import TABLE
from peclip.errors import ConfigError

DATASETS = {
    benchmark.name: benchmark
    for benchmark in (DFEW, FERV39K, MAFW, AFEW, RAVDESS, CREMAD, FER2013, FOLDER, TABLE)
}


def find_benchmark(name: str) -> Benchmark:
    """Returns a data set by name.

    Raises:
        ConfigError: the name is unknown.
    """
    if name not in DATASETS:
        raise ConfigError(f"Unknown data set {name!r}; choose one of {', '.join(DATASETS)}.")
    return DATASETS[name]
