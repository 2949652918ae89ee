"""Text on its way out: whatever it holds, it can be encoded, and it fits where there is room for so many bytes."""


def encodable(text: str) -> str:
    """Return `text` with what UTF-8 can't hold (lone surrogates, from file names say) written as `\\udce9`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def first_bytes(text: str, most: int) -> str:
    """Return as much of the beginning of `text` as fits into `most` bytes of UTF-8."""
    return encodable(text).encode()[:most].decode(errors="ignore")


def last_bytes(text: str, most: int) -> str:
    """Return as much of the end of `text` as fits into `most` bytes of UTF-8."""
    return encodable(text).encode()[-most:].decode(errors="ignore")
