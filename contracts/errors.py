"""The error tree.

AgentBusError
├── InvalidInput            what came in can't be understood; it is parked, retrying does not help
│   ├── TooLarge            more bytes than an input may have; not read at all
│   ├── Undecodable         not JSON, or not a CloudEvents 1.0 envelope
│   ├── UnsupportedType     a type or schema version this release does not know
│   ├── SchemaViolation     the right type, but a field is wrong
│   ├── FutureTimestamp     sent further in the future than clocks may differ
│   ├── KilledWorker        its worker's process ended each time it was tried
│   └── WrongPartition      published with another number of partitions than the topology has
├── Refused                 understood, and against the rules; the caller gets it as the reply
│   ├── SessionNotFound     the session does not exist
│   ├── TargetNotFound      an edit, deletion or reaction whose message is not in this conversation
│   ├── SessionNotCurrent   the conversation has moved on to a later session
│   ├── ConversationBlocked it waits for an earlier input that failed for good
│   ├── AccessDenied        no such session, or the user may not do this with it
│   ├── UntrustedSender     not a chat message, from somebody who may send nothing else
│   ├── EditConflict        somebody else changed the same fields first
│   ├── LockLost            somebody else has held the session's lock since
│   ├── RequestReused       the id was used for another request before
│   ├── IdentityConflict    the session is linked to another identity
│   ├── ClaimRefused        the claim code is wrong, used or out of date
│   ├── UserErased          the user's data was erased: it does not come back
│   ├── LimitExceeded       more than there may be: of sessions, or in one
│   ├── RepliesWaiting      too many replies to the conversation wait to be sent, or to be resolved
│   ├── ReplyNotFound       no such reply, or none that somebody has to decide about
│   ├── PartitionNotFound   there are not so many partitions
│   ├── WorkerNotFound      no such session worker is at work, or it is about to end
│   ├── HandBackRefused     nobody owns the partition just now, or nobody else can take it
│   └── TransitionForbidden the session may not go from its status to the one asked for
├── StoreError              something about the store
│   ├── StoreUnavailable    it does not answer; may be retried
│   ├── StoreRejected       it refuses us: wrong password, missing rights, wrong URL
│   ├── StoreDamaged        what it keeps of something can't be read; trying again does not help
│   │   └── KeyMissing      it is encrypted with a key that is not here; says which
│   ├── MigrationRefused    one store can't be copied to the other: one is in use, or not empty; says what to do
│   ├── MigrationDiffers    the copy of a store is not what the store holds
│   ├── Fenced              a later owner of the partition has written: this one has lost it
│   ├── VersionConflict     somebody else wrote this version of the conversation first
│   └── DuplicateInput      an earlier commit of the conversation holds one of these inputs
├── BusError                something about the broker
│   ├── BrokerUnavailable   it does not answer; may be retried
│   ├── BrokerRejected      it refuses us: wrong password, missing rights, unknown virtual host
│   ├── BrokerBlocked       it takes no publishes for now (memory or disk alarm); may be retried
│   ├── PublishUnconfirmed  no confirm in time: unknown whether it arrived; retry with the same id
│   ├── Unroutable          no queue takes this message: the topology is missing or another one
│   ├── TopologyMismatch    a queue or exchange exists with other arguments
│   └── ReplyTimeout        the command was published, no reply in time; retry with the same id
├── ArchiveError            something about the archive
│   ├── ArchiveUnavailable  it can't be reached, or refuses us
│   ├── ArchiveDamaged      what is there is not what was put there
│   └── ArchiveNotFound     there is no such session in it
├── BackupError             something about backups
│   ├── BackupUnavailable   their place can't be reached, or refuses us; what was begun is gone on with
│   │   └── BackupFull      there is no room for it; the backups before it are untouched
│   ├── BackupDamaged       what is there is not what was put there; says which file
│   ├── BackupNotFound      there is no such backup, or none that is finished
│   └── BackupRefused       it can't be made or read so: a key is missing, or another run goes on with it
├── StateError              a component's state can't be taken or given back; says where
│   ├── StateMismatch       the state has other parts than the component
│   └── StateNotFound       no state is kept for this session
├── Reject                  a subscriber's handler refuses an event: it is parked, trying again does not help
├── LockTimeout             somebody else held the lock until the deadline
├── FeatureNotEnabled       this part is not switched on
├── NotInitialized          initialize_sessions() was not called
└── ConfigurationError      a setting is missing or wrong; says which
    ├── InstallationMismatch  the number of partitions or the scope is not the installation's
    └── MigrationUnfinished   the store is half a copy of another
"""

from typing import Any, ClassVar

from agentbus.contracts.text import encodable


class AgentBusError(Exception):
    """Something went wrong in AgentBus."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str | None = None, **details: Any) -> None:
        # Our errors travel as JSON and are kept: a name in one that is not Unicode (a file's) must not stop that.
        super().__init__(encodable(message or type(self).__doc__ or type(self).__name__))
        self.details = details

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.code = "".join(f"_{c.lower()}" if c.isupper() else c for c in cls.__name__).lstrip("_")


class InvalidInput(AgentBusError):
    """The input can't be understood."""


class TooLarge(InvalidInput):
    """The input has more bytes than one may have."""


class Undecodable(InvalidInput):
    """The body is not a CloudEvents 1.0 envelope in JSON."""


