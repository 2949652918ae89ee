"""Writing the published contracts to a folder."""

from pathlib import Path

from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.schema.files import breaks, files


class ContractBroken(AgentBusError):
    """A published schema would change in a way that breaks those who rely on it."""


def export(folder: Path) -> int:
    """Write all published documents into `folder`; return how many there are.

    Raises ContractBroken, having written nothing, if a document that is there would be broken.
    """
    documents = files()
    committed = {name: (folder / name).read_text("utf-8") for name in documents if (folder / name).is_file()}
    try:
        broken = breaks(committed)
    except ValueError as error:
        raise ContractBroken(f"a file in {folder} is not JSON: {error}") from None
    if broken:
        changes = "\n".join(f"  {name}: {change}" for name, found in broken.items() for change in found)
        raise ContractBroken(
            f"these changes break others within one version; make them compatible, or begin a new version:\n{changes}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents.items():
        (folder / name).write_text(text, "utf-8")
    return len(documents)
