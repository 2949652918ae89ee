"""What WhatsApp itself writes into exports, in many languages: the lists of `whatsapp_words.toml`."""

from pathlib import Path
from typing import Final

from agentbus.contracts.documents import toml_in
from agentbus.contracts.messages import AttachmentKind

_LISTS: Final = toml_in(Path(__file__).with_suffix(".toml").read_text("utf-8"))

MORNING: Final = frozenset[str](_LISTS["morning"])
AFTERNOON: Final = frozenset[str](_LISTS["afternoon"])
BEFORE_THE_TIME: Final = tuple[str, ...](_LISTS["before_the_time"])
ENCRYPTED: Final = tuple[str, ...](_LISTS["encrypted"])
NOTICES: Final = (*ENCRYPTED, *tuple[str, ...](_LISTS["notices"]))
OMITTED: Final = frozenset[str](_LISTS["omitted"])
ATTACHED: Final = frozenset[str](_LISTS["attached"])
DELETED: Final = frozenset[str](_LISTS["deleted"])
EDITED: Final = frozenset[str](_LISTS["edited"])
QUOTES: Final = tuple((pair[0], pair[1]) for pair in _LISTS["quotes"])
OMITTED_KINDS: Final = {
    phrase: AttachmentKind(kind) for kind, phrases in _LISTS["omitted_kinds"].items() for phrase in phrases
}
