"""The names that AgentBus is seen by: one list of metrics, one list of log actions.

Labels are bounded sets: never an id, which would make one time series for each session. What OpenTelemetry's messaging
conventions have a metric for bears their name, as Prometheus writes it, beside ours.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric, in Prometheus's conventions: base units, `_total` for counters."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    series: tuple[tuple[str, ...], ...] = ()
    """The values that its labels may have, one tuple for each series: each is there, at 0, from the start."""


INPUTS: Final = Metric(
    name="agentbus_inputs_total",
    type="counter",
    help="Inputs handled by session workers, by outcome: committed, repeated, refused, parked.",
    labels=("outcome",),
    series=(("committed",), ("repeated",), ("refused",), ("parked",)),
)
PARKED: Final = Metric(
    name="agentbus_parked_total",
    type="counter",
    help="Inputs and events recorded as parked, whoever parked them: workers, routers, subscribers or the broker.",
)
COMMITS: Final = Metric(name="agentbus_commits_total", type="counter", help="Commits appended to the log.")
EVENTS: Final = Metric(name="agentbus_events_total", type="counter", help="Events announced and confirmed.")
CONFLICTS: Final = Metric(
    name="agentbus_conflicts_total",
    type="counter",
    help="Commits refused because another writer was first, or an input was committed before.",
)
ROUND_SECONDS: Final = Metric(
    name="agentbus_round_seconds",
    type="histogram",
    help="Seconds from taking a batch of turns to the last announcement of what it did.",
)
ROUND_TURNS: Final = Metric(
    name="agentbus_round_turns", type="histogram", help="Conversations committed together in one round."
)
LIVE_ACTORS: Final = Metric(
    name="agentbus_live_actors", type="gauge", help="Conversations whose state this worker holds in memory."
)
LARGE_SESSIONS: Final = Metric(
    name="agentbus_large_sessions_total",
    type="counter",
    help="Sessions whose data, metadata, fields or conflicts passed half of what a session may hold.",
)
BUILD: Final = Metric(
    name="agentbus_build_info",
    type="gauge",
    help="1, with the release of AgentBus and of Python as labels.",
    labels=("version", "python"),
)
OWNED: Final = Metric(
    name="agentbus_owned_partitions",
    type="gauge",
    help="Partitions that this worker owns, or watches, by the worker's kind.",
    labels=("worker",),
    series=(("session",), ("expiry",), ("sync",), ("tracking",), ("outbound",)),
)
STOPPED: Final = Metric(
    name="agentbus_stopped_partitions",
    type="gauge",
    help="Partitions that this worker has stopped for a while, after too many faults in a row.",
)
OLDEST: Final = Metric(
    name="agentbus_oldest_unacknowledged_seconds",
    type="gauge",
    help="Seconds for which the oldest input in this session worker's hands has been there; 0 if there is none.",
)
PUBLISH_TO_COMMIT: Final = Metric(
    name="agentbus_publish_to_commit_seconds",
    type="histogram",
    help="Seconds from when an input says it was published to its commit; those that don't say so are not counted.",
)
BACKLOG: Final = Metric(
    name="agentbus_backlog_seconds",
    type="gauge",
    help="Seconds by which this session worker is behind: for how long the oldest input that it owns and has not "
    "acknowledged has waited, on the broker or in its hands, as far as it saw that; looked at every 10 seconds.",
)
RECONNECTIONS: Final = Metric(
    name="agentbus_reconnections_total",
    type="counter",
    help="Connections to the broker that were opened again after they were lost.",
)
HANDLER_FAILURES: Final = Metric(
    name="agentbus_handler_failures_total",
    type="counter",
    help="Events that a reactive worker's handler failed for, for good: they are parked.",
)
ROUTED: Final = Metric(name="agentbus_ingress_routed_total", type="counter", help="Inputs routed from the ingress.")
CHANNEL_REQUESTS: Final = Metric(
    name="agentbus_channel_requests_total",
    type="counter",
    help="Requests of chat platforms that gateways answered, by outcome: accepted, unknown (no such account), "
    "unverified, malformed, too_large, too_slow, too_many, unavailable.",
    labels=("outcome",),
    series=(
        *(("accepted",), ("unknown",), ("unverified",), ("malformed",)),
        *(("too_large",), ("too_slow",), ("too_many",), ("unavailable",)),
    ),
)
CHANNEL_EVENTS: Final = Metric(
    name="agentbus_channel_events_total",
    type="counter",
    help="What accepted requests said: message, unsupported (a message that keeps what is not understood), receipt, "
    "ignored.",
    labels=("what",),
    series=(("message",), ("unsupported",), ("receipt",), ("ignored",)),
)
CHANNEL_CONNECTIONS: Final = Metric(
    name="agentbus_channel_connections",
    type="gauge",
    help="Windows of web chats, and whatever else gateways host, that are connected to this one.",
)

REPLIES: Final = Metric(
    name="agentbus_replies_total",
    type="counter",
    help="Replies that outbound workers were done with, by outcome: sent, failed, unknown (somebody has to decide).",
    labels=("outcome",),
    series=(("sent",), ("failed",), ("unknown",)),
)
REPLIES_IN_DOUBT: Final = Metric(
    name="agentbus_replies_in_doubt",
    type="gauge",
    help="Replies of which nobody knows whether they were sent, and about which somebody has to decide; told by one "
    "outbound worker for all, 0 by the others, and 1000 for more than that.",
)
REPLY_SECONDS: Final = Metric(
    name="agentbus_reply_seconds",
    type="histogram",
    help="Seconds from when a reply was asked for until the platform had it.",
)
EXPIRY_COMMANDS: Final = Metric(
    name="agentbus_expiry_commands_total",
    type="counter",
    help="Commands that expiry workers gave, repeats included, by action: notify, suspend, expire, archive, merge, "
    "delete, deadline (a session's own).",
    labels=("action",),
    series=(("notify",), ("suspend",), ("expire",), ("archive",), ("merge",), ("delete",), ("deadline",)),
)
EXPIRY_LATENESS: Final = Metric(
    name="agentbus_expiry_lateness_seconds",
    type="histogram",
    help="Seconds from when a step was due to its command.",
)
EXPIRY_HELD_BACK: Final = Metric(
    name="agentbus_expiry_held_back_partitions",
    type="gauge",
    help="Partitions to which this expiry worker gives no more commands until those given are carried out.",
)
EXPIRY_FAILURES: Final = Metric(
    name="agentbus_expiry_failures_total",
    type="counter",
    help="Steps of expiry rules that failed; they are tried again.",
)
NOTIFICATIONS: Final = Metric(
    name="agentbus_expiry_notifications_total",
    type="counter",
    help="Notifications of expiry steps, by outcome: sent, failed.",
    labels=("outcome",),
    series=(("sent",), ("failed",)),
)

_MESSAGING: Final = ("messaging_system", "messaging_operation_name", "messaging_destination_template")
_PUBLISHED: Final = tuple(("rabbitmq", "publish", where) for where in ("inbound", "events", "parked"))
_PROCESSED: Final = tuple(("rabbitmq", "process", where) for where in ("inbound", "events"))

MESSAGES_SENT: Final = Metric(
    name="messaging_client_sent_messages_total",
    type="counter",
    help="Messages published and confirmed, by exchange: inbound (the partitions), events, parked.",
    labels=_MESSAGING,
    series=_PUBLISHED,
)
MESSAGES_CONSUMED: Final = Metric(
    name="messaging_client_consumed_messages_total",
    type="counter",
    help="Messages that workers took to work on them, repeats included, by where they came from: ingress, inbound (the "
    "partitions), events.",
    labels=_MESSAGING,
    series=(("rabbitmq", "process", "ingress"), *_PROCESSED),
)
OPERATION_SECONDS: Final = Metric(
    name="messaging_client_operation_duration_seconds",
    type="histogram",
    help="Seconds from publishing, one message or many together, to the last confirm, by exchange.",
    labels=_MESSAGING,
    series=_PUBLISHED,
)
PROCESS_SECONDS: Final = Metric(
    name="messaging_process_duration_seconds",
    type="histogram",
    help="Seconds from when a worker had a message to its acknowledgement, by where it came from.",
    labels=_MESSAGING,
    series=_PROCESSED,
)

PROCESS: Final = (
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
)
"""What is told of the process besides, under the names that Prometheus's own clients use."""

