from pathlib import Path

import PIL.Image
import pytest

from peclip.errors import ConfigError, VideoError
from peclip.video.reader import open_video
from peclip.video.sources import Source, expand_sources, natural_key


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(folder: Path, *args: str | Path | int) -> list[str]:
    return [
        str(source.location.relative_to(folder))
        for source in expand_sources(args)
        if isinstance(source.location, Path)
    ]


def test_numbers_in_names_sort_as_numbers():
    given = ["f10.png", "f2.png", "f1.png", "F1.png", "f02.png", "f.png"]
    assert sorted(given, key=natural_key) == [
        *["F1.png", "f1.png", "f02.png", "f2.png", "f10.png", "f.png"]
    ]


def test_a_file_is_itself_whatever_its_suffix(tmp_path):
    touch(tmp_path, "talk.xyz")
    path = tmp_path / "talk.xyz"
    assert expand_sources([str(path)]) == [Source(str(path), path)]


def test_a_folder_gives_its_videos_in_natural_order_at_any_depth(tmp_path):
    touch(tmp_path, "v10.mp4", "v2.MOV", "notes.txt", "cover.jpg", "b/deep/x.mkv", ".hidden.mp4")
    assert names(tmp_path, tmp_path) == ["b/deep/x.mkv", "v2.MOV", "v10.mp4"]


def test_a_folder_of_images_is_one_source(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg", "list.txt")
    assert expand_sources([tmp_path]) == [Source(str(tmp_path), tmp_path)]


def test_sub_folders_of_images_are_sources_like_videos(tmp_path):
    touch(tmp_path, "a.mp4", "00010/1.png", "00002/1.png", "00002/2.png", "empty/readme.txt")
    assert names(tmp_path, tmp_path) == ["00002", "00010", "a.mp4"]


def test_pictures_above_videos_are_thumbnails(tmp_path):
    touch(tmp_path, "thumbnail.jpg", "session/a.mp4", "session/a.jpg")
    assert names(tmp_path, tmp_path) == ["session/a.mp4"]


def animate(path: Path) -> None:
    frames = [PIL.Image.new("RGB", (16, 16), (level, 0, 0)) for level in (0, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)


def test_animated_images_are_videos(tmp_path):
    touch(tmp_path, "still.png", "cover.jpg")
    for name in ("a.png", "b.webp", "c.apng"):
        animate(tmp_path / name)
    assert names(tmp_path, tmp_path) == ["a.png", "b.webp", "c.apng"]


def test_what_a_search_leaves_out_is_counted_and_named(tmp_path, caplog):
    touch(tmp_path, "a.mp4", "notes.txt", "deep/readme", "cover.jpg", ".hidden.txt")
    touch(tmp_path, "frames/0.jpg", "frames/frames.json", "frames/parts.safetensors")
    (tmp_path / "b.mp4").symlink_to(tmp_path / "a.mp4")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "deep" / "again").symlink_to(tmp_path)
    assert names(tmp_path, tmp_path, tmp_path / "a.mp4") == ["a.mp4", "frames"]
    found = sorted(record.getMessage().replace(f"{tmp_path}/", "") for record in caplog.records)
    assert [line.rsplit(". ", 1)[0] for line in found] == [
        "1 folder was skipped, because the same folder is already searched under another name: deep/again",
        "1 image was skipped, next to videos or in a folder above them: cover.jpg",
        "1 name was skipped, because a broken link, a pipe or a device is not a file: gone.mp4",
        "1 source was skipped, because the same file is already read under another name: b.mp4",
        "2 files were skipped, without a video or image extension: deep/readme, notes.txt",
    ]


def test_a_hard_link_is_read_once(tmp_path, caplog):
    touch(tmp_path, "a.mp4", "c.mp4")
    (tmp_path / "a.mp4").write_bytes(b"1")
    (tmp_path / "b.mp4").hardlink_to(tmp_path / "a.mp4")
    assert names(tmp_path, tmp_path) == ["a.mp4", "c.mp4"]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("1 source was skipped, because the same file is already read")
    assert str(tmp_path / "b.mp4") in line


def test_many_omissions_are_one_line(tmp_path, caplog):
    touch(tmp_path, "a.mp4", *(f"{number}.txt" for number in range(1200)))
    expand_sources([tmp_path])
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("1,200 files were skipped, ")
    assert "and 1,195 more. " in line


def test_a_link_to_a_parent_folder_is_followed_once(tmp_path):
    touch(tmp_path, "in/a.mp4")
    (tmp_path / "in" / "again").symlink_to(tmp_path)
    assert names(tmp_path, tmp_path) == ["in/a.mp4"]


def test_patterns(tmp_path):
    touch(tmp_path, "c10.mp4", "c9.mp4", "c.txt", "sub/d.mp4", "sub/deep/e.mp4", "frames/1.png")
    assert names(tmp_path, f"{tmp_path}/*.mp4") == ["c9.mp4", "c10.mp4"]
    assert names(tmp_path, f"{tmp_path}/sub/**/*.mp4") == ["sub/d.mp4", "sub/deep/e.mp4"]
    assert names(tmp_path, f"{tmp_path}/[fs]*") == ["frames", "sub/d.mp4", "sub/deep/e.mp4"]
    with pytest.raises(VideoError, match=r"pattern '.*\*\.avi' matches no"):
        expand_sources([f"{tmp_path}/*.avi"])


def test_an_existing_path_takes_precedence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "0", "clip[1].mp4")
    assert expand_sources(["0"]) == [Source("0", Path("0"))]
    assert expand_sources(["clip[1].mp4"]) == [Source("clip[1].mp4", Path("clip[1].mp4"))]


def test_addresses_and_cameras(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert expand_sources(["https://example.org/a.mp4?x=*", "0", 1]) == [
        Source("https://example.org/a.mp4?x=*", "https://example.org/a.mp4?x=*"),
        Source("camera:0", 0),
        Source("camera:1", 1),
    ]


def test_duplicates_keep_their_first_position(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    again = tmp_path / "x" / ".." / "b.mp4"
    (tmp_path / "x").mkdir()
    assert names(tmp_path, tmp_path / "b.mp4", tmp_path, again) == ["b.mp4", "a.mp4"]
    assert expand_sources([0, "0", 0]) == [Source("camera:0", 0)]


@pytest.mark.parametrize("arg", ["missing.mp4", "ftp://example.org/a.mp4", "-1x", "a" * 5000])
def test_a_missing_path_is_named(arg, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VideoError, match=r"does not exist\. Use a video file"):
        expand_sources([arg])


def test_an_empty_name_is_not_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "a.mp4")
    with pytest.raises(ConfigError, match="source name is empty"):
        expand_sources([""])
    with pytest.raises(ConfigError, match="is empty"):
        open_video("")


def test_a_folder_with_nothing_to_read_is_an_error(tmp_path):
    touch(tmp_path, "notes.txt")
    with pytest.raises(VideoError, match=r"without videos .* and without images"):
        expand_sources([tmp_path])


def test_a_number_that_no_camera_has_is_a_name() -> None:
    with pytest.raises(VideoError, match="'20240101123000' does not exist"):
        expand_sources(["20240101123000"])


def test_a_negative_camera_is_an_error():
    with pytest.raises(VideoError, match="webcam index -1"):
        expand_sources([-1])
