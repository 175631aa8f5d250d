"""Data sets: `load_split` turns a benchmark, a folder or a table into samples with named labels.

Belongs here: samples, splits, caption files, reading and augmenting training videos, and checks of a copy. Each data
set is a file in `benchmarks`, each input besides frames one in `streams`; face crops are made in `preparation`.
Belongs elsewhere: models, and decoding and face detection (`video`).
"""

from peclip.data.benchmarks.benchmark import Benchmark
from peclip.data.benchmarks.registry import DATASETS, find_benchmark
from peclip.data.config import DataConfig
from peclip.data.samples import Sample, Split
from peclip.data.splits import (
    carve_validation,
    check_captions,
    check_missing,
    load_split,
    read_split,
    read_splits,
)

__all__ = [
    "DATASETS",
    "Benchmark",
    "DataConfig",
    "Sample",
    "Split",
    "carve_validation",
    "check_captions",
    "check_missing",
    "find_benchmark",
    "load_split",
    "read_split",
    "read_splits",
]
