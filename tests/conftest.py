"""Fixtures of all tests. No test may reach the network or a cache of the machine."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).parents[2] / "shared" / "data"
YUNET = SHARED / "models" / "yunet_s_640_640.onnx"

# The tensors here are small: threads that wait for each other would cost more than they bring.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("shared") and not SHARED.is_dir():
            item.add_marker(
                pytest.mark.skip(reason="the folder ../shared is not beside the project")
            )
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


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Gives every test an empty cache of its own, and no network, token or variable of the machine."""
    for name in list(os.environ):
        if name.startswith(("PECLIP_", "HF_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PECLIP_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("PECLIP_OFFLINE", "1")


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
def clips() -> Path:
    """The folder of real videos; tests that use it carry the marker `shared`."""
    return SHARED / "clips"


@pytest.fixture
def yunet(_isolated: None) -> Path:
    """Puts the YuNet model into the cache, as a download would."""
    target = Path(os.environ["PECLIP_CACHE_DIR"]) / "face_detection_yunet_2023mar.onnx"
    shutil.copy(YUNET, target)
    return target


@pytest.fixture(scope="session")
def astronaut() -> Path:
    """A video of a face that ships with the project (NASA, public domain)."""
    return Path(__file__).parents[1] / "examples" / "astronaut.mp4"
