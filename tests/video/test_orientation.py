"""The eight orientations of videos and images: all are shown as ffmpeg shows them."""

from __future__ import annotations

import io
import logging
import math
import shutil
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest
from changing_videos import Segment, display_matrix, write_segments, write_with_matrix
from decoders import each_decoder
from PIL import Image
from synthetic_videos import pictures

from peclip.video.reader import open_video
from peclip.video.readers.orientation import AS_STORED, Orientation, orientation_of

SHOWN = {
    (1, 0, 0, 1): lambda picture: picture,
    (-1, 0, 0, 1): lambda picture: picture[:, ::-1],
    (1, 0, 0, -1): lambda picture: picture[::-1],
    (-1, 0, 0, -1): lambda picture: picture[::-1, ::-1],
    (0, 1, -1, 0): lambda picture: np.rot90(picture, -1),  # clockwise
    (0, -1, 1, 0): lambda picture: np.rot90(picture),
    (0, 1, 1, 0): lambda picture: picture.transpose(1, 0, 2),
    (0, -1, -1, 0): lambda picture: picture[::-1, ::-1].transpose(1, 0, 2),
}
"""The display matrix (a, b, c, d) of each orientation, and what it shows."""

CONTAINERS = [("mp4", "libx264"), ("mkv", "libx264"), ("webm", "libvpx")]


def turn(degrees: float) -> tuple[float, ...]:
    """Clockwise."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return cosine, sine, -sine, cosine


def frames_of(path, decoder="pyav"):
    """All frames, which `chunks` and `read` give alike, in the size that the metadata give."""
    with open_video(path, decoder=decoder) as reader:
        frames = np.concatenate([chunk.data for chunk in reader.chunks()])
        assert np.array_equal(reader.read(range(len(reader))).data, frames)
        assert (reader.metadata.height, reader.metadata.width) == frames.shape[1:3]
        return frames


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The frames of the videos below without a display matrix, by ending."""
    folder = tmp_path_factory.mktemp("stored")
    return {
        ending: frames_of(write_with_matrix(folder / f"a.{ending}", (1, 0, 0, 1), codec))
        for ending, codec in CONTAINERS
    }


@each_decoder
@pytest.mark.parametrize(("ending", "codec"), CONTAINERS)
@pytest.mark.parametrize("matrix", SHOWN)
def test_the_eight_orientations(matrix, ending, codec, decoder, stored, tmp_path, caplog):
    path = write_with_matrix(tmp_path / f"a.{ending}", matrix, codec)
    expected = [SHOWN[matrix](picture) for picture in stored[ending]]
    assert np.array_equal(frames_of(path, decoder), expected)
    assert not caplog.records


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the program ffmpeg")
@pytest.mark.parametrize("matrix", [*SHOWN, (0, 2, -2, 0), turn(0.4), turn(90.4)])
def test_ffmpeg_shows_the_same(matrix, tmp_path):
    path = write_with_matrix(tmp_path / "a.mp4", matrix)
    raw = subprocess.run(
        f"ffmpeg -v error -i {path} -pix_fmt rgb24 -f rawvideo -".split(),
        capture_output=True,
        check=True,
    ).stdout
    frames = frames_of(path)
    shown = np.frombuffer(raw, np.uint8).reshape(frames.shape)
    assert np.abs(shown.astype(int) - frames).max() <= 4  # of another version of FFmpeg


@each_decoder
@pytest.mark.parametrize(
    ("matrix", "named"),
    [
        ((0, 0, 0, 0), "[0 0; 0 0]"),
        ((1, 0.5, 0.5, 1), "[1 0.5; 0.5 1]"),
        ((0, 0, 0, 1), "[0 0; 0 1]"),
        (turn(30), "[0.866028 0.5; -0.5 0.866028]"),
        (turn(45), "[0.707108 0.707108; -0.707108 0.707108]"),  # torchcodec turns by a quarter
        ((1, 1, 1, 1), "[1 1; 1 1]"),
        (turn(60), "[0.5 0.866028; -0.866028 0.5]"),
        (turn(150), "[-0.866028 0.5; -0.5 -0.866028]"),
    ],
)
def test_a_matrix_of_no_orientation_is_ignored(matrix, named, decoder, stored, tmp_path, caplog):
    path = write_with_matrix(tmp_path / "a.mp4", matrix)
    assert np.array_equal(frames_of(path, decoder), stored["mp4"])
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert str(path) in record.getMessage()
    assert named in record.getMessage()
    assert "ffmpeg -i INPUT output.mp4" in record.getMessage()


