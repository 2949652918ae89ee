"""Documents that somebody wrote: JSON and TOML, read with one kind of error, whatever is wrong with them."""

import json
import tomllib
from typing import Any, Final

_DEEP: Final = "it is nested too deep to be read"


def json_in(text: str | bytes) -> Any:
    """Return what a JSON document says. Raises ValueError for anything else: also where `json` ends by recursion."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(_DEEP) from None


def toml_in(text: str) -> dict[str, Any]:
    """Return what a TOML document says. Raises ValueError for anything else: also where `tomllib` ends by recursion."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError(_DEEP) from None
