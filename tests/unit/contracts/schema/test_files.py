"""The published schemas are up to date, and compatible with the committed ones."""

import json
import re
import subprocess
import sys
from importlib import resources

import pytest
from jsonschema import (  # type: ignore[import-untyped]  # it ships no types
    Draft202012Validator,
)

from agentbus.contracts.schema import DOCUMENTS, Document, breaks, files, render
from tests.harness.patience import PATIENCE

_COMMITTED = resources.files("agentbus.contracts.schema") / "v1"

_PRINTED = "import json; from agentbus.contracts.schema import files; print(json.dumps(files()))"


def _committed() -> dict[str, str]:
    return {entry.name: entry.read_text("utf-8") for entry in _COMMITTED.iterdir() if entry.name.endswith(".json")}


# Committed files


def test_the_committed_files_are_up_to_date() -> None:
    committed = _committed()
    assert committed.keys() == files().keys()
    stale = [name for name, text in files().items() if committed[name] != text]
    assert not stale, f"{stale} are stale; run: agentbus contracts export contracts/schema/v1"


@pytest.mark.parametrize("first", ["CommandReply", "SessionState", "Commit", "HistoryMessage", "ParkedInput"])
def test_they_are_the_same_whatever_was_built_before(first: str) -> None:
    """What a program has used by then is built: each model by itself, with what it needs of the others in it."""
    (module,) = {document.model.__module__ for document in DOCUMENTS if document.model.__name__ == first}
    text = f"from {module} import {first} as first; first.model_rebuild(); {_PRINTED}"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert json.loads(done.stdout) == files()


def test_the_contracts_are_compatible_with_the_committed_files() -> None:
    assert breaks(_committed()) == {}


def test_a_breaking_change_is_found_by_file() -> None:
    committed = _committed()
    schema = json.loads(committed["input.json"])
    schema["properties"]["priority"] = {"type": "integer"}
    schema["$defs"]["Address"]["properties"]["city"] = {"type": "string"}
    found = breaks(committed | {"input.json": json.dumps(schema)})
    assert found.keys() == {"input.json"}
    assert all(line.endswith(".city: was removed") for line in found["input.json"])


def test_a_document_that_was_not_published_before_breaks_nobody() -> None:
    assert breaks({}) == {}


def test_rendering_does_not_depend_on_the_order_of_keys() -> None:
    assert render({"b": 1, "a": {"d": 1, "c": "é"}}) == render({"a": {"c": "é", "d": 1}, "b": 1})
    assert render({"a": 1}).endswith("}\n")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_each_schema_is_valid_and_says_what_it_is(document: Document) -> None:
    schema = document.schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:agentbus:v1:{document.name}"
    assert schema["title"]
    assert schema["description"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_no_schema_uses_a_web_address_of_ours(document: Document) -> None:
    addresses = re.findall(r"https?://[^\"]+", render(document.schema()))
    assert addresses == ["https://json-schema.org/draft/2020-12/schema"]
