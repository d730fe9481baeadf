"""What a governor says: the field, an epoch's rates and its certificate, an order to close admission.

What is said is done once, however often it is heard, by keys apart from those that operators draw.
"""

from collections.abc import Iterator
from typing import NamedTuple

from governor.controller import Controller, Decision
from tegcore.field.potential import FieldFrame
from tegcore.wire.messages import SCHEMA, Certificate, Field, Message, Rates
from tegcore.wire.records import Admit, Op, Record, SetCap, SetRates, SetReserve, pack_all
from tegcore.wire.topics import Channel

_RATES, _CAPS, _ADMIT, _RESERVES = 1 << 40, 1 << 41, 1 << 42, 1 << 43


class Said(NamedTuple):
    """A message that is to leave."""

    channel: Channel
    message: Message
    retain: bool = False


def due(controller: Controller, zone: str) -> Iterator[Said]:
    """All that a cycle leads to, once it has taken in what came."""
    if closing := controller.watch():
        yield Said(Channel.RATES, admission(controller, zone, closing))
    if decided := controller.decide():
        yield Said(Channel.RATES, rates(controller, zone, *decided), retain=True)
        yield Said(Channel.CERTIFICATE, certificate(zone, decided[0]), retain=True)
    if frame := controller.project():
        yield Said(Channel.FIELD, field(controller, zone, frame), retain=True)


def rate_records(epoch: int, rates: SetRates, caps: list[SetCap], reserves: list[SetReserve]) -> list[Record]:
    """An epoch's rates, price caps and reserves as commands for the ledger."""
    return [
        Record(Op.SET_RATES, 0, 0, _RATES | epoch, rates),
        *(Record(Op.SET_CAP, 0, 0, _CAPS | epoch << 8 | number, cap) for number, cap in enumerate(caps)),
        *(Record(Op.SET_RESERVE, 0, 0, _RESERVES | epoch << 8 | each.slot_class, each) for each in reserves),
    ]


def admission_record(tick: int, closing: Admit) -> Record:
    """The order to close admission that a tick brought."""
    return Record(Op.ADMIT, 0, 0, _ADMIT | tick, closing)


def rates(controller: Controller, zone: str, decision: Decision, decided: SetRates) -> Rates:
    """An epoch's rates."""
    records = pack_all(rate_records(decision.epoch, decided, controller.caps(), controller.reserves()))
    return Rates(SCHEMA, zone, decision.epoch, records, decision.tau)


def admission(controller: Controller, zone: str, closing: Admit) -> Rates:
    """An order to close admission."""
    digest = controller.digest
    assert digest is not None, "admission is closed because of a digest"
    return Rates(SCHEMA, zone, digest.epoch, admission_record(digest.tick, closing).packed(), digest.tau)


def certificate(zone: str, decision: Decision) -> Certificate:
    """Why an epoch was decided as it was."""
    return Certificate(
        SCHEMA,
        zone,
        decision.epoch,
        decision.tau,
        decision.phase.value,
        decision.reynolds,
        decision.entropy_rate,
        decision.g,
        decision.free_energy,
        decision.barrier,
        decision.bound,
        decision.cost,
        decision.stale,
    )


def field(controller: Controller, zone: str, frame: FieldFrame) -> Field:
    """The projected field."""
    policy, digest = controller.policy, controller.digest
    return Field(
        SCHEMA,
        zone,
        frame.tau,
        len(frame.weights.value),
        3.0 * frame.spacing,
        frame.mean,
        controller.hyper.noise,
        frame.weights.value.astype("<f4").tobytes(),
        frame.weights.rate.astype("<f4").tobytes(),
        digest.tick - controller.frame_tick if digest else 0,
        policy.temperature,
        controller.friction,
        policy.mu_ucr,
    )