@pytest.mark.parametrize("degrees", [0, 0.4, 90.4, 180, 269.6])
def test_a_matrix_within_half_a_degree_is_an_orientation(degrees):
    matrix = np.array(display_matrix(*turn(degrees)), np.int32).tobytes()
    assert (
        orientation_of(matrix)
        == {
            0: AS_STORED,
            1: Orientation(0, 1, -1, 0),
            2: Orientation(-1, 0, 0, -1),
            3: Orientation(0, -1, 1, 0),
        }[round(degrees / 90)]
    )
    beyond = np.array(display_matrix(*turn(degrees + 1)), np.int32).tobytes()
    assert orientation_of(beyond) is None


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("matrix", SHOWN)
def test_what_is_left_after_a_turn(matrix, turns):
    picture = pictures(1, 8, 6)[0]
    left = Orientation(*matrix).after_turning_back(turns)
    assert np.array_equal(left.upright(np.rot90(picture, turns)), SHOWN[matrix](picture))


@each_decoder
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_an_orientation_that_changes_in_the_middle(ending, decoder, tmp_path):
    images = pictures(2, 48, 48)
    orient = "h264_metadata=display_orientation=insert"
    segments = [Segment(images[:1]), Segment(images[:1]), Segment(images[:1])]
    expected = frames_of(write_segments(tmp_path / f"plain.{ending}", segments))
    expected[1] = np.rot90(expected[1])
    expected[2] = expected[2][:, ::-1]
    segments[1] = Segment(images[:1], filters=f"{orient}:rotate=90")
    segments[2] = Segment(images[:1], filters=f"{orient}:flip=horizontal")
    path = write_segments(tmp_path / f"a.{ending}", segments)
    assert np.array_equal(frames_of(path, decoder), expected)


@each_decoder
def test_a_mirrored_portrait(decoder, shared_data, tmp_path):
    path = shared_data / "hard" / "mirrored_hflip_matrix.mp4"
    plain = tmp_path / "plain.mp4"
    # The same stream with the matrix of the identity: 36 bytes of the track's header.
    data = path.read_bytes()
    mirrored = np.array([-65536, 0, 0, 0, 65536, 0, 20971520, 0, 1 << 30], ">i4").tobytes()
    identity = np.array([65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30], ">i4").tobytes()
    assert data.count(mirrored) == 1
    plain.write_bytes(data.replace(mirrored, identity))
    frames = frames_of(path, decoder)
    assert frames.shape == (72, 240, 320, 3)
    assert np.array_equal(frames, frames_of(plain)[:, :, ::-1])


@each_decoder
def test_a_matrix_of_zeros(decoder, shared_data, caplog):
    frames = frames_of(shared_data / "hard" / "zero_matrix.mp4", decoder)
    assert frames.shape == (15, 96, 128, 3)
    assert ["[0 0; 0 0]" in record.getMessage() for record in caplog.records] == [True]


# --- images -------------------------------------------------------------------------------------

EXIF = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
"""The display matrix that means the same as each EXIF orientation."""


def save(path, picture, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if path.suffix == ".webp" else {"quality": 100}
    Image.fromarray(picture).save(path, exif=exif, **options)
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
@pytest.mark.parametrize("orientation", EXIF)
def test_the_eight_orientations_of_an_image(orientation, ending, tmp_path, caplog):
    picture = save(tmp_path / f"a.{ending}", pictures(1, 64, 48)[0], orientation)
    expected = SHOWN[EXIF[orientation]](picture)
    assert np.array_equal(frames_of(tmp_path / f"a.{ending}"), [expected])
    assert not caplog.records


@each_decoder
@pytest.mark.parametrize("orientation", [1, 3, 5, 6])
def test_pictures_with_the_exif_data_of_a_camera(orientation, decoder, tmp_path):
    """FFmpeg attaches such data to frames as a kind that PyAV's list lacks."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110] = orientation, "Maker", "Camera"
    jpeg = io.BytesIO()
    down, right = np.mgrid[0:48, 0:64]
    picture = np.stack([4 * right, 5 * down, 128 + 0 * down], 2).astype(np.uint8)
    Image.fromarray(picture).save(jpeg, "JPEG", exif=exif, quality=100)
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number in range(3):
            packet = av.Packet(jpeg.getvalue())
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = number
            container.mux(packet)
    frames = frames_of(path, decoder)
    upright = SHOWN[EXIF[orientation]](picture)
    assert frames.shape == (3, *upright.shape)
    assert np.abs(frames[0].astype(int) - upright).mean() < 3


def test_a_folder_of_images_of_all_orientations(tmp_path):
    upright = pictures(1, 64, 48)[0]
    for orientation, matrix in EXIF.items():
        # Two quarter turns in opposite directions undo each other, all others undo themselves.
        back = {6: 8, 8: 6}.get(orientation, orientation)
        save(tmp_path / f"{orientation}.png", SHOWN[matrix](upright), back)
    assert np.array_equal(frames_of(tmp_path), [upright] * 8)


def test_an_unknown_exif_orientation_is_ignored(tmp_path, caplog):
    picture = pictures(1, 64, 48)[0]
    for number, orientation in enumerate([1, 9, 0]):
        save(tmp_path / f"{number}.png", picture, orientation)
    assert np.array_equal(frames_of(tmp_path), [picture] * 3)
    [record] = caplog.records
    assert str(tmp_path / "1.png") in record.getMessage()
    assert "orientation 9 is ignored" in record.getMessage()
