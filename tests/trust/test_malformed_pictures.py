"""Pictures of every wrong kind: a picture or an `InputError` that says what was expected; never a changed input.

tests/sdk/test_image.py has the rules and most single cases; here is what is left of the reliability table: whole
estimators, decoders that would allocate, and headers that disagree with what gets decoded.
"""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
import zlib
from contextlib import suppress

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from boir_sdk import PoseEstimator, image, image_header
from boir_sdk.errors import InputError
from tests.conftest import ROOT

SMOOTH = cv2.resize(np.random.default_rng(1).integers(0, 256, (3, 4, 3), dtype=np.uint8), (33, 21))


@pytest.fixture(scope="module")
def estimator():
    with PoseEstimator(size=256, threads=1) as made:
        yield made


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((1, 1, 3), np.uint8),
        SMOOTH[::-1, ::-1],
        np.asfortranarray(SMOOTH),
        SMOOTH[::2, ::3],
        (SMOOTH.astype(np.uint16) * 257).astype(">u2"),
        np.zeros((4, 5, 3), np.float32),
        np.full((4, 5, 3), np.nan),
        np.full((4, 5, 3), np.inf),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((4, 5, 2), np.uint8),
        np.zeros((2, 4, 5, 3), np.uint8),
        np.broadcast_to(np.uint8(0), (20000, 20000, 3)),
        np.broadcast_to(np.uint8(0), (1, 20000, 3)),
    ],
    ids=lambda array: f"{array.dtype}-{'x'.join(map(str, array.shape))}",
)
def test_an_estimator_takes_or_refuses_any_array_and_never_changes_it(array, estimator):
    before = array[:50, :50].copy()
    try:
        poses = estimator(array)
    except InputError as error:
        assert "expected" in str(error) or "limit" in str(error) or "elongated" in str(error), str(error)
    else:
        assert np.isfinite(poses.keypoints).all() and poses.keypoints.shape[1:] == (17, 2)
    assert np.array_equal(array[:50, :50], before, equal_nan=array.dtype.kind == "f")


