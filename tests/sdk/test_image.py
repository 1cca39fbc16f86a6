from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from boir_sdk import image, image_header
from boir_sdk.errors import InputError

RNG = np.random.default_rng(11)
BGR = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
SMOOTH = cv2.resize(RNG.integers(0, 256, (3, 4, 3), dtype=np.uint8), (32, 24), interpolation=cv2.INTER_LINEAR)
DEEP = RNG.integers(0, 65536, (24, 32, 3), dtype=np.uint16)


def encoded(array: np.ndarray, suffix: str) -> bytes:
    ok, data = cv2.imencode(suffix, array)
    assert ok
    return data.tobytes()


def pillow_bytes(picture: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def eight_bits(array: np.ndarray) -> np.ndarray:
    return np.round(array.astype(np.float64) / 257).astype(np.uint8)


# arrays


def test_contiguous_bgr_is_given_back_itself() -> None:
    assert image.read(BGR) is BGR or np.shares_memory(image.read(BGR), BGR)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        pytest.param(BGR[..., 0], np.repeat(BGR[..., :1], 3, axis=2), id="gray"),
        pytest.param(BGR[..., :1], np.repeat(BGR[..., :1], 3, axis=2), id="gray with an axis"),
        pytest.param(np.dstack([BGR, BGR[..., 0]]), BGR, id="bgra"),
        pytest.param(DEEP, eight_bits(DEEP), id="uint16"),
        pytest.param(DEEP[..., 0], np.repeat(eight_bits(DEEP[..., :1]), 3, axis=2), id="uint16 gray"),
        pytest.param(DEEP.astype(">u2"), eight_bits(DEEP), id="big-endian uint16"),
        pytest.param(BGR[::-1, ::-1], BGR[::-1, ::-1].copy(), id="negative strides"),
        pytest.param(BGR[..., ::-1], BGR[..., ::-1].copy(), id="reversed channels"),
        pytest.param(BGR[::2, ::3], BGR[::2, ::3].copy(), id="every other pixel"),
        pytest.param(np.asfortranarray(BGR), BGR, id="Fortran order"),
        pytest.param(BGR[:1, :1], BGR[:1, :1].copy(), id="1 x 1"),
        pytest.param(np.zeros((1, 20000, 3), np.uint8), np.zeros((1, 20000, 3), np.uint8), id="1 x 20000"),
    ],
)
def test_arrays(array: np.ndarray, expected: np.ndarray) -> None:
    before = array.copy()
    locked = array.view()
    locked.flags.writeable = False
    got = image.read(locked)
    assert got.dtype == np.uint8 and got.flags.c_contiguous and (got == expected).all() and got.shape == expected.shape
    assert (array == before).all()


def test_every_uint16_value_is_rounded_to_nearest() -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert (image.read(ramp)[..., 0] == eight_bits(ramp)).all()


@pytest.mark.parametrize(
    ("array", "says"),
    [
        pytest.param(np.zeros((4, 5, 3), np.float32), "float32", id="float"),
        pytest.param(np.full((4, 5, 3), np.nan), "float64", id="NaN"),
        pytest.param(np.zeros((4, 5), bool), "bool", id="bool"),
        pytest.param(np.zeros((4, 5, 3), np.int16), "int16", id="int16"),
        pytest.param(np.zeros((4, 5, 3), np.uint32), "uint32", id="uint32"),
        pytest.param(np.zeros((4, 5, 3), object), "object", id="object"),
        pytest.param(np.zeros((0, 5, 3), np.uint8), "0 x 5 x 3", id="no rows"),
        pytest.param(np.zeros((5, 0), np.uint8), "5 x 0", id="no columns"),
        pytest.param(np.zeros((4, 5, 2), np.uint8), "4 x 5 x 2", id="two channels"),
        pytest.param(np.zeros((3, 40, 50), np.uint8), "3 x 40 x 50", id="channels first"),
        pytest.param(np.zeros((1, 4, 5, 3), np.uint8), "1 x 4 x 5 x 3", id="a batch"),
        pytest.param(np.zeros(5, np.uint8), "got 5", id="a row"),
        pytest.param(np.zeros((), np.uint8), "single number", id="a number"),
        pytest.param(np.broadcast_to(np.uint8(0), (20000, 20000, 3)), "20000 x 20000", id="400 megapixels"),
    ],
)
def test_impossible_arrays(array: np.ndarray, says: str) -> None:
    with pytest.raises(InputError, match=r"expected|limit") as caught:
        image.read(array)
    assert says in str(caught.value)


