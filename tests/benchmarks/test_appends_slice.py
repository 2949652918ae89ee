"""Appends are measured on every store; one that grows dearer is told; the documentation has what the run came to."""

import json
from pathlib import Path

import pytest

from agentbus.storage.factory import open_store
from tests.benchmarks.appends import __main__ as program
from tests.benchmarks.appends.measure import BLOCK, IN_ONE, LIMIT, Costs, Sizes, Talk, measure
from tests.benchmarks.appends.report import PAGE, RESULTS, in_markdown
from tests.harness.stores import KINDS, PLACES

SLICE = Sizes((2, 4), rounds=2)


async def test_every_store_that_needs_no_server_is_measured(tmp_path: Path) -> None:
    costs, versions = await measure([*PLACES], SLICE, tmp_path)
    assert costs.keys() == versions.keys() == PLACES.keys()
    for found in costs.values():
        assert {length: len(blocks) for length, blocks in found.items()} == {2: 2, 4: 2}
        assert min(cost for blocks in found.values() for cost in blocks) > 0


async def test_a_history_is_as_long_as_said_and_grows_by_what_is_measured() -> None:
    async with open_store("memory://") as store:
        talk = Talk()
        await talk.reach(250, [store])
        for commit, head in talk.block():
            await store.log.append([commit])
            await store.heads.save([head])
        [conversation] = await store.log.conversations(limit=2)
        loaded = (await store.log.load([conversation]))[conversation]
        assert loaded.head is not None
        assert (loaded.head.message_count, loaded.commits) == (250 + BLOCK, ())
        commits = await store.log.read(conversation, limit=100)
        assert [len(commit.events) for commit in commits] == [IN_ONE, IN_ONE, 50, *[1] * BLOCK]
        assert len({one for commit in commits for one in commit.inputs}) == 250 + BLOCK


def costs_of(grown: float) -> Costs:
    return {kind: {100: [1.0] * 3, 10_000: [1.1] * 3, 100_000: [0.5, grown, 5.0]} for kind in KINDS}


@pytest.mark.parametrize(("grown", "code"), [(LIMIT, 0), (LIMIT + 0.01, 1)])
def test_the_run_fails_if_a_message_of_the_longest_history_is_too_dear(
    grown: float, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def measured(*_: object) -> tuple[Costs, dict[str, str]]:
        return costs_of(1.0) | {"files": costs_of(grown)["files"]}, dict.fromkeys(KINDS, "1")

    page = tmp_path / "page.md"
    page.write_text("before\n<!-- appends -->\nold\n<!-- /appends -->\nafter\n")
    monkeypatch.setattr(program, "measure", measured)
    monkeypatch.setattr(program, "RESULTS", tmp_path / "appends.json")
    monkeypatch.setattr(program, "PAGE", page)

    assert program.main([]) == code

    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["growth"] == {kind: grown if kind == "files" else 1.0 for kind in KINDS}
    kept = json.loads((tmp_path / "appends.json").read_text())
    assert kept["append_ms"] == told["append_ms"]
    shown = page.read_text()
    assert shown.startswith("before\n<!-- appends -->\n| store | 100 messages |")
    assert f"| files 1 | 1 | 1.1 | {grown:.3g} | {grown:.2f} |\n" in shown
    assert shown.endswith("<!-- /appends -->\nafter\n")


def test_the_documentation_has_the_figures_of_the_run_that_is_kept() -> None:
    shown = PAGE.read_text().partition("<!-- appends -->\n")[2].partition("<!-- /appends -->")[0]
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else None
    assert shown == (in_markdown(kept, kept["versions"]) if kept else "")
    assert kept is None or max(kept["growth"].values()) <= LIMIT