METRICS: Final = (
    INPUTS,
    PARKED,
    COMMITS,
    EVENTS,
    CONFLICTS,
    ROUND_SECONDS,
    ROUND_TURNS,
    LIVE_ACTORS,
    LARGE_SESSIONS,
    BUILD,
    OWNED,
    STOPPED,
    OLDEST,
    PUBLISH_TO_COMMIT,
    BACKLOG,
    RECONNECTIONS,
    HANDLER_FAILURES,
    ROUTED,
    CHANNEL_REQUESTS,
    CHANNEL_EVENTS,
    CHANNEL_CONNECTIONS,
    EXPIRY_COMMANDS,
    EXPIRY_LATENESS,
    EXPIRY_HELD_BACK,
    EXPIRY_FAILURES,
    NOTIFICATIONS,
    REPLIES,
    REPLIES_IN_DOUBT,
    REPLY_SECONDS,
    MESSAGES_SENT,
    MESSAGES_CONSUMED,
    OPERATION_SECONDS,
    PROCESS_SECONDS,
)


def metrics_table() -> str:
    """Return the metrics as a Markdown table: that of `docs/observe.md`."""
    lines = ["| metric | kind | meaning |", "|---|---|---|"]
    for metric in METRICS:
        labels = f"{{{', '.join(metric.labels)}}}" if metric.labels else ""
        lines.append(f"| `{metric.name}{labels}` | {metric.type} | {metric.help} |")
    return "\n".join(lines)


