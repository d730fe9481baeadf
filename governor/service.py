"""The governor's loop: what has come goes into the controller, what it decides is published.

It keeps nothing on disk: the number of the last epoch is in the zone's digest.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from governor import voice
from governor.controller import Controller, Decision
from governor.gp.posterior import Floats, Hyperparameters
from governor.settings import GovernorSettings
from tegcore.clock import Clock
from tegcore.errors import RefusedError
from tegcore.field.potential import evaluate
from tegcore.units import TICK_NS
from tegcore.wire import control, topics
from tegcore.wire.messages import Certificate, Digest, Rates, Telemetry
from tegcore.wire.records import Reason
from tegcore.wire.signing import Keyring
from tegcore.wire.topics import Channel, Topic
from tegcore.wire.transport import Transport
from tegio.control import Peer
from tegio.executive import Executive
from tegio.logs import event
from tegio.notify import notify
from tegio.users import demand_operator
from tegio.wire import Wire

QUEUE_MESSAGES_MAX = 20_000
HISTORY_MAX = 120
VIEW_GRID = 16
FIT_HOSTS_MIN = 8
"""Of fewer hosts nothing can be learned, and scikit-learn is not worth its memory."""


class GovernorService:
    """The governor of one zone.

    Args:
        settings: Of the governor.
        keyring: The governor's key and the members'.
        transport: To the broker, not started yet.
        clock: The boot-time clock.
    """

    def __init__(self, settings: GovernorSettings, keyring: Keyring, transport: Transport, clock: Clock) -> None:
        self._settings = settings
        self._wire = Wire(transport, keyring)
        self._side = float(1 << settings.zone_k)
        self._executive = Executive(clock, TICK_NS, self._cycle)
        self._queue: deque[Telemetry | Digest] = deque(maxlen=QUEUE_MESSAGES_MAX)
        self._history: deque[Decision] = deque(maxlen=HISTORY_MAX)
        self._cycles = 0
        self._fit: asyncio.Task[None] | None = None
        self.controller = Controller(settings.epoch_ticks, settings.policy())
        every = topics.every_host(settings.zone, Channel.TELEMETRY)
        self._wire.hear(every, self._queue.append)
        self._wire.hear(str(Topic(settings.zone, Channel.DIGEST)), self._queue.append)

    async def run(self) -> None:
        """Govern until stopped."""
        await self._wire.transport.start()
        notify("READY=1")
        event("governor.ready", zone=self._settings.zone, epoch_ticks=self._settings.epoch_ticks)
        await self._executive.run()
        notify("STOPPING=1")
        if self._fit is not None:
            await asyncio.wait([self._fit])
        await self._wire.transport.stop()

    def stop(self) -> None:
        """End after the cycle that is under way."""
        self._executive.stop()

    async def _cycle(self, _now_ns: int) -> None:
        self._cycles += 1
        if self._cycles % 20 == 0:
            notify("WATCHDOG=1")
        for _ in range(len(self._queue)):
            self._take_in(self._queue.popleft())
        for said in voice.due(self.controller, self._settings.zone):
            self._wire.publish(Topic(self._settings.zone, said.channel), said.message, retain=said.retain)
            if isinstance(said.message, Certificate):
                self._decided()
            elif isinstance(said.message, Rates) and not said.retain:
                event("governor.admission_closed", h=round(self.controller.verdict.h, 3))

    def _take_in(self, message: Telemetry | Digest) -> None:
        """Hand a message to the controller; what nobody foresaw ends no governor."""
        try:
            if isinstance(message, Digest):
                self.controller.take(message, self._side)
            else:
                self.controller.hear(message)
        except Exception as error:
            topic = Topic(self._settings.zone, Channel.TELEMETRY, getattr(message, "host", ""))
            self._wire.refused(str(topic), Reason.UNDECODABLE, error)

    def _decided(self) -> None:
        decision = self.controller.decision
        assert decision is not None, "a certificate is of a decision"
        self._history.append(decision)
        event("governor.epoch", epoch=decision.epoch, phase=decision.phase.value, g=round(decision.g, 3))
        self._tune()

    def _tune(self) -> None:
        """Fit hyperparameters to what is heard, beside the loop; scikit-learn is imported there, once."""
        positions, values = self.controller.sample()
        if len(values) >= FIT_HOSTS_MIN and (self._fit is None or self._fit.done()):
            self._fit = asyncio.create_task(self._fitted(positions, values))

    async def _fitted(self, positions: Floats, values: Floats) -> None:
        hyper, side = self.controller.hyper, self._side
        seed = len(self._history)

        def fit() -> Hyperparameters:
            from governor.gp.fit import fitted  # noqa: PLC0415 - 60 MB and a second, in a thread and only once wanted

            return fitted(positions, values, side, hyper, seed)

        self.controller.tune(await asyncio.get_running_loop().run_in_executor(None, fit))

    async def answer(self, peer: Peer, request: control.AnyRequest) -> control.Reply | AsyncIterator[control.Reply]:
        """Answer a request over the control socket."""
        match request:
            case control.GovernorView():
                return control.Reply(data=self._view())
            case control.HostsView():
                return control.Reply(data=self.controller.hosts())
            case control.FieldView():
                return control.Reply(data=self._field_view())
            case control.PauseGovernor():
                demand_operator(peer.uid, self._settings.operators)
                self.controller.paused = request.on
                return control.Reply(data=self._view())
            case _:
                raise RefusedError(f"the governor does not answer {type(request).__name__}")

    def _view(self) -> dict[str, Any]:
        history = [decision._asdict() | {"phase": decision.phase.value} for decision in self._history]
        return {
            "zone": self._settings.zone,
            "paused": self.controller.paused,
            "decision": history[-1] if history else None,
            "history": history,
            "friction": self.controller.friction,
            "admission": "closed" if self.controller.verdict.closed and not self.controller.paused else "open",
            "hyperparameters": self.controller.hyper._asdict(),
            "samples_rejected": self.controller.rejected,
            "not_taken_in": dict(self._wire.not_taken_in),
        }

    def _field_view(self) -> dict[str, Any]:
        frame = self.controller.frame
        if frame is None:
            return {"grid": 0, "values": [], "tau": 0}
        axis = (np.arange(VIEW_GRID) + 0.5) * self._side / VIEW_GRID
        x, y = np.meshgrid(axis, axis)
        sample = evaluate(frame, np.stack((x.ravel(), y.ravel()), axis=-1))
        return {"grid": VIEW_GRID, "values": [round(float(value), 4) for value in sample.value.value], "tau": frame.tau}