@settings(max_examples=300)
@given(
    hnp.arrays(
        hnp.unsigned_integer_dtypes() | hnp.integer_dtypes() | hnp.floating_dtypes() | hnp.boolean_dtypes(),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
def test_any_array_is_a_picture_or_an_input_error(array: np.ndarray) -> None:
    before = array.copy()
    try:
        got = image.read(array)
    except InputError as error:
        assert "expected" in str(error) and "got" in str(error)
    else:
        assert got.shape == (*array.shape[:2], 3) and got.dtype == np.uint8 and got.flags.c_contiguous
    assert np.array_equal(array, before, equal_nan=array.dtype.kind == "f")


@pytest.mark.parametrize("thing", [None, 3, [[1, 2]], {"a": 1}, (1, 2), object()])
def test_other_things_are_refused_by_name(thing: object) -> None:
    with pytest.raises(InputError, match=type(thing).__name__):
        image.read(thing)


# encoded pictures


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_encoded_bytes_of_any_kind(kind: type) -> None:
    assert (image.read(kind(encoded(BGR, ".png"))) == BGR).all()


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        pytest.param(BGR, BGR, id="colour"),
        pytest.param(BGR[..., 0], np.repeat(BGR[..., :1], 3, axis=2), id="gray"),
        pytest.param(np.dstack([BGR, BGR[..., 0]]), BGR, id="alpha dropped"),
        pytest.param(DEEP, eight_bits(DEEP), id="16 bit"),
        pytest.param(DEEP[..., 0], np.repeat(eight_bits(DEEP[..., :1]), 3, axis=2), id="16 bit gray"),
        pytest.param(np.dstack([DEEP, DEEP[..., 0]]), eight_bits(DEEP), id="16 bit alpha dropped"),
    ],
)
def test_png_follows_the_rules_of_arrays(array: np.ndarray, expected: np.ndarray) -> None:
    got = image.read(encoded(array, ".png"))
    assert (got == expected).all() and got.dtype == np.uint8 and got.flags.c_contiguous


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".tiff", ".png"])
def test_files_by_str_and_path(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ünïcode picture{suffix}"
    path.write_bytes(encoded(SMOOTH, suffix))
    for given_path in (path, str(path)):
        got = image.read(given_path)
        assert got.shape == SMOOTH.shape
        assert np.abs(got.astype(int) - SMOOTH).mean() < 12


def shown(array: np.ndarray, orientation: int) -> np.ndarray:
    """What a viewer shows of stored pixels, from Pillow's own transposes."""
    how = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    picture = Image.fromarray(np.ascontiguousarray(array[..., ::-1]))
    return np.asarray(picture if how is None else picture.transpose(how))[..., ::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_exif_orientation(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = pillow_bytes(Image.fromarray(SMOOTH[..., ::-1].copy()), form, exif=exif)
    stored = image.read(data, exif=False)
    assert stored.shape == (24, 32, 3)
    assert (image.read(data) == shown(stored, orientation)).all()
    with Image.open(io.BytesIO(data)) as picture:
        assert image.read(picture).shape == shown(stored, orientation).shape
        difference = np.abs(image.read(picture).astype(int) - shown(stored, orientation))
        assert difference.max() <= 4  # another JPEG decoder
        assert image.read(picture, exif=False).shape == (24, 32, 3)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda folder: folder / "none.jpg", "doesn't exist", id="missing"),
        pytest.param(lambda folder: folder, "is a folder", id="folder"),
        pytest.param(lambda folder: folder / "empty.jpg", "is empty", id="empty"),
        pytest.param(lambda folder: folder / "text.jpg", "isn't a picture", id="text"),
        pytest.param(lambda folder: folder / "cut.jpg", "damaged", id="truncated JPEG"),
        pytest.param(lambda folder: folder / "cut.png", "damaged", id="truncated PNG"),
        pytest.param(lambda folder: folder / "cut.webp", "damaged", id="truncated WebP"),
        pytest.param(lambda folder: folder / ("x" * 400), "can't be read|doesn't exist", id="name too long"),
        pytest.param(lambda folder: str(folder / "a\0b"), "can't be read|doesn't exist", id="NUL in the name"),
        pytest.param(lambda folder: "/dev/zero", "device or pipe", id="device"),
    ],
)
def test_unreadable_files_are_named(tmp_path: Path, make: object, says: str) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a picture" * 50)
    for suffix in ("jpg", "png", "webp"):
        data = encoded(BGR, f".{suffix}")
        (tmp_path / f"cut.{suffix}").write_bytes(data[: len(data) * 2 // 3])
    path = make(tmp_path)
    with pytest.raises(InputError, match=says) as caught:
        image.read(path)
    assert repr(str(path))[:250] in str(caught.value) or "/dev/zero" in str(caught.value)


def test_a_url_is_refused_and_its_password_not_repeated() -> None:
    with pytest.raises(InputError, match="URL") as caught:
        image.read("rtsp://admin:hunter2@camera/1")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".gif", ".tiff"])