@settings(max_examples=2000, derandomize=True)
@pytest.mark.filterwarnings("ignore:the matrix subclass")
@given(
    hnp.arrays(
        st.sampled_from(["u1", "u1", "u1", ">u2", "<u2", "i4", "f4", "f8", "?", "O", "S2", "c8", "M8[s]"]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
        fill=st.nothing(),
    ),
    st.sampled_from(["as it is", "reversed", "Fortran", "strided", "read-only", "matrix"]),
)
def test_any_array_in_any_layout(array, layout):
    if layout == "reversed" and array.ndim:
        array = array[::-1]
    elif layout == "Fortran":
        array = np.asfortranarray(array)
    elif layout == "strided" and array.ndim > 1:
        array = array[::2, ::2]
    elif layout == "read-only":
        array.flags.writeable = False
    elif layout == "matrix" and array.ndim == 2:
        array = np.matrix(array)
    before = array.tobytes()
    try:
        got = image.read(array)
    except InputError as error:
        assert "expected" in str(error)
    else:
        assert got.shape == (*array.shape[:2], 3) and got.dtype == np.uint8 and type(got) is np.ndarray
    assert array.tobytes() == before


def test_damage_of_any_format_is_a_picture_or_an_input_error():
    """The rarer formats, whose headers are as easily damaged; the campaign `pictures` has 5000 more."""
    rng = np.random.default_rng(3)
    for form in ("BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000"):
        out = io.BytesIO()
        try:
            Image.fromarray(SMOOTH).save(out, form)
        except (OSError, KeyError):
            continue  # this Pillow can't
        good = out.getvalue()
        for _ in range(60):
            bad = bytearray(good)
            bad[rng.integers(len(bad)) if rng.random() < 0.5 else rng.integers(min(60, len(bad)))] ^= 1 << rng.integers(
                8
            )
            for data in (bytes(bad), bytes(bad[: rng.integers(len(bad))])):
                with suppress(InputError):
                    assert image.read(data).dtype == np.uint8


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


def tiff(*tags: tuple[int, int, int]) -> bytes:
    """A little-endian directory of (tag, kind, value)."""
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


LARGE = 40000
BOMBS = {
    "PNG": b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", LARGE, LARGE, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(bytes(100)))
    + chunk(b"IEND", b""),
    "JPEG": b"\xff\xd8\xff\xc0\x00\x11\x08"
    + struct.pack(">HH", LARGE, LARGE)
    + b"\x03\x01\x11\0\x02\x11\0\x03\x11\0\xff\xda\xff\xd9",
    "WebP": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (LARGE - 1).to_bytes(3, "little") * 2,
    "GIF": b"GIF89a" + struct.pack("<HH", LARGE, LARGE) + bytes(20),
    "BMP": b"BM" + bytes(12) + struct.pack("<Iii", 40, LARGE, -LARGE) + bytes(40),
    "TIFF": tiff((256, 4, LARGE), (257, 4, LARGE)),
    "TIFF whose sides come twice": tiff((256, 4, LARGE), (257, 4, LARGE), (256, 4, 8), (257, 4, 8)),
    "PPM": b"P6\n# a comment\n40000\n40000\n255\n" + bytes(100),
    "PAM": b"P7\nWIDTH 40000\nHEIGHT 40000\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + bytes(100),
    "Sun raster": struct.pack(">8I", 0x59A66A95, LARGE, LARGE, 24, 0, 1, 0, 0) + bytes(100),
    "JPEG 2000": b"\xff\x4f\xff\x51\x00\x2f\0\0" + struct.pack(">4I", LARGE, LARGE, 0, 0) + bytes(40),
    "JPEG 2000 whose box says less": b"\0\0\0\x0cjP  \r\n\x87\n"
    + box(b"jp2h", box(b"ihdr", struct.pack(">II", 8, 8) + bytes(6)))
    + box(b"jp2c", b"\xff\x4f\xff\x51\x00\x2f\0\0" + struct.pack(">4I", LARGE, LARGE, 0, 0) + bytes(40)),
    "AVIF": box(b"ftyp", b"avif" + bytes(8))
    + box(b"ispe", bytes(4) + struct.pack(">II", 8, 8))
    + box(b"ispe", bytes(4) + struct.pack(">II", LARGE, LARGE)),
}
UNKNOWN = {
    "OpenEXR": b"\x76\x2f\x31\x01" + bytes(100),
    "Radiance": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 40000 +X 40000\n" + bytes(100),
    "PFM": b"PF\n40000 40000\n-1.0\n" + bytes(100),
    "BigTIFF": b"II+\0\x08\0\0\0" + bytes(100),
    "TIFF with sides of 8 bytes": tiff((256, 16, 8), (257, 16, 8)),
    "PAM with two widths": b"P7\nWIDTH 8\nWIDTH 40000\nHEIGHT 8\nDEPTH 3\nMAXVAL 255\nENDHDR\n" + bytes(100),
    "AVIF without a size": box(b"ftyp", b"avif" + bytes(8)) + bytes(100),
    "text": b"not a picture",
}


@pytest.mark.parametrize("kind", [*BOMBS, *UNKNOWN])
def test_nothing_is_decoded_before_its_size_is_known_and_allowed(kind, monkeypatch):
    def decode(*_: object) -> None:
        raise AssertionError("the decoder was called")

    monkeypatch.setattr(cv2, "imdecode", decode)
    says = "40000 x 40000 pixels are more than the limit" if kind in BOMBS else "isn't a picture that can be decoded"
    with pytest.raises(InputError, match=says):
        image.read({**BOMBS, **UNKNOWN}[kind])


@pytest.mark.parametrize("form", ["AVIF", "JPEG2000", "PPM", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("side", [(33, 21), (1, 7), (150, 40)])
def test_header_sizes_of_the_rarer_formats_agree_with_the_decoder(form, side):
    out = io.BytesIO()
    try:
        Image.fromarray(cv2.resize(SMOOTH, side)).save(out, form)
    except (OSError, KeyError):
        pytest.skip(f"this Pillow doesn't write {form}")
    assert image_header.size(out.getvalue()) == side
    try:
        assert image.read(out.getvalue()).shape == (*side[::-1], 3)
    except InputError as error:
        assert "wasn't built for" in str(error)


@pytest.mark.parametrize("name", [".pgm", ".pbm", ".pam", ".ras"])
def test_header_sizes_of_what_opencv_writes(name):
    array = SMOOTH if name in (".pam", ".ras") else SMOOTH[..., 0]
    try:
        ok, data = cv2.imencode(name, array)
    except cv2.error:
        ok = False
    if not ok:
        pytest.skip(f"this OpenCV doesn't write {name}")
    assert image_header.size(bytes(data)) == (33, 21)


MEMORY = """
import resource, sys
from boir_sdk import image
from boir_sdk.errors import InputError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        image.read(path)
    except InputError:
        continue
    raise SystemExit(f"{path} was accepted")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_bombs_take_no_memory(tmp_path):
    paths = []
    for number, data in enumerate([*BOMBS.values(), *UNKNOWN.values()]):
        paths.append(tmp_path / f"{number}")
        paths[-1].write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *map(str, paths)],
        env={"PYTHONPATH": str(ROOT / "sdk"), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) < 64


def test_a_pillow_picture_that_breaks_while_it_loads_is_an_input_error():
    """Pillow raises struct.error, IndexError and others for damaged files; each is about the picture."""
    out, rng, refused = io.BytesIO(), np.random.default_rng(5), 0
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(SMOOTH).save(out, "PNG", exif=exif)
    good = out.getvalue()
    for _ in range(300):
        bad = bytearray(good)
        for _ in range(3):
            bad[rng.integers(8, len(bad))] = rng.integers(256)
        try:
            picture = Image.open(io.BytesIO(bytes(bad)))
        except Exception:  # noqa: BLE001, S112 - the caller's own
            continue
        try:
            image.read(picture)
        except InputError:
            refused += 1
    assert refused > 20
