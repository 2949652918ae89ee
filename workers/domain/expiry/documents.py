"""Rules as people write them down: documents in JSON or TOML."""

from collections import Counter
from typing import Any, Literal

from pydantic import ValidationError

from agentbus.contracts.documents import json_in, toml_in
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.expiry import ExpiryRule
from agentbus.contracts.text import few_of


def parsed_rules(text: str, form: Literal["json", "toml"]) -> tuple[ExpiryRule, ...]:
    """Return the rules of a document. Raises ConfigurationError: no such document, or as `checked_rules` does."""
    read = json_in if form == "json" else toml_in
    try:
        document = read(text)
    except ValueError as error:
        raise ConfigurationError(f"the expiry rules are not {form.upper()}: {error}") from None
    return checked_rules(document)


def checked_rules(document: object) -> tuple[ExpiryRule, ...]:
    """Return the rules of a decoded document: a list of them, or a table with such a list under `rules`.

    Raises ConfigurationError naming each rule and field that is wrong.
    """
    written = document
    if isinstance(document, dict):
        if unknown := sorted(str(name) for name in document.keys() - {"rules"}):
            raise ConfigurationError(f"expiry rules: no such key: {', '.join(unknown)}; the rules go under `rules`")
        written = document.get("rules", [])
    if not isinstance(written, list | tuple):
        raise ConfigurationError("expiry rules: a list of rules is needed, alone or under `rules`")
    rules: list[ExpiryRule] = []
    wrong: list[str] = []
    for number, one in enumerate(written, 1):
        try:
            rules.append(ExpiryRule.model_validate(one))
        except ValidationError as error:
            wrong += _explained(_named(one, number), error)
    counted = Counter(rule.rule_id for rule in rules)
    wrong += [f"expiry rule {name!r}: there are {count} of this id" for name, count in counted.items() if count > 1]
    if wrong:
        raise ConfigurationError(few_of(wrong))
    return tuple(rules)


def _named(written: Any, number: int) -> str:
    name = written.get("rule_id") if isinstance(written, dict) else None
    return repr(name) if name else f"number {number}"


def _explained(name: str, error: ValidationError) -> list[str]:
    items = error.errors(include_url=False, include_input=False, include_context=False)
    return [f"expiry rule {name}: {_field(item['loc'])}{item['msg']}" for item in items]


def _field(place: tuple[int | str, ...]) -> str:
    return f"{'.'.join(str(part) for part in place)}: " if place else ""
