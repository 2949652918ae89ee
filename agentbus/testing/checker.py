"""The checker: decides from what a run saw whether AgentBus kept its promises.

```python
evidence = await read_evidence(store, published, events=received)
verdict = check(evidence)
rich.print(verdict.as_table())
assert verdict.held
```
"""

from collections.abc import Sequence
from typing import Any

from agentbus.storage.port import Store
from agentbus.storage.reading import iter_log, iter_parked
from agentbus.testing.evidence import Evidence, Published
from agentbus.testing.invariants.announcements import check_announced
from agentbus.testing.invariants.balance import check_balance
from agentbus.testing.invariants.commits import check_committed_once, check_log, check_order, tallies
from agentbus.testing.invariants.handling import check_one_owner
from agentbus.testing.invariants.leftovers import check_empty
from agentbus.testing.verdict import Verdict


def check(evidence: Evidence) -> Verdict:
    """Decide each invariant. One for which nothing was observed is `Outcome.UNCHECKED`, and counts as held."""
    by_conversation = tallies(evidence)
    each = by_conversation.values()
    return Verdict(
        findings=(
            check_committed_once(by_conversation),
            check_order(by_conversation),
            check_log(evidence),
            check_announced(evidence),
            check_one_owner(evidence, by_conversation),
            check_balance(evidence),
            check_empty(evidence),
        ),
        messages=len({(one.conversation_id, one.input_id) for one in evidence.published}),
        conversations=len({one.conversation_id for one in evidence.published}),
        committed=sum(len(one.committed) for one in each),
        parked=sum(len(one.parked) for one in each),
        lost=sum(len(one.lost) for one in each),
        duplicated=sum(len(one.duplicated) for one in each),
        reordered=sum(len(one.reordered) for one in each),
    )


async def read_evidence(store: Store, published: Sequence[Published], **seen: Any) -> Evidence:
    """Read the histories of the conversations that were published to, and what is parked; `seen` goes beside them.

    Raises StoreUnavailable, StoreRejected.
    """
    conversations = dict.fromkeys(one.conversation_id for one in published if one.conversation_id)
    commits = {key: [commit async for commit in iter_log(store, key)] for key in conversations}
    parked = [one async for one in iter_parked(store)]
    return Evidence(published=published, commits=commits, parked=parked, **seen)
