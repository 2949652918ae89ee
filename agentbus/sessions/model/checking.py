"""Bad input: values that can't be, said in an error of our own."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from contracts.errors import SchemaViolation


@contextmanager
def checking(what: str) -> Iterator[None]:
    """Raise SchemaViolation, beginning with `what` and saying where and why, for a value that can't be."""
    try:
        yield
    except ValidationError as error:
        raise SchemaViolation(f"{what}: {reasons(error)}") from error
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise SchemaViolation(f"{what}: {error}") from error


def reasons(error: ValidationError) -> str:
    """Return in one line where values are wrong, and why."""
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}".removeprefix(": ") for one in error.errors())
