"""Sessions deliver exactly once and in order over a channel that loses, doubles and reorders."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tegcore.wire.records import Cancel, Op, Record, unpack_all
from tegcore.wire.session import RECORDS_PER_MESSAGE_MAX, UNACKED_MAX, Inbox, Outbox


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["put", "send", "lose", "deliver", "double", "late", "ack"]), max_size=120))
def test_everything_arrives_once_and_in_order(steps: list[str]) -> None:
    outbox, inbox = Outbox(), Inbox()
    wire: list[bytes] = []
    acks: list[int] = []
    put = 0
    taken: list[int] = []

    def deliver(message: bytes) -> None:
        taken.extend(record.body.ref for record in inbox.take(unpack_all(message)))
        acks.append(inbox.last_seq)

    for step in steps:
        if step == "put":
            put += 1
            outbox.put(Record(Op.CANCEL, 0, 1, 0, Cancel(put)))
        elif step == "send":
            wire.append(outbox.pending())
        elif step == "lose" and wire:
            wire.pop(0)
        elif step == "deliver" and wire:
            deliver(wire.pop(0))
        elif step == "double" and wire:
            deliver(wire[0])
        elif step == "late" and wire:
            deliver(wire.pop())
        elif step == "ack" and acks:
            outbox.ack(acks.pop())
        assert taken == list(range(1, len(taken) + 1))
        assert outbox.acked <= inbox.last_seq <= outbox.last_seq
    deliver(outbox.pending())
    outbox.ack(inbox.last_seq)
    assert taken == list(range(1, put + 1))
    assert len(outbox) == 0


def test_the_sender_is_bounded_and_a_message_too() -> None:
    outbox = Outbox()
    for number in range(UNACKED_MAX):
        outbox.put(Record(Op.CANCEL, 0, 1, 0, Cancel(number)))
    assert outbox.full
    assert sum(1 for _ in unpack_all(outbox.pending())) == RECORDS_PER_MESSAGE_MAX
    assert sum(1 for _ in unpack_all(outbox.pending(reserved=10))) == RECORDS_PER_MESSAGE_MAX - 10
    outbox.ack(10**9)
    assert len(outbox) == 0


def test_an_acknowledgement_of_what_was_never_sent_is_passed_over() -> None:
    outbox = Outbox()
    outbox.put(Record(Op.CANCEL, 0, 1, 0, Cancel(1)))
    assert outbox.ack(-5) == 0
    assert outbox.ack(50) == 1
    assert outbox.put(Record(Op.CANCEL, 0, 1, 0, Cancel(2))).seq == 2
