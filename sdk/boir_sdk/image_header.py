"""Width and height of an encoded picture from its first bytes, and whether its end is there.

A decoder allocates what the header asks for, so the header is read first, and what has none that is known here isn't
decoded at all. Layouts: JPEG (ITU-T T.81 annex B), PNG (third edition, clause 5), WebP container (RFC 9649), BMP,
GIF 89a, TIFF 6.0, JPEG 2000 (ITU-T T.800 annex A.5.1), AVIF (HEIF, ISO/IEC 23008-12, 6.5.3), Netpbm and Sun raster.
"""

from __future__ import annotations

import re
import struct

_PNG = b"\x89PNG\r\n\x1a\n"
# Start-of-frame markers; C4, C8 and CC in their range are tables, not frames.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset(range(0xD0, 0xD9)) | {0x01}
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
_TIFF_LAYOUTS = {1: "B", 3: "H", 4: "I"}  # BYTE, SHORT, LONG
_JP2, _JP2_SIZE = b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"
_NETPBM = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})\s")
_PAM = re.compile(rb"P7\s(?:.*\n)*?ENDHDR")
_START = 4096  # Netpbm's header is text; it ends within so many bytes or isn't read


def size(data: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels as the header says, or None for other formats and damaged headers.

    Args:
        data: the encoded picture, from its first byte.
    """
    try:
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)[0]
        if data.startswith(_PNG):
            return _pair(">II", data, 16)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith(b"BM"):
            return _bmp(data)
        if data.startswith((b"GIF87a", b"GIF89a")):
            return _pair("<HH", data, 6)
        if data.startswith((b"II*\x00", b"MM\x00*")):
            return _tiff(data)
        if data.startswith((_JP2, _JP2_SIZE)):
            return _jpeg2000(data)
        if data[4:8] == b"ftyp":
            return _avif(data)
        if data.startswith(b"P"):
            return _netpbm(data[:_START])
        if data.startswith(b"\x59\xa6\x6a\x95"):  # Sun raster
            return _pair(">II", data, 4)
    except (struct.error, IndexError):
        return None
    return None


def is_cut(data: bytes) -> bool:
    """Tell whether a JPEG, PNG or WebP ends before its own end mark; False for everything else.

    Some OpenCV versions decode what is there and fill the rest with grey.
    """
    try:
        if data.startswith(b"\xff\xd8"):
            scan = _jpeg(data)[1]
            return scan is None or data.find(bytes((0xFF, _JPEG_END)), scan) < 0
        if data.startswith(_PNG):
            return _png_is_cut(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return int(struct.unpack_from("<I", data, 4)[0]) + 8 > len(data)
    except (struct.error, IndexError):
        return True
    return False


def _pair(layout: str, data: bytes, at: int) -> tuple[int, int]:
    first, second = struct.unpack_from(layout, data, at)
    return int(first), int(second)


def _jpeg(data: bytes) -> tuple[tuple[int, int] | None, int | None]:
    """Walk to the first scan; return the frame's width and height and the scan's start, None where missing."""
    at, found = 2, None
    while at + 1 < len(data):
        if data[at] != 0xFF:
            return found, None
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _JPEG_BARE:
            at += 2
        elif marker == _JPEG_SCAN:
            return found, at
        elif marker == _JPEG_END:
            return found, None
        else:
            if marker in _JPEG_FRAMES and found is None:
                height, width = _pair(">HH", data, at + 5)
                found = (width, height)
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return found, None


def _png_is_cut(data: bytes) -> bool:
    at = len(_PNG)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        at += 12 + length
        if name == b"IEND":
            return bool(at > len(data))
    return True


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":  # canvas, each side minus one in 24 bits
        return (
            1 + int.from_bytes(data[24:27], "little"),
            1 + int.from_bytes(data[27:30], "little"),
        )
    if kind == b"VP8 ":
        width, height = _pair("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    return None


def _bmp(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # the oldest header has 16-bit sides
        return _pair("<HH", data, 18)
    width, height = _pair("<ii", data, 18)
    return abs(width), abs(height)  # a negative height means top-down rows


def _tiff(data: bytes) -> tuple[int, int] | None:
    """Read ImageWidth and ImageLength of the first directory."""
    order = "<" if data[:2] == b"II" else ">"
    directory = struct.unpack_from(order + "I", data, 4)[0]
    sides: dict[int, int] = {}
    for entry in range(struct.unpack_from(order + "H", data, directory)[0]):
        at = directory + 2 + 12 * entry
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if tag in (256, 257) and tag not in sides:  # a tag that comes again doesn't count
            if kind not in _TIFF_LAYOUTS:
                return None
            sides[tag] = struct.unpack_from(order + _TIFF_LAYOUTS[kind], data, at + 8)[0]
    return (sides[256], sides[257]) if len(sides) == 2 else None


def _jpeg2000(data: bytes) -> tuple[int, int] | None:
    """Read the reference grid of the SIZ segment, which is what gets decoded; boxes before it may say otherwise."""
    at = data.find(_JP2_SIZE)
    if at < 0:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", data, at + 8)
    return max(0, right - left), max(0, bottom - top)


def _avif(data: bytes) -> tuple[int, int] | None:
    """Return the largest picture that any `ispe` box speaks of: the whole, a tile or a thumbnail."""
    found, at = None, data.find(b"ispe")
    while at >= 0:
        width, height = _pair(">II", data, at + 8)
        if found is None or width * height > found[0] * found[1]:
            found = (width, height)
        at = data.find(b"ispe", at + 4)
    return found


def _netpbm(start: bytes) -> tuple[int, int] | None:
    if head := _NETPBM.match(start):
        return int(head[1]), int(head[2])
    if head := _PAM.match(start):
        sides = {
            key: re.findall(rb"^" + key + rb"\s+(\d{1,9})\s*$", head[0], re.MULTILINE) for key in (b"WIDTH", b"HEIGHT")
        }
        if all(len(values) == 1 for values in sides.values()):
            return int(sides[b"WIDTH"][0]), int(sides[b"HEIGHT"][0])
    return None
