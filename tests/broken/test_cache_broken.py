"""Hubs that mean harm, disks that are full, caches that cannot be written, and two who want the same."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import huggingface_hub
import pytest
from fake_hub import COMMIT, Hub, Repo, serving_hub
from outcomes import ERROR, NOTE
from sweeps import slow, sweep

from peclip.cli.app import run
from peclip.downloads.direct import RemoteFile, fetch
from peclip.errors import WeightsError
from peclip.settings import load_settings


@pytest.fixture
def hub(model: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving_hub(monkeypatch) as hub:
        hub.repos["org/repo"] = Repo(files={COMMIT: dict(model)})
        yield hub


def files_of(hub: Hub) -> dict[str, bytes]:
    return hub.repos["org/repo"].files[COMMIT]


def files_under(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


TRAVERSALS = ["../evil.txt", "../../../../../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil"]


@sweep("name", TRAVERSALS, default=["../../../../../evil.txt", "/evil.txt", "..\\evil"])
def test_a_file_name_from_the_hub_cannot_leave_the_cache(
    name: str, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PECLIP_CACHE_DIR", str(tmp_path / "a" / "cache"))
    files_of(hub)[name] = b"harm"
    assert run(["models", "download", "org/repo"]) == 0
    assert {Path(path).name for path in files_under(tmp_path)}.isdisjoint({"evil.txt", "..\\evil"})
    assert not Path("/evil.txt").exists()


@pytest.mark.parametrize("where", ["etag", "commit", "sha"])
@sweep(
    "name",
    ["../../../../evil.txt", "{root}/evil.txt", "..\\evil.txt", 'W"{root}/evil.txt'],
    default=["../../../../evil.txt", "{root}/evil.txt"],
)
def test_a_hub_response_cannot_leave_the_cache(
    where: str,
    name: str,
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PECLIP_CACHE_DIR", str(tmp_path / "a" / "cache"))
    setattr(hub, where, name.format(root=tmp_path))
    assert run(["models", "download", "org/repo"]) == 4
    err = capfd.readouterr().err
    (line,) = (line for line in err.splitlines() if line.startswith(ERROR))  # among progress bars
    assert "outside the cache" in line
    assert "Traceback" not in err
    assert not [path for path in files_under(tmp_path) if "evil" in path or "snapshots/" in path]
    hub.etag = hub.commit = hub.sha = None
    assert run(["models", "download", "org/repo"]) == 0
    assert not huggingface_hub.get_session().event_hooks["response"], "the client is as it was"


def test_the_size_of_a_hub_file_is_limited(
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PECLIP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PECLIP_MAX_DOWNLOAD_BYTES", "20000")
    assert max(map(len, files_of(hub).values())) > 20_000
    assert run(["models", "download", "org/repo"]) == 4
    err = capfd.readouterr().err
    (line,) = (line for line in err.splitlines() if line.startswith(ERROR))
    assert "PECLIP_MAX_DOWNLOAD_BYTES=20000" in line
    assert not list(tmp_path.rglob("*.safetensors"))
    monkeypatch.delenv("PECLIP_MAX_DOWNLOAD_BYTES")
    assert run(["models", "download", "org/repo"]) == 0


@contextmanager
def full_disk() -> Iterator[None]:
    """Files may not grow beyond a thousand bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_a_one_line_error_and_the_next_download_completes(
    hub: Hub, video: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with full_disk():
        assert run(["models", "download", "org/repo"]) == 4
    err = capfd.readouterr().err
    errors = [line for line in err.splitlines() if line.startswith(ERROR)]
    assert len(errors) == 1
    assert os.strerror(errno.EFBIG) in errors[0]
    assert "Traceback" not in err
    assert run(["models", "download", "org/repo"]) == 0
    words = ["predict", str(video), "-m", "org/repo", "--device", "cpu", "--no-face-crop"]
    assert run(words) == 0


def test_a_full_disk_while_fetching_the_detector_is_a_weights_error(
    hub: Hub, tmp_path: Path
) -> None:
    files_of(hub)["face.onnx"] = bytes(5000)
    url = f"{hub.address}/org/repo/resolve/main/face.onnx"
    file = RemoteFile("face.onnx", url, "0" * 64, 5000)
    with full_disk(), pytest.raises(WeightsError, match="Free up disk space"):
        fetch(file, tmp_path / "cache", settings=load_settings())


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
def test_a_full_disk_while_writing_output_is_a_one_line_error(
    form: str, video: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--device", "cpu", "--no-face-crop", "-f", form, "-o", "/dev/full", "--overwrite"]
    assert run(["predict", str(video), "-m", "debug", *words]) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line != NOTE]
    assert len(errors) == 1
    assert "/dev/full" in errors[0]
    assert os.strerror(errno.ENOSPC) in errors[0]


def test_a_prediction_needs_no_temporary_file(
    video: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with full_disk():
        assert run(["predict", str(video), "-m", "debug", "--device", "cpu"]) == 0


def test_a_read_only_cache_is_a_one_line_error(
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    powerless: Callable[[], AbstractContextManager[None]],
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o555)
    monkeypatch.setenv("PECLIP_CACHE_DIR", str(cache))
    with powerless():
        assert run(["models", "download", "org/repo"]) == 4
    line = capfd.readouterr().err.split("\n")[-2]  # after the client's progress
    assert line.startswith(ERROR)
    assert "Permission denied" in line
    assert str(cache) in line
    assert "PECLIP_CACHE_DIR" in line
    assert list(cache.iterdir()) == []


DOWNLOAD = """
import sys
from huggingface_hub import constants
constants.ENDPOINT = sys.argv[1]
constants.HUGGINGFACE_CO_URL_TEMPLATE = sys.argv[1] + "/{repo_id}/resolve/{revision}/{filename}"
from peclip.downloads.hub import download_repository
from peclip.settings import load_settings
files = ["config.json", "model.safetensors"]
print(download_repository("org/repo", None, files, load_settings()))
"""


@slow
def test_two_processes_may_download_at_once(hub: Hub, model: dict[str, bytes]) -> None:
    command = [sys.executable, "-c", DOWNLOAD, hub.address]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    folders = {process.communicate()[0].strip().splitlines()[-1] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    (folder,) = folders
    for name in ("config.json", "model.safetensors"):
        assert (Path(folder) / name).read_bytes() == model[name]
