"""The sections of the session API, put together over one engine.

What each call means, and what it raises, is said where it is called: at `SessionManager` and `SessionSystem`.
"""

from dataclasses import dataclass

from agentbus.contracts.clock import Clock
from agentbus.sessions.config import ManagerOptions
from agentbus.sessions.engine import Engine
from agentbus.sessions.sections.access import Access
from agentbus.sessions.sections.batch import Batch
from agentbus.sessions.sections.checkpoints import Checkpoints
from agentbus.sessions.sections.creation import Creation
from agentbus.sessions.sections.deadlines import Deadlines
from agentbus.sessions.sections.deletion import Deletion
from agentbus.sessions.sections.lifecycle import Lifecycle
from agentbus.sessions.sections.listing import Listing
from agentbus.sessions.sections.locks import Leases, Locks
from agentbus.sessions.sections.messages import Messages
from agentbus.sessions.sections.shared import Commands, Contexts
from agentbus.sessions.sections.templates import Templates
from agentbus.sessions.sections.tokens import Fences


@dataclass(frozen=True, slots=True, kw_only=True)
class Sections:
    """What a session manager's calls go to."""

    engine: Engine
    access: Access
    batch: Batch
    checkpoints: Checkpoints
    creation: Creation
    deadlines: Deadlines
    deletion: Deletion
    lifecycle: Lifecycle
    listing: Listing
    locks: Locks
    messages: Messages
    templates: Templates


def sections_over(engine: Engine, options: ManagerOptions, clock: Clock) -> Sections:
    """Return the sections, put together over an engine."""
    fences, leases = Fences(engine, clock), Leases(engine)
    commands, contexts = Commands(engine, fences), Contexts(engine, options.max_history)
    checkpoints = Checkpoints(engine, commands, clock, every=options.checkpoint_every)
    templates = Templates(engine, commands, clock)
    deletion = Deletion(engine, commands, fences)
    return Sections(
        engine=engine,
        access=Access(engine, commands),
        batch=Batch(engine, deletion, clock),
        checkpoints=checkpoints,
        creation=Creation(
            engine, commands, contexts=contexts, leases=leases, templates=templates, options=options, clock=clock
        ),
        deadlines=Deadlines(engine, commands, clock),
        deletion=deletion,
        lifecycle=Lifecycle(engine, commands, contexts, checkpoints, clock),
        listing=Listing(engine, clock),
        locks=Locks(engine, leases, fences),
        messages=Messages(engine, commands, checkpoints),
        templates=templates,
    )
