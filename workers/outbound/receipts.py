"""What a platform tells of a message that we sent, as the command that has its session know."""

from collections.abc import Mapping
from typing import Final

from agentbus.contracts.commands import ReportReply
from agentbus.contracts.envelope import Input
from agentbus.contracts.ids import InputId, digest_of
from agentbus.contracts.replies import MAX_REASON_LENGTH, ReplyOutcome, reply_of_key
from agentbus.workers.adapters.port import Receipt, ReceiptState
from agentbus.workers.importers.values import fit_id

_OUTCOMES: Final[Mapping[ReceiptState, ReplyOutcome]] = {
    ReceiptState.SENT: ReplyOutcome.SENT,
    ReceiptState.DELIVERED: ReplyOutcome.DELIVERED,
    ReceiptState.READ: ReplyOutcome.READ,
    ReceiptState.FAILED: ReplyOutcome.FAILED,
}


def report_of(receipt: Receipt) -> Input | None:
    """Return the command that tells the session; None if it would say nothing that is not known.

    A message is known by the key that it was sent with, where the platform says it back: also before its sender has
    told what the platform calls it. Of a reply in several messages it is the last one that counts. That the platform
    has a message is news only of one whose sender did not hear so, which is known by its key alone.
    """
    reply = reply_of_key(receipt.key) if receipt.key else None
    if reply is None and (receipt.state is ReceiptState.SENT or receipt.key):
        return None
    message_id = fit_id(receipt.message_id)
    command = ReportReply(
        address=receipt.address,
        reply=reply,
        outcome=_OUTCOMES[receipt.state],
        message_ids=(message_id,),
        reason=(receipt.reason or "")[:MAX_REASON_LENGTH],
        told_at=receipt.at,
    )
    where = receipt.address
    told = ("receipt", where.platform, where.account, where.chat, message_id, receipt.state)
    return Input(InputId(digest_of(told)), command)
