"""The files of a run: JSON and picture, in `results/`."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.measures.results import Results
from tests.benchmarks.output.picture import draw
from tests.benchmarks.output.summary import Summary
from tests.benchmarks.sizes import Sizes
from tests.harness.results import machine, write_results

FOLDER: Final = Path(__file__).parent.parent / "results"


def write_files(
    results: Results, summary: Summary, sizes: Sizes, versions: dict[str, str], folder: Path = FOLDER
) -> tuple[Path, Path]:
    """Write a run's files and return their paths. A full run is kept under its day, a quick one is overwritten."""
    now = datetime.now(UTC)
    name = f"{now:%Y-%m-%d}" if sizes.name == "full" else sizes.name
    document = {
        "versions": versions,
        "sizes": asdict(sizes),
        "contenders": {contender.name: contender.what for contender in CONTENDERS},
        "summary": summary,
        "runs": asdict(results),
    }
    numbers, picture = write_results(folder / f"{name}.json", document, indent=1), folder / f"{name}.svg"
    here = machine()
    draw(results, f"AgentBus, {now:%Y-%m-%d}, {here['cores']} cores, {here['cpu']}", picture)
    return numbers, picture