class UnsupportedType(InvalidInput):
    """This release does not know this type or version of message."""


class SchemaViolation(InvalidInput):
    """A field of the input is missing or wrong."""


class FutureTimestamp(InvalidInput):
    """The message was sent further in the future than clocks may differ."""


class KilledWorker(InvalidInput):
    """The worker's process ended each time this input was tried."""


class WrongPartition(InvalidInput):
    """The input came to a partition that is not its conversation's."""


class Refused(AgentBusError):
    """The command is against the rules."""


class SessionNotFound(Refused):
    """No such session."""


class TargetNotFound(Refused):
    """The message that this is about is not in this conversation."""


class SessionNotCurrent(Refused):
    """The conversation has moved on to a later session."""


class ConversationBlocked(Refused):
    """The conversation waits for an earlier input that failed for good."""


class AccessDenied(Refused):
    """No such session, or no access to it."""


class UntrustedSender(Refused):
    """Whoever sent this may send chat messages, and nothing else."""


class EditConflict(Refused):
    """Somebody else changed the same fields first: read again, then decide."""


class LockLost(Refused):
    """The lock has passed to somebody else."""


class RequestReused(Refused):
    """The request's id was used for another one before: take another id."""


class IdentityConflict(Refused):
    """The session is linked to another identity: unlink it first."""


class ClaimRefused(Refused):
    """The claim code is wrong, used or out of date."""


class UserErased(Refused):
    """The user's data was erased: it does not come back."""


class LimitExceeded(Refused):
    """More than there may be: of sessions, or in one of them."""


class RepliesWaiting(Refused):
    """Too many replies to this conversation wait to be sent, or for somebody to decide."""


class ReplyNotFound(Refused):
    """No such reply, or none that somebody has to decide about."""


class PartitionNotFound(Refused):
    """There are not so many partitions."""


class WorkerNotFound(Refused):
    """No such session worker is at work."""


class HandBackRefused(Refused):
    """Nobody owns the partition just now, or nobody else can take it."""


class TransitionForbidden(Refused):
    """The session may not go from its status to this one."""


class StoreError(AgentBusError):
    """The store failed."""


class StoreUnavailable(StoreError):
    """The store does not answer."""


class StoreRejected(StoreError):
    """The store refuses the connection."""


class StoreDamaged(StoreError):
    """What the store keeps of this can't be read."""


class MigrationRefused(StoreError):
    """One store can't be copied to the other."""


class MigrationDiffers(StoreError):
    """The copy of a store is not what the store holds."""


class KeyMissing(StoreDamaged):
    """What the store keeps of this is encrypted with a key that is not here."""


class Fenced(StoreError):
    """A later owner of the partition has written: this worker has lost it."""


class VersionConflict(StoreError):
    """Another writer committed this version of the conversation first."""


class DuplicateInput(StoreError):
    """An earlier commit of the conversation holds one of these inputs."""


class BusError(AgentBusError):
    """The broker failed."""


class BrokerUnavailable(BusError):
    """The broker does not answer."""


class BrokerRejected(BusError):
    """The broker refuses the connection."""


class BrokerBlocked(BusError):
    """The broker takes no publishes for now: a memory or disk alarm."""


class PublishUnconfirmed(BusError):
    """The broker did not confirm in time: retry with the same id."""


class Unroutable(BusError):
    """No queue takes this message: declare the topology first."""


class TopologyMismatch(BusError):
    """A queue or exchange exists with other arguments."""


class ReplyTimeout(BusError):
    """No reply in time: retry with the same command id."""


class ArchiveError(AgentBusError):
    """The archive failed."""


class ArchiveUnavailable(ArchiveError):
    """The archive can't be reached, or refuses us."""


class ArchiveDamaged(ArchiveError):
    """What is in the archive is not what was put there."""


class ArchiveNotFound(ArchiveError):
    """There is no such session in the archive."""


class BackupError(AgentBusError):
    """Something is wrong with a backup."""


class BackupUnavailable(BackupError):
    """The place of the backups can't be reached, or refuses us."""


class BackupFull(BackupUnavailable):
    """There is no room left for the backup."""


class BackupDamaged(BackupError):
    """What is in the backup is not what was put there."""


class BackupNotFound(BackupError):
    """There is no such backup."""


class BackupRefused(BackupError):
    """The backup can't be made or read so."""


class StateError(AgentBusError):
    """The state of a component can't be taken or given back."""


class StateMismatch(StateError):
    """The state has other parts than the component."""


class StateNotFound(StateError):
    """No state is kept for this session."""


class Reject(AgentBusError):
    """The handler refuses the event."""


class LockTimeout(AgentBusError):
    """Somebody else held the lock until the deadline."""


class FeatureNotEnabled(AgentBusError):
    """This part is not switched on."""


class NotInitialized(AgentBusError):
    """There is no session system yet: call initialize_sessions() first."""


class ConfigurationError(AgentBusError):
    """A setting is missing or wrong."""


class InstallationMismatch(ConfigurationError):
    """The number of partitions or the scope policy is not the installation's."""


class MigrationUnfinished(ConfigurationError):
    """The store is half a copy of another."""


def refusal(code: str, message: str) -> Refused:
    """Build the `Refused` that a reply with `code` stands for; an unknown code gives plain `Refused`."""
    kinds = {kind.code: kind for kind in Refused.__subclasses__()}
    return kinds.get(code, Refused)(message)
