"""The files of a run: JSON and picture, in `results/`."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.measures.results import Results
from tests.benchmarks.output.picture import draw
from tests.benchmarks.output.summary import Summary
from tests.benchmarks.sizes import Sizes

FOLDER: Final = Path(__file__).parent.parent / "results"


def write_results(
    results: Results, summary: Summary, sizes: Sizes, about: dict[str, Any], folder: Path = FOLDER
) -> tuple[Path, Path]:
    """Write a run's files and return their paths. A full run is kept under its day, a quick one is overwritten."""
    now = datetime.now(UTC)
    name = f"{now:%Y-%m-%d}" if sizes.name == "full" else sizes.name
    document = {
        "date": now.isoformat(timespec="seconds"),
        **about,
        "sizes": asdict(sizes),
        "contenders": {contender.name: contender.what for contender in CONTENDERS},
        "summary": summary,
        "runs": asdict(results),
    }
    folder.mkdir(exist_ok=True)
    numbers, picture = folder / f"{name}.json", folder / f"{name}.svg"
    numbers.write_text(json.dumps(document, indent=1) + "\n")
    machine = about["machine"]
    draw(results, f"AgentBus, {now:%Y-%m-%d}, {machine['cores']} cores, {machine['cpu']}", picture)
    return numbers, picture
