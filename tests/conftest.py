"""Fixtures of all tests. No test may reach the network or a cache of the machine."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).parents[2] / "shared" / "data"
MARKERS = {"shared_data": "shared", "mediapipe": "extra", "cluster": "extra"}
"""By fixture: the marker of the tests that use it, directly or through another fixture."""

# The tensors here are small: threads that wait for each other would cost more than they bring.
torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)  # before pytest selects by `-m`
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in MARKERS:
                item.add_marker(MARKERS[fixture])
        if (
            item.get_closest_marker("gpu")
            and not torch.cuda.is_available()
            and not os.environ.get("FAIL_WITHOUT_CUDA")
        ):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """A shell that runs the tests in the background has them ignore Ctrl-C, which some of them press."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """New folders for caches: asked for each, pytest would list all folders of the run each time."""
    return (tmp_path_factory.getbasetemp() / "caches" / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, _caches: Iterator[Path]) -> None:
    """Give every test an empty cache, without network, token or variables of the machine."""
    for name in list(os.environ):
        if name.startswith(("PECLIP_", "HF_")):
            monkeypatch.delenv(name)
    cache = next(_caches)
    cache.mkdir(parents=True)
    monkeypatch.setenv("PECLIP_CACHE_DIR", str(cache))
    monkeypatch.setenv("PECLIP_OFFLINE", "1")
    # On a busy machine, a test may take longer than a line of progress.
    monkeypatch.setattr("peclip.cli.progress_lines.INTERVAL_S", 3600.0)


@pytest.fixture(scope="session", autouse=True)
def _same_precision() -> Iterator[None]:
    """Predictions are fp32 on every CPU unless a test requests otherwise, so that values can be pinned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("peclip.runtime.cpu_prefers_bf16", lambda: False)
        yield


@pytest.fixture(autouse=True)
def _same_random_numbers() -> Iterator[None]:
    """Seeds torch for each test, and leaves the generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """The command line sends the log to its own standard error; the next test must not see that."""
    yield
    log = logging.getLogger("peclip")
    log.handlers.clear()
    log.propagate = True
    log.setLevel(logging.NOTSET)


@pytest.fixture
def shared_data(request: pytest.FixtureRequest) -> Path:
    """The test data that cannot ship with the project; without it, the test is skipped.

    Every path to these data starts here, so that no test needs them without being skipped.
    """
    # `getfixturevalue` comes after the selection by markers.
    assert request.node.get_closest_marker("shared"), "name the fixture in the test's signature"
    if not SHARED.is_dir():
        pytest.skip("needs test data that do not ship with the project (the folder ../shared)")
    return SHARED


@pytest.fixture
def clips(shared_data: Path) -> Path:
    """The folder of real videos."""
    return shared_data / "clips"


@pytest.fixture
def annotations(shared_data: Path) -> Path:
    """The folder of the published lists of DFEW, FERV39k, MAFW and AFEW."""
    return shared_data / "annotations"


@pytest.fixture
def yunet(_isolated: None, shared_data: Path) -> Path:
    """Puts the YuNet model into the cache, as a download would."""
    target = Path(os.environ["PECLIP_CACHE_DIR"]) / "face_detection_yunet_2023mar.onnx"
    shutil.copy(shared_data / "models" / "yunet_s_640_640.onnx", target)
    return target


@pytest.fixture
def mediapipe() -> None:
    """MediaPipe, which the development set-up leaves out; without it, the test is skipped."""
    # Looked for, not imported: an installation that is broken must fail.
    if importlib.util.find_spec("mediapipe") is None:
        pytest.skip("needs MediaPipe: pip install '.[parts]'")


@pytest.fixture(scope="session")
def astronaut() -> Path:
    """A video of a face that ships with the project (NASA, public domain)."""
    return Path(__file__).parents[1] / "examples" / "astronaut.mp4"


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of a model of two layers, beside the folder `trained` with the model itself."""
    pytest.importorskip("onnxscript", reason="needs the extra: pip install 'peclip[export]'")
    from exported_models import export_trained

    return export_trained(tmp_path_factory.mktemp("exported"))
