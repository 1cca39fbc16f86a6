"""Width and height of an encoded picture from its first bytes, and whether its end is there.

A decoder allocates what the header asks for, so the header is read first. Layouts: JPEG (ITU-T T.81 annex B), PNG
(third edition, clause 5), WebP container (RFC 9649), BMP, GIF 89a, TIFF 6.0.
"""

from __future__ import annotations

import struct

_PNG = b"\x89PNG\r\n\x1a\n"
# Start-of-frame markers; C4, C8 and CC in their range are tables, not frames.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset(range(0xD0, 0xD9)) | {0x01}
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9


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
        if tag in (256, 257):
            sides[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 8)[0]
    return (sides[256], sides[257]) if len(sides) == 2 else None
