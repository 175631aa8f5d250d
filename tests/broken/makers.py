"""Broken and strange videos, made from small good ones. Everything here is deterministic."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from synthetic_videos import pictures, silence, write_video

FRAMES = 12


def small_video(path: Path, count: int = FRAMES, **options: object) -> Path:
    """A good video of 64x48, 25 frames a second, a key frame every four, no B-frames."""
    settings: dict[str, object] = {"pix_fmt": "yuv420p"} | options
    size = settings.pop("size", (64, 48))
    if settings.get("codec", "libx264") == "libx264":
        settings = {"preset": "ultrafast", "bf": "0", "g": "4"} | settings
    return write_video(path, pictures(count, *size), **settings)  # type: ignore[arg-type, misc]


def faststart(path: Path, **options: object) -> Path:
    """A good MP4 with its index in front of the pictures."""
    return small_video(path, container_options={"movflags": "+faststart"}, **options)


def cut(data: bytes, part: float) -> bytes:
    """The first part of a file, as an interrupted copy leaves it."""
    return data[: round(len(data) * part)]


def without(data: bytes, start: float, end: float) -> bytes:
    """A file of which a piece in the middle is missing."""
    return data[: round(len(data) * start)] + data[round(len(data) * end) :]


def noisy(data: bytes, start: float, end: float, seed: int = 0) -> bytes:
    """A file of which a piece is noise."""
    first, last = round(len(data) * start), round(len(data) * end)
    noise = np.random.default_rng(seed).integers(0, 256, last - first, np.uint8).tobytes()
    return data[:first] + noise + data[last:]


def zeroed(data: bytes, start: float, end: float) -> bytes:
    """A file of which a piece was never written, as a crash of the machine leaves it."""
    first, last = round(len(data) * start), round(len(data) * end)
    return data[:first] + bytes(last - first) + data[last:]


def with_box(data: bytes, kind: bytes, offset: int, *values: int, form: str = "I") -> bytes:
    """An MP4 with other numbers in its first box of a kind, `offset` bytes behind the box's name."""
    place = data.index(kind) + 4 + offset
    new = struct.pack(f">{len(values)}{form}", *values)
    return data[:place] + new + data[place + len(new) :]


def no_edits(good: dict[str, bytes]) -> bytes:
    """An MP4 without an edit list, which would hide times that make no sense."""
    return good["front.mp4"].replace(b"edts", b"free")


def damaged_packets(data: bytes, broken: range) -> bytes:
    """An MP4 of which some packets, by their number, are ones."""
    start = data.index(b"mdat") + 4
    sizes = _sizes(data)
    changed = bytearray(data)
    for number in broken:
        first = start + sum(sizes[:number])
        # The length in front of the slice stays, so that the packet is found and then not understood.
        changed[first + 5 : first + sizes[number]] = b"\xff" * (sizes[number] - 5)
    return bytes(changed)


def _sizes(data: bytes) -> list[int]:
    place = data.index(b"stsz") + 4
    _, _, count = struct.unpack_from(">3I", data, place)
    return list(struct.unpack_from(f">{count}I", data, place + 12))


def two_streams(path: Path) -> Path:
    """A small picture first, a large one second: both are videos."""
    with av.open(str(path), "w") as container:
        streams = []
        for size in ((32, 32), (64, 48)):
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            streams.append(stream)
        for number in range(FRAMES):
            for stream in streams:
                image = pictures(FRAMES, stream.width, stream.height)[number]
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def long_sound(path: Path) -> Path:
    """One picture, and a second of sound."""
    return write_video(path, pictures(1, 64, 48), audio=True)


def sound_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        container.mux(stream.encode(silence()))
        container.mux(stream.encode(None))
    return path


def no_packets(path: Path) -> Path:
    """A video stream is announced, and nothing follows."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.open()
        container.start_encoding()
    return path


def y4m(width: int, height: int, frames: int = 1, body: bytes = b"") -> bytes:
    """A raw video whose header says a size."""
    head = f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\n".encode()
    picture = body or bytes([128]) * min(width * height * 3 // 2, 64 * 48 * 2)
    return head + (b"FRAME\n" + picture) * frames


def png_header(width: int, height: int) -> bytes:
    """A PNG that says a size and holds next to nothing."""
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    content = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
    )


def avi_with_size(data: bytes, width: int, height: int) -> bytes:
    """An AVI whose header says another size, in its stream format."""
    place = data.index(b"strf") + 12
    return data[:place] + struct.pack("<2i", width, height) + data[place + 8 :]


def avi_with_count(data: bytes, count: int) -> bytes:
    """An AVI whose header says another number of frames."""
    place = data.index(b"avih") + 8 + 16
    changed = data[:place] + struct.pack("<I", count) + data[place + 4 :]
    place = changed.index(b"strh") + 8 + 32
    return changed[:place] + struct.pack("<I", count) + changed[place + 4 :]


def exr(kind: int, width: int = 64, height: int = 48) -> bytes:
    """An EXR picture in grey with alpha, in floats of 32 bits (kind 2) or 16 bits (kind 1)."""

    def field(name: bytes, form: bytes, value: bytes) -> bytes:
        return name + b"\0" + form + b"\0" + struct.pack("<I", len(value)) + value

    channels = b"".join(
        name + b"\0" + struct.pack("<IB3xII", kind, 0, 1, 1) for name in (b"A", b"Y")
    )
    box = struct.pack("<4i", 0, 0, width - 1, height - 1)
    head = b"\x76\x2f\x31\x01" + struct.pack("<I", 2)
    head += field(b"channels", b"chlist", channels + b"\0")
    head += field(b"compression", b"compression", b"\0")
    head += field(b"dataWindow", b"box2i", box) + field(b"displayWindow", b"box2i", box)
    head += field(b"lineOrder", b"lineOrder", b"\0")
    head += field(b"pixelAspectRatio", b"float", struct.pack("<f", 1))
    head += field(b"screenWindowCenter", b"v2f", struct.pack("<2f", 0, 0))
    head += field(b"screenWindowWidth", b"float", struct.pack("<f", 1)) + b"\0"
    line = struct.pack({1: "<e", 2: "<f"}[kind], 0.5) * width * 2
    start, step = len(head) + 8 * height, 8 + len(line)
    table = b"".join(struct.pack("<Q", start + row * step) for row in range(height))
    rows = (struct.pack("<II", row, len(line)) + line for row in range(height))
    return head + table + b"".join(rows)


def exr_video(path: Path, *kinds: int) -> Path:
    """EXR pictures as frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("exr", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gbrpf32le"
        for number, kind in enumerate(kinds):
            packet = av.Packet(exr(kind))
            packet.stream, packet.pts, packet.dts = stream, number, number
            packet.time_base, packet.is_keyframe = Fraction(1, 25), True
            container.mux(packet)
    return path


def black_png(width: int, height: int) -> bytes:
    """A whole PNG, in two colours so that it is small."""
    import io

    import PIL.Image

    stream = io.BytesIO()
    PIL.Image.new("1", (width, height)).save(stream, "png")
    return stream.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A good PNG."""
    import io

    import PIL.Image

    stream = io.BytesIO()
    PIL.Image.fromarray(pictures(1, width, height)[0]).save(stream, "png")
    return stream.getvalue()


def forget_memory() -> None:
    """Lets the kernel count the peak of this process's memory anew."""
    Path("/proc/self/clear_refs").write_text("5")


def memory() -> int:
    """Bytes of memory that this process used at the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
