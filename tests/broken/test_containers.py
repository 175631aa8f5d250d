"""Files that are cut, damaged, mislabelled or strange: rows, or one clear line and its exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import broken_videos
import pytest
from decoders import DECODERS, each_decoder, is_refusal
from outcomes import Predict
from sweeps import sweep

Good = dict[str, bytes]

TENTHS = range(1, 10)


@each_decoder
@sweep("tenth", TENTHS, default=(3, 7))
def test_a_truncated_file_with_a_leading_index_gives_its_rows_and_an_error(
    tenth: int, decoder: str, good: Good, predict: Predict, tmp_path: Path
) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(broken_videos.cut(good["front.mp4"], tenth / 10))
    outcome = predict(path, decoder=decoder)
    assert outcome.code in {3, 6}
    assert len(outcome.errors) == 1
    assert str(path) in outcome.errors[0]
    if tenth >= 6:
        assert outcome.code == 6


@each_decoder
@sweep("tenth", TENTHS, default=(5,))
def test_a_truncated_file_with_a_trailing_index_cannot_be_read(
    tenth: int, decoder: str, good: Good, predict: Predict, tmp_path: Path
) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(broken_videos.cut(good["back.mp4"], tenth / 10))
    outcome = predict(path, decoder=decoder)
    assert outcome.code == 3
    (line,) = outcome.errors
    assert f"{path} cannot be read as a video: " in line


@sweep("tenth", TENTHS, default=(5,))
@pytest.mark.parametrize(
    ("name", "decoder"),
    [
        *(
            (name, decoder)
            for name in ("plain.mkv", "plain.avi", "plain.gif")
            for decoder in DECODERS
        ),
        *((name, "pyav") for name in ("plain.ts", "plain.h264")),
    ],
)
def test_a_truncated_stream_gives_rows_or_a_one_line_error(
    name: str, tenth: int, decoder: str, good: Good, predict: Predict, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(broken_videos.cut(good[name], tenth / 10))
    outcome = predict(path, decoder=decoder)
    assert len(outcome.errors) <= 1
    assert all(str(path) in line for line in outcome.errors)
    if tenth >= 5:
        assert outcome.recognised


Change = Callable[[Good], bytes]

# What comes out: 0 rows, 3 one line, 6 rows and one line. With two codes, the decoders differ, or it
# depends on the version of FFmpeg.
DAMAGED: dict[str, tuple[str, Change, set[int], str]] = {
    "nothing": ("a.mp4", lambda _: b"", {3}, r"is an empty file \(0 bytes\)"),
    "one-byte": ("a.mp4", lambda _: b"\0", {3}, "cannot be read as a video"),
    "zeros": ("a.mp4", lambda _: bytes(65536), {3}, "cannot be read as a video"),
    "zeros.mkv": ("a.mkv", lambda _: bytes(65536), {3}, "cannot be read as a video"),
    "noise": ("a.mp4", lambda _: broken_videos.noisy(bytes(65536), 0, 1), {3}, "a.mp4"),
    "noise.ts": ("a.ts", lambda _: broken_videos.noisy(bytes(65536), 0, 1), {3}, "a.ts"),
    "headers-only": ("a.mp4", lambda g: g["front.mp4"].split(b"mdat")[0], {3}, "a.mp4"),
    "first-box-only": ("a.mp4", lambda g: g["front.mp4"][:32], {3}, "cannot be read as a video"),
    "mkv-header-only": ("a.mkv", lambda g: g["plain.mkv"][:400], {3}, "a.mkv"),
    "no-header": ("a.mp4", lambda g: g["front.mp4"][40:], {3}, "cannot be read as a video"),
    "pictures-only": ("a.mp4", lambda g: b"mdat" + g["front.mp4"].split(b"mdat")[1], {3}, "a.mp4"),
    "hole": ("a.mp4", lambda g: broken_videos.without(g["long.mp4"], 0.5, 0.6), {6}, "Invalid data"),
    "hole.mkv": ("a.mkv", lambda g: broken_videos.without(g["long.mkv"], 0.5, 0.6), {0, 6}, ""),
    "noise-in-the-middle": ("a.mp4", lambda g: broken_videos.noisy(g["long.mp4"], 0.6, 0.7), {0, 6}, ""),
    "noise-in.mkv": ("a.mkv", lambda g: broken_videos.noisy(g["long.mkv"], 0.6, 0.7), {0, 6}, ""),
    "noise-in.ts": ("a.ts", lambda g: broken_videos.noisy(g["plain.ts"], 0.6, 0.7), {0, 6}, ""),
    "noise-in.avi": ("a.avi", lambda g: broken_videos.noisy(g["plain.avi"], 0.6, 0.7), {0, 6}, ""),
    "noise-in.gif": ("a.gif", lambda g: broken_videos.noisy(g["plain.gif"], 0.6, 0.7), {0, 6}, ""),
    "never-written": ("a.mp4", lambda g: broken_videos.zeroed(g["long.mp4"], 0.6, 1), {6}, "Invalid data"),
    "never-written.mkv": ("a.mkv", lambda g: broken_videos.zeroed(g["long.mkv"], 0.6, 1), {0, 6}, ""),
    "damaged-packet": (
        "a.mp4", lambda g: broken_videos.damaged_packets(g["front.mp4"], range(5, 6)), {0}, "",
    ),
    "damaged-end": (
        "a.mp4", lambda g: broken_videos.damaged_packets(g["front.mp4"], range(8, 12)), {6}, "Invalid data",
    ),
    "damaged-all": (
        "a.mp4", lambda g: broken_videos.damaged_packets(g["front.mp4"], range(12)), {3}, "Invalid data",
    ),
    "garbage-behind": ("a.mp4", lambda g: g["front.mp4"] + b"garbage" * 500, {0}, ""),
    "garbage-before": ("a.mp4", lambda g: b"garbage!" * 50 + g["front.mp4"], {3}, "a.mp4"),
    "twice": ("a.mp4", lambda g: g["front.mp4"] * 2, {0}, ""),
    "twice.ts": ("a.ts", lambda g: g["plain.ts"] * 2, {0}, ""),
    "twice.mkv": ("a.mkv", lambda g: g["plain.mkv"] * 2, {0, 6}, ""),
    "mkv-named-mp4": ("a.mp4", lambda g: g["plain.mkv"], {0}, ""),
    "mp4-named-avi": ("a.avi", lambda g: g["front.mp4"], {0}, ""),
    "gif-named-mp4": ("a.mp4", lambda g: g["plain.gif"], {0}, ""),
    "mp4-without-ending": ("video", lambda g: g["front.mp4"], {0}, ""),
    "mp4-named-png": ("a.png", lambda g: g["front.mp4"], {3}, "image. Remove or replace it"),
    "mp4-named-txt": ("a.txt", lambda g: g["front.mp4"], {0}, ""),
    "unknown-codec": (
        "a.mp4", lambda g: g["front.mp4"].replace(b"avc1", b"zzzz"), {3}, "-c:v libx264",
    ),
    "encrypted": ("a.mp4", lambda g: g["front.mp4"].replace(b"avc1", b"encv"), {0, 3}, ""),
    "no-codec-header": ("a.mp4", lambda g: g["front.mp4"].replace(b"avcC", b"free"), {3}, "a.mp4"),
    "no-index": ("a.mp4", lambda g: g["front.mp4"].replace(b"stsz", b"free"), {3}, "a.mp4"),
    "timescale-0": ("a.mp4", lambda g: broken_videos.with_box(broken_videos.no_edits(g), b"mdhd", 12, 0), {0}, ""),
    "rate-of-nothing": ("a.mp4", lambda g: broken_videos.with_box(broken_videos.no_edits(g), b"stts", 12, 0), {0}, ""),
    "rate-of-years": (
        "a.mp4",
        lambda g: broken_videos.with_box(
            broken_videos.with_box(broken_videos.no_edits(g), b"mdhd", 12, 1), b"stts", 12, 2**31 - 1
        ),
        {0},
        "",
    ),
    "too-many-frames": (
        "a.mp4", lambda g: broken_videos.with_box(g["front.mp4"], b"stsz", 4, 1, 2**32 - 1), {3, 6}, "a.mp4",
    ),
    "index-past-the-end": (
        "a.mp4", lambda g: broken_videos.with_box(g["front.mp4"], b"stco", 8, 2**31), {3}, "a.mp4",
    ),
    "negative-box": ("a.mp4", lambda g: broken_videos.with_box(g["front.mp4"], b"ftyp", -8, 2**32 - 1), {3}, "a.mp4"),
    "endless-box": ("a.mp4", lambda g: broken_videos.with_box(g["front.mp4"], b"moov", -8, 7), {3}, "a.mp4"),
    "no-rotation": (
        "a.mp4", lambda g: broken_videos.with_box(g["front.mp4"], b"tkhd", 40, *[0] * 9), {0}, "",
    ),
    "crooked": (
        "a.mp4",
        lambda g: broken_videos.with_box(
            g["front.mp4"], b"tkhd", 40, 46341, 46341, 0, 2**32 - 46341, 46341, 0, 0, 0, 2**30
        ),
        {0},
        "",
    ),
    "avi-of-4-billion-frames": (
        "a.avi", lambda g: broken_videos.avi_with_count(g["plain.avi"], 2**32 - 1), {0, 6}, "",
    ),
}  # fmt: skip

ONE_PER_CLASS = [
    *("nothing", "zeros", "headers-only", "no-header", "pictures-only"),  # what is missing
    *("hole", "hole.mkv", "noise-in.ts", "never-written"),  # damage within
    *("damaged-packet", "damaged-end", "damaged-all"),
    *("garbage-behind", "garbage-before", "twice"),  # too much
    *("mkv-named-mp4", "mp4-named-png", "unknown-codec", "encrypted"),  # another kind
    *("no-index", "too-many-frames", "index-past-the-end", "endless-box"),  # the index
    *("timescale-0", "rate-of-years", "crooked", "avi-of-4-billion-frames"),  # numbers
]


@each_decoder
@sweep("name", DAMAGED, default=ONE_PER_CLASS)
def test_a_corrupt_file_gives_rows_or_a_one_line_error(
    name: str, decoder: str, good: Good, predict: Predict, tmp_path: Path
) -> None:
    file, change, codes, says = DAMAGED[name]
    path = tmp_path / file
    path.write_bytes(change(good))
    outcome = predict(path, decoder=decoder)
    assert len(outcome.errors) == (outcome.code != 0)
    assert all(str(path) in line for line in outcome.errors)
    if outcome.errors and is_refusal(decoder, outcome.errors[0]):
        return
    assert outcome.code in codes, outcome
    if says:
        assert any(says.replace("\\", "") in line for line in outcome.errors)


NO_VIDEO: dict[str, tuple[bytes, str]] = {
    "text.mp4": (b"hello " * 200, "cannot be read as a video"),
    "page.mp4": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n" * 20, "page.mp4"),
    "pointer.mp4": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
        "pointer.mp4",
    ),
    "list.m3u8": (
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nSECRET\n#EXT-X-ENDLIST\n",
        "list.m3u8",
    ),
    "list.mp4": (b"ffconcat version 1.0\nfile SECRET\n", "list.mp4"),
    "radio.mp4": (
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        b"a=rtpmap:96 H264/90000\n",
        "radio.mp4",
    ),
    "subtitles.srt": (
        b"1\n00:00:00,000 --> 00:00:02,000\nHello\n\n2\n00:00:02,000 --> 00:00:04,000\nyou\n",
        "no video stream",
    ),
    "notes.txt": (b"a story\n" * 400, "a text file, not a video"),
    "archive.zip.mp4": (b"PK\x03\x04\x14\0\0\0\x08\0" + b"\0" * 2000, "archive.zip.mp4"),
    "paper.pdf": (b"%PDF-1.7\n" + b"0 obj\n" * 300, "paper.pdf"),
    "pickle.mp4": (b"\x80\x04\x95" + b"." * 1000, "pickle.mp4"),
    "drawing.svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "drawing.svg"),
}  # fmt: skip


@sweep(
    "name",
    NO_VIDEO,
    default=["text.mp4", "list.m3u8", "list.mp4", "radio.mp4", "subtitles.srt", "notes.txt"],
)
def test_a_file_that_is_not_a_video_is_a_one_line_error(
    name: str, good: Good, predict: Predict, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(good["front.mp4"])
    content, says = NO_VIDEO[name]
    path = tmp_path / name
    path.write_bytes(content.replace(b"SECRET", str(secret).encode()))
    outcome = predict(path)
    assert outcome.code == 3
    (line,) = outcome.errors
    assert str(path) in line
    assert says in line


BROKEN_AMONG_GOOD = ["nothing", "noise", "headers-only", "never-written", "damaged-all",
                     "too-many-frames", "unknown-codec", "mp4-named-png"]  # fmt: skip


@each_decoder
@sweep("name", BROKEN_AMONG_GOOD, default=["nothing", "never-written", "damaged-all"])
def test_a_broken_file_does_not_affect_the_rows_of_valid_files(
    name: str, decoder: str, good: Good, predict: Predict, tmp_path: Path
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    first, last = folder / "1.mp4", folder / "3.mkv"
    first.write_bytes(good["front.mp4"])
    last.write_bytes(good["plain.mkv"])
    alone = predict(first, decoder=decoder).rows + predict(last, decoder=decoder).rows
    file, change, _, _ = DAMAGED[name]
    bad = folder / f"2{file}"
    bad.write_bytes(change(good))
    outcome = predict(first, bad, last, decoder=decoder)
    assert outcome.code == 6
    (line,) = outcome.errors
    assert str(bad) in line
    assert [row for row in outcome.rows if row["source"] != str(bad)] == alone
    assert [row["status"] for row in outcome.rows if row["source"] == str(bad)][
        -1
    ] == "decode_error"
