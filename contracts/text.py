"""Text on its way out: whatever it holds, it can be encoded, and it fits where there is room for so many bytes."""

from collections.abc import Sequence


def encodable(text: str) -> str:
    """Return `text` with what UTF-8 can't hold (lone surrogates, from file names say) written as `\\udce9`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def first_bytes(text: str, most: int) -> str:
    """Return as much of the beginning of `text` as fits into `most` bytes of UTF-8."""
    return encodable(text).encode()[:most].decode(errors="ignore")


def last_bytes(text: str, most: int) -> str:
    """Return as much of the end of `text` as fits into `most` bytes of UTF-8."""
    return encodable(text).encode()[-most:].decode(errors="ignore")


def few_of(wrong: Sequence[str], most: int = 20) -> str:
    """Return what is wrong as one sentence: the first `most`, and how many more there are."""
    more = [f"and {len(wrong) - most} more"] if len(wrong) > most else []
    return "; ".join([*wrong[:most], *more])