class Action(StrEnum):
    """The `event` field of a log line: what happened, for searching."""

    SERVING_HTTP = "serving_http"
    """Probes and metrics are served: at which address and port."""
    API_OPEN = "api_open"
    """The HTTP API has no key yet, and is open to this machine alone; the line says how to make one."""
    API_CHANGED = "api_changed"
    """A call of the HTTP API that changes something was answered: which, by whom, on whose behalf, about what."""
    API_REFUSED = "api_refused"
    """Somebody tried to call the HTTP API, or to sign in, with no good key or token: from where, and how many more."""
    API_FAILED = "api_failed"
    """A call of the HTTP API failed: it was answered that something is wrong here, and this line says what."""
    JOB_ENDED = "job_ended"
    """Long work that somebody started over the HTTP API is over: which, in which state, and by whom it was started."""
    CHANNEL_REFUSED = "channel_refused"
    """A request of a channel was refused: not signed by the platform, malformed, too many, or not confirmed."""
    CHANNEL_NOT_READ = "channel_not_read"
    """A channel's adapter failed to read what the platform sent; it is kept whole, as a message `unsupported`."""
    VISITOR_NOT_TOLD = "visitor_not_told"
    """What is new could not be read for a visitor of a web chat: their window comes back in a moment."""
    NOT_JOURNALED = "not_journaled"
    """What was announced of a conversation can't be read from its log: who follows all events does not hear of it."""
    FOLLOWER_NOT_TOLD = "follower_not_told"
    """What happens could not be read for somebody who follows events: they come back in a moment."""
    EVENTS_ENDED = "events_ended"
    """A subscription from a sequence on gets no more events: its session was deleted, or its log can't be read."""
    CHANNEL_SILENT = "channel_silent"
    """A platform that is asked gives nothing at the moment; it is asked again."""
    WORKER_STARTED = "worker_started"
    """A worker takes inputs."""
    WORKER_DRAINING = "worker_draining"
    """It finishes what is in flight and takes no more."""
    WORKER_CLOSED = "worker_closed"
    """It let go of everything."""
    COMPONENT_FAILED = "component_failed"
    """A part of a session system failed; it is started again."""
    CHECKPOINT_SKIPPED = "checkpoint_skipped"
    """A session's data is too large for the checkpoint that was due; the call that came upon it went on."""
    STATE_NOT_SAVED = "state_not_saved"
    """The state of an agent's components could not be saved; the agent goes on."""
    LIMIT_NOT_HELD = "limit_not_held"
    """A user's oldest session could not be closed for a new one: it is tried again when the next one is created."""
    WORKER_FAILED = "worker_failed"
    """It can't go on; its process should be restarted."""
    ROUND_FAILED = "round_failed"
    """A batch failed unexpectedly; its inputs are tried one by one."""
    INPUT_PARKED = "input_parked"
    """An input was taken out of the flow, with its reason."""
    DELIVERY_REFUSED = "delivery_refused"
    """A delivery could not be taken at all. `fate`: dead-lettered, and so parked; handed back; or, live, dropped."""
    PARKED_RECORDED = "parked_recorded"
    """A parked input reached the store."""
    HEAD_REFUSED = "head_refused"
    """The store can't hold a session's head; the log has it, and each load reads it from there."""
    SESSION_LARGE = "session_large"
    """A session holds more than half of what one may: each of its commits costs more, and soon one is refused."""
    STORE_DAMAGED = "store_damaged"
    """Something in the store can't be read: it is passed over, or rebuilt from the log where that is possible."""
    ANNOUNCING_PUT_OFF = "announcing_put_off"
    """Somebody's queue, or the broker, refuses events: those of some conversations are announced later, in order."""
    ANNOUNCING_GIVEN_UP = "announcing_given_up"
    """What is owed can't be read: what comes later is announced without it, and the mark stays in the store."""
    ANNOUNCED_LATE = "announced_late"
    """All that was owed of a conversation is announced."""
    COMMIT_CONFLICT = "commit_conflict"
    """Another writer was first; the conversation is loaded and decided again."""
    INSTALLATION_CHANGED = "installation_changed"
    """The number of partitions or the scope is another than this worker was started with: it has to be restarted."""
    FENCED = "fenced"
    """A partition has a later owner: this worker dropped what came by it and got in line again."""
    LOOP_STALLED = "loop_stalled"
    """The event loop stood still for too long: everything in hand was dropped, to be delivered again."""
    PARTITION_STOPPED = "partition_stopped"
    """Too many inputs in a row failed by no fault of theirs: the partition is not worked on for a while."""
    PARTITION_RESUMED = "partition_resumed"
    """A stopped partition is worked on again."""
    PARTITION_CHANGE_FAILED = "partition_change_failed"
    """Taking up or handing back a partition failed unexpectedly; it is tried again after the next heartbeat."""
    PARTITIONS_RELEASED = "partitions_released"
    """The store took no heartbeat for long: this worker let go of its partitions, others may do better."""
    PARTITIONS_CHANGED = "partitions_changed"
    """This worker got or lost partitions; the line says which."""
    OUTAGE_BEGAN = "outage_began"
    """Store or broker fail, or what came can't be handled (`cause`); what failed is tried again."""
    OUTAGE_LASTS = "outage_lasts"
    """It goes on: said once a minute."""
    OUTAGE_OVER = "outage_over"
    """All that failed succeeded since, or was given up."""
    REPLY_FAILED = "reply_failed"
    """A command's reply did not get away; who asks again with the same id is told."""
    REPLY_ADDRESS_REFUSED = "reply_address_refused"
    """Somebody wants replies where none may go: neither a direct reply nor a queue for replies. Said once."""
    FRAME_MALFORMED = "frame_malformed"
    """What a broker sent is no AMQP; the connection is ended, and made again by whoever needs it."""
    READING_PAUSED = "reading_paused"
    """Too many bytes are in hand, not settled yet: next to nothing is read from the broker until half of them are."""
    BROKER_WAITING = "broker_waiting"
    """The broker does not answer yet; said once a minute."""
    QUERY_FAILED = "query_failed"
    """A query could not be answered in a way that nobody foresaw; who asked is told so."""
    TOPOLOGY_WAITING = "topology_waiting"
    """The queues that something is sent to are not declared yet."""
    STORE_WAITING = "store_waiting"
    """The store does not answer yet; said once a minute."""
    STORE_WIPING = "store_wiping"
    """Deleted bytes are still in the database's write-ahead log, as somebody is reading older pages."""
    STORE_NOT_DURABLE = "store_not_durable"
    """The store's server may lose what it keeps, and is used all the same, as its URL says."""
    LEFT_BEHIND = "left_behind"
    """A call that was being cancelled could not wait for the end of what it had begun."""
    EVENT_UNKNOWN = "event_unknown"
    """A subscriber passed over a kind of event that its release does not know."""
    HANDLER_FAILED = "handler_failed"
    """A subscriber's handler raised; the event is delivered again or parked."""
    HANDLERS_DRAINING = "handlers_draining"
    """A subscriber takes no more events and waits for the handlers that are under way."""
    DELIVERY_LEFT = "delivery_left"
    """A delivery could be neither handled nor parked; it is left unacknowledged and comes with the next consumer."""
    CLAIM_HEARD = "claim_heard"
    """A user sent a claim code; the line says what became of it."""
    NOT_ENDED = "not_ended"
    """Something that is being closed did not end in its time; the line says where it stands, and it is left behind."""
    ENDED_BADLY = "ended_badly"
    """Something that is being closed, or a clean-up, ended with an error."""
    WATCH_FAILED = "watch_failed"
    """A turn of a worker's watch failed unexpectedly; it is taken again."""
    EXPIRY_RULES_CHANGED = "expiry_rules_changed"
    """An expiry worker goes by other rules from now on."""
    EXPIRY_RULES_UNREADABLE = "expiry_rules_unreadable"
    """The expiry rules in the store can't be read; the worker goes on with those it has."""
    STATE_MACHINE_UNREADABLE = "state_machine_unreadable"
    """The state machine in the store can't be read; the worker goes on with the one it has."""
    TRACKING_DAMAGED = "tracking_damaged"
    """What is kept of a conversation, or its log, can't be read: its figures stay as they are."""
    BACKUP_MADE = "backup_made"
    """A backup is finished: which, with how many sessions, and how many bytes were written for it."""
    BACKUP_FAILED = "backup_failed"
    """A backup could not be made: it is tried again in some minutes, and goes on where it was."""
    BACKUPS_PRUNED = "backups_pruned"
    """Backups that are not kept any more were removed: how many, and how many bytes."""
    REPLY_WITHOUT_WAY = "reply_without_way"
    """A reply goes by an account that this outbound worker does not have; it waits."""
    REPLY_IN_DOUBT = "reply_in_doubt"
    """Nobody knows whether a reply was sent: it waits for somebody to decide."""
    SENDING_FAILED = "sending_failed"
    """Sending a conversation's replies failed unexpectedly; it is tried again later."""
    ADAPTER_FAILED = "adapter_failed"
    """A channel's adapter raised something, which it must not: what it did is unknown."""
    EXPIRY_FAILED = "expiry_failed"
    """A step of an expiry rule failed for a session; it is tried again later."""
    EXPIRY_PACED = "expiry_paced"
    """More is due than session workers carry out: in so many partitions the rest waits for what they were given."""
    EXPIRY_HELD_BACK = "expiry_held_back"
    """Partitions have carried out nothing of what they were given for so long: they get one command at a time."""
    EXPIRY_OVERTAKEN = "expiry_overtaken"
    """A session was deleted, restored or otherwise changed while a step was taken; it is looked at again as it is."""
    EXPIRY_SCANNED = "expiry_scanned"
    """All sessions were looked at after a change of the expiry rules."""
    MERGE_ALONE = "merge_alone"
    """A session was to end by merging, and its person has no other live session: it simply expires."""
    SESSION_EXPIRING = "session_expiring"
    """A step of an expiry rule was taken, or is announced: the default notification."""
    NOTIFICATION_FAILED = "notification_failed"
    """A notification could not be given; its event is parked."""