@pytest.mark.parametrize(("h", "w"), [(24, 32), (1, 7), (300, 5)])
def test_header_sizes_agree_with_the_decoder(suffix: str, h: int, w: int) -> None:
    data = encoded(cv2.resize(SMOOTH, (w, h)), suffix)
    assert image_header.size(data) == (w, h)
    assert not image_header.is_cut(data)


@pytest.mark.parametrize("options", [{"lossless": True}, {"exact": True, "exif": b"Exif\0\0"}])
def test_header_sizes_of_other_webp_forms(options: dict) -> None:
    assert image_header.size(pillow_bytes(Image.new("RGBA", (33, 21), (1, 2, 3, 4)), "WEBP", **options)) == (33, 21)


def test_header_sizes_of_progressive_jpeg_with_metadata() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description " * 100
    data = pillow_bytes(Image.new("RGB", (45, 31)), "JPEG", progressive=True, exif=exif, comment=b"\xff\xd9 no end")
    assert image_header.size(data) == (45, 31) and not image_header.is_cut(data)


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises a huge picture; the few bytes of data don't matter."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("the decoder was called")

    monkeypatch.setattr(cv2, "imdecode", decode)
    with pytest.raises(InputError, match="60000 x 60000 pixels are more than the limit of 100000000"):
        image.read(bomb(60000, 60000))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm"])
def test_the_limit_holds_for_every_format(suffix: str) -> None:
    data = encoded(SMOOTH, suffix)
    assert image.read(data, max_pixels=24 * 32).shape == (24, 32, 3)
    with pytest.raises(InputError, match="32 x 24 pixels are more than the limit of 767"):
        image.read(data, max_pixels=24 * 32 - 1)


def test_the_limit_holds_for_pillow_and_for_files_too_large_to_be_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="limit of 767"):
        image.read(Image.new("RGB", (32, 24)), max_pixels=767)
    video = tmp_path / "video.mp4"
    with video.open("wb") as file:
        file.truncate(200 << 20)  # sparse
    with pytest.raises(InputError, match="is it a video"):
        image.read(video, max_pixels=1_000_000)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), suffix=st.sampled_from([".jpg", ".png", ".webp"]))
def test_damaged_bytes_are_a_picture_or_an_input_error(data: st.DataObject, suffix: str) -> None:
    good = bytearray(encoded(SMOOTH, suffix))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.integers(0, len(good)))
    for damaged in (bytes(good), bytes(good[:cut])):
        try:
            got = image.read(damaged)
        except InputError:
            continue
        assert got.ndim == 3 and got.dtype == np.uint8


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBPVP8 ", b"BM", b"II*\0"]),
)
def test_header_of_anything_never_fails(tail: bytes, head: bytes) -> None:
    size = image_header.size(head + tail)
    assert size is None or (len(size) == 2 and min(size) >= 0)
    assert image_header.is_cut(head + tail) in (True, False)


# Pillow


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_pillow_colour_modes(mode: str) -> None:
    picture = Image.fromarray(SMOOTH[..., ::-1].copy()).convert(mode)
    expected = np.asarray(picture.convert("RGB"))[..., ::-1]
    got = image.read(picture)
    assert (got == expected).all() and got.flags.c_contiguous
    assert np.abs(got.astype(int) - SMOOTH).mean() < 40  # the colours, and in BGR order


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_pillow_gray_modes(mode: str) -> None:
    picture = Image.fromarray(SMOOTH[..., ::-1].copy()).convert(mode)
    got = image.read(picture)
    assert (got == np.asarray(picture.convert("L"))[..., None]).all()


def test_pillow_16_bit_pictures_follow_the_rule_of_uint16() -> None:
    gray = DEEP[..., 0]
    with Image.open(io.BytesIO(encoded(gray, ".png"))) as picture:
        assert picture.mode.startswith("I")
        assert (image.read(picture)[..., 1] == eight_bits(gray)).all()
    assert (image.read(Image.fromarray(gray.astype(np.int32)))[..., 1] == eight_bits(gray)).all()


@pytest.mark.parametrize(
    "picture", [Image.new("F", (3, 2)), Image.fromarray(np.full((2, 3), 70000, np.int32)), Image.new("RGB", (0, 4))]
)
def test_pillow_pictures_without_a_known_range_or_pixels(picture: Image.Image) -> None:
    with pytest.raises(InputError, match="Pillow picture of mode"):
        image.read(picture)


def test_a_truncated_lazy_pillow_picture() -> None:
    data = pillow_bytes(Image.fromarray(BGR), "PNG")
    with Image.open(io.BytesIO(data[: len(data) // 2])) as picture, pytest.raises(InputError, match="can't be read"):
        image.read(picture)


def test_pillow_is_not_imported() -> None:
    code = (
        "import sys, numpy; from boir_sdk import image; image.read(numpy.zeros((2, 2), 'u1')); "
        "assert 'PIL' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
