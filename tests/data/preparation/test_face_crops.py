"""Face crops of a data set, with drawn people and a detector that sees them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from peclip.cli.app import run
from peclip.config import PreprocessConfig
from peclip.data import DataConfig, load_split
from peclip.data.preparation.crop_record import LEFT_OUT, CropConfig, left_out
from peclip.data.preparation.face_crops import Prepared, count_status, prepare
from peclip.data.preparation.sighting_files import join_people, write_sightings
from peclip.data.samples import Sample
from peclip.errors import ConfigError, DatasetError
from peclip.video.faces import FaceBox, Image
from peclip.video.observer import Observation, Sighting
from peclip.video.parts import Parts, load_parts, parts_path
from peclip.video.reader import open_video

CONFIG = CropConfig.of(PreprocessConfig(), size=32, detector="bright", threshold=0.7)


class Bright:
    """Finds bright rectangles, left to right, and counts how often it is asked."""

    name = "bright"
    asked = 0

    def detect(self, image: Image, max_side: int = 640) -> list[FaceBox]:
        type(self).asked += 1
        columns = (image[..., 0] > 150).any(0).astype(np.int8)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], columns, [0]])))
        return [
            FaceBox(float(a), 10.0, float(b - a), 30.0, 0.9)
            for a, b in zip(edges[::2], edges[1::2], strict=True)
        ]


def write_video(path: Path, people: dict[int, range], count: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 64, "yuv420p"
        for index in range(count):
            picture = np.zeros((64, 160, 3), np.uint8)
            for left, frames in people.items():
                if index in frames:
                    picture[10:40, left : left + 30] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    write_video(folder / "happy" / "a.mp4", {10: range(12), 100: range(4)})
    write_video(folder / "happy" / "b.mp4", {60: range(3, 12)})
    write_video(folder / "sad" / "c.mp4", {100: range(12)})
    return folder


def samples(root: Path) -> tuple[Sample, ...]:
    return load_split(DataConfig(dataset="folder", root=root, split="all")).samples


def test_the_main_person_of_every_video_is_cropped(root: Path, tmp_path: Path) -> None:
    done = prepare(samples(root), root, tmp_path / "out", CONFIG, Bright)
    assert sorted((d.status, d.frames, d.crops, d.people) for d in done) == [
        ("ok", 12, 9, 1),
        ("ok", 12, 12, 1),
        ("ok", 12, 12, 2),
    ]
    with open_video(tmp_path / "out" / "happy" / "a") as reader:
        assert len(reader) == 12
        assert reader.read([0]).data.shape == (1, 32, 32, 3)
    about = json.loads((tmp_path / "out" / "happy" / "b" / "frames.json").read_text())
    assert about["crops"][0]["file"] == "000003.jpg"
    assert about["crops"][0]["time_s"] == pytest.approx(0.12)
    record = json.loads((tmp_path / "out" / "preprocessing.json").read_text())
    assert (record["size"], record["detector"], record["margin"]) == (32, "bright", 0.3)


def test_the_readers_of_the_data_set_find_the_crops(root: Path, tmp_path: Path) -> None:
    prepare(samples(root), root, tmp_path / "out", CONFIG, Bright)
    again = samples(tmp_path / "out")
    assert [s.label for s in again] == [s.label for s in samples(root)]
    assert all(s.source.is_dir() for s in again)


def test_a_second_run_skips_finished_videos(root: Path, tmp_path: Path) -> None:
    prepare(samples(root), root, tmp_path / "out", CONFIG, Bright)
    Bright.asked = 0
    done = prepare(samples(root), root, tmp_path / "out", CONFIG, Bright)
    assert Bright.asked == 0
    assert count_status(done) == {"kept": 3}


def test_a_killed_run_leaves_no_partial_video(root: Path, tmp_path: Path) -> None:
    class Killed(Bright):
        def detect(self, image: Image, max_side: int = 640) -> list[FaceBox]:
            if Killed.asked > 15:
                raise KeyboardInterrupt
            return super().detect(image)

    Killed.asked = 0
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prepare(samples(root), root, out, CONFIG, Killed, workers=1)
    complete = [path.parent for path in out.rglob("frames.json")]
    assert len(complete) == 1
    assert {path.parent for path in out.rglob("*.jpg")} == set(complete)
    left = json.loads((out / LEFT_OUT).read_text())
    assert list(left.values()) == ["not_done", "not_done"], "they must not pass for all of the data"
    assert "2 not_done" in (left_out(out) or "")
    done = prepare(samples(root), root, out, CONFIG, Bright, workers=1)
    assert count_status(done) == {"kept": 1, "ok": 2}
    assert left_out(out) is None


def test_leftovers_of_kill_9_are_removed(root: Path, tmp_path: Path) -> None:
    left = tmp_path / "out" / "happy" / ".a.part" / "0"
    left.mkdir(parents=True)
    (left / "000000.jpg").write_bytes(b"half")
    prepare(samples(root), root, tmp_path / "out", CONFIG, Bright)
    assert not left.exists()


def test_threads_do_not_change_the_crops(root: Path, tmp_path: Path) -> None:
    trees = []
    for workers in (1, 3):
        out = tmp_path / f"out{workers}"
        prepare(samples(root), root, out, CONFIG, Bright, workers=workers)
        trees.append({p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()})
    assert trees[0] == trees[1]


def test_a_video_without_a_face_or_frames_is_reported_and_does_not_stop_the_run(
    root: Path, tmp_path: Path
) -> None:
    write_video(root / "sad" / "empty.mp4", {})
    (root / "sad" / "broken.mp4").write_text("no video")
    told: list[Prepared] = []
    done = prepare(samples(root), root, tmp_path / "out", CONFIG, Bright, on_video=told.append)
    assert told == done
    assert count_status(done) == {"ok": 3, "no_face": 1, "decode_error": 1}
    assert not (tmp_path / "out" / "sad" / "empty").exists()
    (broken,) = (d for d in done if d.status == "decode_error")
    assert "broken.mp4" in broken.reason


def test_videos_without_crops_are_listed_in_the_output(root: Path, tmp_path: Path) -> None:
    """The readers of a folder do not know of them, so that a score would silently be one of fewer videos."""
    out = tmp_path / "out"
    write_video(root / "sad" / "empty.mp4", {})
    (root / "sad" / "broken.mp4").write_text("no video")
    prepare(samples(root), root, out, CONFIG, Bright)
    names = json.loads((out / LEFT_OUT).read_text())
    assert names == {"sad/broken.mp4": "decode_error", "sad/empty.mp4": "no_face"}
    told = left_out(out)
    assert told is not None
    assert "1 decode_error, 1 no_face" in told

    write_video(root / "sad" / "broken.mp4", {20: range(12)})
    (only,) = (s for s in samples(root) if s.id == "sad/broken.mp4")
    prepare([only], root, out, CONFIG, Bright)  # of a part: the record of the others is kept
    assert json.loads((out / LEFT_OUT).read_text()) == {"sad/empty.mp4": "no_face"}
    write_video(root / "sad" / "empty.mp4", {20: range(12)})
    prepare(samples(root), root, out, CONFIG, Bright)
    assert left_out(out) is None


def test_every_video_has_a_separate_folder(root: Path, tmp_path: Path) -> None:
    for name in ("clip.01", "clip.02"):
        (root / "sad" / name).mkdir()
        picture = np.zeros((64, 160, 3), np.uint8)
        picture[10:40, 20:50] = 255
        assert cv2.imwrite(str(root / "sad" / name / "0.png"), picture)
    out = tmp_path / "out"
    assert count_status(prepare(samples(root), root, out, CONFIG, Bright)) == {"ok": 5}
    assert sorted(s.source.name for s in samples(out)) == ["a", "b", "c", "clip.01", "clip.02"]


@pytest.mark.parametrize(
    ("other", "place"), [("happy/a.mkv", "happy/a"), ("happy/a/deep.mp4", "happy/a")]
)
def test_two_videos_for_one_folder_are_refused(
    other: str, place: str, root: Path, tmp_path: Path
) -> None:
    write_video(root / other, {10: range(12)})
    with pytest.raises(DatasetError, match=f"would share the output folder '{place}'"):
        prepare(samples(root), root, tmp_path / "out", CONFIG, Bright)
    assert not (tmp_path / "out").exists()


def table_of(root: Path, tmp_path: Path, *paths: str) -> DataConfig:
    lines = [f"{path},{label},train" for path, label in zip(paths, ("happy", "sad"), strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,split", *lines]))
    return DataConfig(dataset="table", root=root, annotations=tmp_path / "t.csv")


def test_a_table_finds_the_crops(root: Path, tmp_path: Path) -> None:
    config = table_of(root, tmp_path, "happy/a.mp4", "sad/c.mp4")
    prepare(load_split(config).samples, root, tmp_path / "out", CONFIG, Bright)
    again = load_split(config.model_copy(update={"root": tmp_path / "out"}))
    assert [s.source for s in again.samples] == [
        tmp_path / "out" / place for place in ("happy/a", "sad/c")
    ]


def test_crops_that_a_table_cannot_find_are_not_written(root: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "outside.mp4", {10: range(12)})
    out = tmp_path / "out"
    for path in (str(tmp_path / "outside.mp4"), "../outside.mp4", str(root / "happy" / "a.mp4")):
        config = table_of(root, tmp_path, "happy/b.mp4", path)
        with pytest.raises(DatasetError, match="outside the root"):
            prepare(load_split(config).samples, root, out, CONFIG, Bright)
        assert not out.exists()


def test_fer2013_is_not_cropped_again(tmp_path: Path) -> None:
    for place in ("train/angry/Training_1.jpg", "test/sad/PrivateTest_2.jpg"):
        (tmp_path / "fer" / place).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "fer" / place), np.zeros((48, 48, 3), np.uint8))
    split = load_split(DataConfig(dataset="fer2013", root=tmp_path / "fer"))
    with pytest.raises(
        DatasetError, match=r"stills that are already cropped .*Train on the stills"
    ):
        prepare(split.samples, tmp_path / "fer", tmp_path / "out", CONFIG, Bright)
    assert not (tmp_path / "out").exists()


class Everywhere:
    """Finds parts in every crop that is bright, and counts how often it is asked."""

    name = "everywhere"
    asked = 0

    def find(self, crops: NDArray[np.uint8]) -> Parts:
        type(self).asked += len(crops)
        found = crops.mean((1, 2, 3)) > 40
        return Parts(np.full((len(crops), 478, 2), 0.5, np.float32), found)


def test_parts_are_found_once_even_in_existing_crops(root: Path, tmp_path: Path) -> None:
    output = tmp_path / "crops"
    prepare(samples(root), root, output, CONFIG, Bright)
    with_parts = CONFIG.model_copy(update={"parts": "everywhere"})
    Everywhere.asked = 0
    results = prepare(samples(root), root, output, with_parts, Bright, make_finder=Everywhere)
    done = [result for result in results if result.status == "ok"]
    assert done
    assert Everywhere.asked == sum(result.crops for result in done)
    for result in done:
        folder = output / result.id.removesuffix(".mp4")
        parts = load_parts(parts_path(folder))
        assert len(parts) == len(list(folder.glob("*.jpg"))) == result.crops
        assert int(parts.found.sum()) == result.parsed
    again = prepare(samples(root), root, output, with_parts, Bright, make_finder=Everywhere)
    assert Everywhere.asked == sum(result.crops for result in done), "nothing is found twice"
    assert count_status(again)["kept"] == len(done)
    record = json.loads((output / "preprocessing.json").read_text())
    assert record["parts"] == "everywhere"
    prepare(samples(root), root, output, CONFIG, Bright)  # without parts: those that are there stay
    assert json.loads((output / "preprocessing.json").read_text())["parts"] == "everywhere"
    other = CONFIG.model_copy(update={"parts": "another"})
    with pytest.raises(ConfigError, match="made with different settings.*parts 'everywhere'"):
        prepare(samples(root), root, output, other, Bright, make_finder=Everywhere)


def test_other_settings_do_not_mix(root: Path, tmp_path: Path) -> None:
    prepare(samples(root), root, tmp_path / "out", CONFIG, Bright)
    other = CONFIG.model_copy(update={"margin": 0.5})
    with pytest.raises(ConfigError, match=r"margin 0\.3.*another folder"):
        prepare(samples(root), root, tmp_path / "out", other, Bright)
    with pytest.raises(ConfigError, match="inside the data set"):
        prepare(samples(root), root, root / "crops", CONFIG, Bright)


def command(root: Path, output: Path, *more: str) -> list[str]:
    plain = ["data", "prepare", "--dataset", "folder", "--data-root", str(root), "-m", "debug"]
    return [*plain, "--detector", "haar", "-o", str(output), *more]


def test_an_unwritable_output_is_a_one_line_error(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(output: Path) -> str:
        assert run(command(root, output)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    (tmp_path / "file").write_text("mine")
    assert f"cannot be saved in '{tmp_path / 'file'}': File exists." in refused(tmp_path / "file")
    out = tmp_path / "out"
    out.mkdir()
    for content in ("{", "[]", "\xff"):
        (out / "preprocessing.json").write_text(content, encoding="latin-1")
        assert "preprocessing.json' is corrupt" in refused(out)
    (out / "preprocessing.json").unlink()
    (out / "happy").write_text("where a folder must be")
    with pytest.raises(ConfigError, match=f"cannot be saved in '{out}'"):  # from a thread
        prepare(samples(root), root, out, CONFIG, Bright)
    assert not list(out.glob(".*"))


def test_missing_listed_videos_are_counted(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Bright, "name", "haar")
    monkeypatch.setattr("peclip.video.detectors.registry.load_detector", lambda *_, **__: Bright())
    config = table_of(root, tmp_path, "happy/a.mp4", "sad/gone.mp4")
    table = ["--dataset", "table", "--annotations", str(config.annotations)]
    assert run(command(root, tmp_path / "out", *table)) == 6
    assert capsys.readouterr().out.strip() == "1 ok, 1 missing"


def test_the_command(
    astronaut: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for place in ("happiness/a.mp4", "neutral/b.mp4"):
        (tmp_path / "data" / place).parent.mkdir(parents=True)
        shutil.copy(astronaut, tmp_path / "data" / place)
    arguments = ["--dataset", "folder", "--data-root", str(tmp_path / "data"), "-m", "debug"]
    arguments += ["--detector", "haar", "-o", str(tmp_path / "crops")]
    assert run(["data", "prepare", *arguments]) == 0
    assert capsys.readouterr().out.strip() == "2 ok"
    assert run(["data", "prepare", *arguments]) == 0
    assert capsys.readouterr().out.strip() == "2 kept"
    assert len(list((tmp_path / "crops" / "happiness" / "a").glob("*.jpg"))) > 60
    monkeypatch.setattr("peclip.video.parts.load_finder", lambda *_, **__: Everywhere())
    assert run(["data", "prepare", *arguments, "--parts", "mediapipe"]) == 0
    crops = len(list((tmp_path / "crops").rglob("*.jpg")))
    assert capsys.readouterr().out.splitlines() == [
        "2 ok",
        f"parts found in {crops} of {crops} new crops",
    ]
    assert run(["data", "prepare", *arguments, "--parts", "mediapipe"]) == 0
    assert capsys.readouterr().out.splitlines() == ["2 kept"]


def test_crops_of_a_person_recognised_late_are_those_of_the_main_person(tmp_path: Path) -> None:
    """The second track turns out to be the first person, so its crops belong to that person."""
    seen: dict[int, list[dict[str, object]]] = {}
    face = FaceBox(0, 0, 8, 8, 0.9)
    crop = np.zeros((8, 8, 3), np.uint8)
    renamed = {2: {1: 0}}
    for index, track in enumerate([0, 1, 0]):
        observation = Observation(
            index, index / 10, (Sighting(track, face, crop),), renamed=renamed.get(index, {})
        )
        join_people(observation, tmp_path, seen)
        write_sightings(observation, tmp_path, seen)
    assert [entry["file"] for entry in seen[0]] == ["000000.jpg", "000001.jpg", "000002.jpg"]
    assert seen.keys() == {0}
    assert sorted(p.name for p in tmp_path.rglob("*.jpg")) == [
        "000000.jpg",
        "000001.jpg",
        "000002.jpg",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["0"]
