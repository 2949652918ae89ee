"""What a file is, by its first bytes: what is said of it, by whoever sent it, proves nothing.

Source: the signatures of the WHATWG's MIME Sniffing Standard (https://mimesniff.spec.whatwg.org, sections 6 and 7), and
of ISO 14496-12 (brands of `ftyp`) and RFC 4867 (AMR) for what phones send.
"""

from typing import Final

SNIFFED: Final = 512
"""Bytes that are looked at."""

_BEGINS: Final = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"OggS\x00", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"\xff\xf1", "audio/aac"),
    (b"#!AMR", "audio/amr"),
    (b"fLaC", "audio/flac"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b\x08", "application/gzip"),
)
_RIFF: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/avi"}
_BRANDS: Final = (
    ((b"heic", b"heix", b"mif1", b"heif"), "image/heic"),
    ((b"avif", b"avis"), "image/avif"),
    ((b"M4A ", b"M4B "), "audio/mp4"),
    ((b"qt  ",), "video/quicktime"),
)
_MARKUP: Final = ((b"<!doctype html", "text/html"), (b"<html", "text/html"), (b"<script", "text/html"))
_CONTROLS: Final = frozenset(range(32)) - {9, 10, 12, 13, 27}

UNKNOWN: Final = "application/octet-stream"


def type_of(head: bytes) -> str:
    """Return the media type of what begins so; `application/octet-stream` for what is not known."""
    head = head[:SNIFFED]
    for begin, name in _BEGINS:
        if head.startswith(begin):
            return name
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12], UNKNOWN)
    if head[4:8] == b"ftyp":
        return next((name for brands, name in _BRANDS if head[8:12] in brands), "video/mp4")
    return _written(head)


def _written(head: bytes) -> str:
    """Return which kind of text something is, if it is one."""
    begins = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for begin, name in _MARKUP:
        if begins.startswith(begin):
            return name
    if begins.startswith((b"<svg", b"<?xml")):
        return "image/svg+xml" if b"<svg" in begins else "application/xml"
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or error.reason != "unexpected end of data":
            return UNKNOWN
    return "text/plain" if head and not _CONTROLS.intersection(head) else UNKNOWN
