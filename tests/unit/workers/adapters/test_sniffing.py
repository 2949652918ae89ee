"""What a file is, by its first bytes."""

import pytest

from agentbus.workers.adapters.sniffing import SNIFFED, UNKNOWN, type_of


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n\x00", "image/png"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x00\x00\x00\x00nope", UNKNOWN),
        (b"\x00\x00\x00\x18ftypisom", "video/mp4"),
        (b"\x00\x00\x00\x18ftypM4A ", "audio/mp4"),
        (b"OggS\x00", "audio/ogg"),
        (b"#!AMR\n", "audio/amr"),
        (b"%PDF-1.7", "application/pdf"),
        (b"PK\x03\x04", "application/zip"),
        (b"\xef\xbb\xbf  <!DOCTYPE HTML>", "text/html"),
        (b"<script>", "text/html"),
        (b'<?xml version="1.0"?><svg>', "image/svg+xml"),
        (b"<?xml?><a>", "application/xml"),
        (b"hello", "text/plain"),
        (("é" * SNIFFED).encode() + b"\xff", "text/plain"),
        (b"x" * (SNIFFED - 1) + "é".encode(), "text/plain"),
        (b"caf\xe9 is latin", UNKNOWN),
        (b"a\x00b", UNKNOWN),
        (b"", UNKNOWN),
    ],
)
def test_it_is_known_by_its_beginning(head: bytes, expected: str) -> None:
    assert type_of(head) == expected
