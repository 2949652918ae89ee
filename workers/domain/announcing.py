"""What of an event others get to see."""

from collections.abc import Collection

from contracts.events import AnyEvent, DataSet, MetadataSet, SessionStarted
from contracts.secrets import without_secrets


def announced(event: AnyEvent, secret_keys: Collection[str]) -> AnyEvent:
    """Return `event` as it is announced: values whose key is a secret's are in the log alone."""
    match event:
        case DataSet() | MetadataSet():
            return event.model_copy(update={"values": without_secrets(event.values, secret_keys)})
        case SessionStarted() if event.data or event.metadata:
            cleaned = {
                "data": without_secrets(event.data, secret_keys),
                "metadata": without_secrets(event.metadata, secret_keys),
            }
            return event.model_copy(update=cleaned)
    return event
