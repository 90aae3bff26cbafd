"""Tells a path through the explorer's world as the trace of a run, to be read or drawn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from consensus_lab.node import Apply, Effect, NodeId, Note, Persist, Reply, Send, message_kind
from consensus_lab.sim.freeze import Peer
from consensus_lab.sim.local_steps import Action, Envelope
from consensus_lab.sim.trace import Record

if TYPE_CHECKING:
    from consensus_lab.sim.world import World

STEP_NS = 1_000_000
"""Length of one action in the trace."""


class Retelling:
    """One path, as records in the form of `trace`.

    Parameters
    ----------
    world : World
        In which the path was found.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.steps = world.steps
        self.told: list[Record] = []
        self.time_ns = 0
        self.sent = 0
        self.under_way: dict[int, list[int]] = {}

    def tell(self, path: Iterable[Action]) -> list[Record]:
        """Every action and its effects, in order."""
        state = self.world.initial()
        for node_id in self.world.ids:
            self._add(node_id, "start")
        for place, node_id in enumerate(self.world.ids):
            self._effects(node_id, self.steps.boot(place, {}).effects)
        for action in path:
            self.time_ns += STEP_NS
            node_id = self.world.ids[action.place]
            state, outcome = self.world.take(state, action)
            self._input(node_id, action)
            before = outcome.crashed_after
            self._effects(node_id, outcome.effects[:before])
            if before is not None:
                self._add(node_id, "crash")
                self._forget_own(node_id)
                self._add(node_id, "restart")
                self._effects(node_id, outcome.effects[before:])
            if outcome.failure is not None:
                self._add(node_id, "note", "failed-assertion", detail=outcome.failure)
        return self.told

    def _input(self, node_id: Peer, action: Action) -> None:
        if action.event == "timer":
            self._add(node_id, "timer", action.what)
        elif action.event == "submit":
            self._add(node_id, "submit", "submit", detail=self.steps.commands[action.what])
        elif action.event != "crash":
            sender, _, message = self.steps.envelopes[action.what]
            numbers = self.under_way[action.what]
            stays = action.event == "duplicate" or self.world.is_set
            number = numbers[0] if stays else numbers.pop(0)
            event = "drop" if action.event == "lose" else "receive"
            self._add(node_id, event, message_kind(message), sender, number, message)

    def _effects(self, node_id: Peer, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._sent(node_id, effect)
            elif isinstance(effect, Persist):
                self._add(node_id, "persist", detail=effect)
                self._add(node_id, "durable")
            elif isinstance(effect, Apply):
                self._add(node_id, "apply", detail=effect)
            elif isinstance(effect, Reply):
                self._add(node_id, "reply", detail=effect)
            elif isinstance(effect, Note):
                self._add(node_id, "note", effect.kind, detail=effect.detail)

    def _sent(self, node_id: Peer, effect: Send) -> None:
        self.sent += 1
        kind = message_kind(effect.message)
        self._add(node_id, "send", kind, effect.to, self.sent, effect.message)
        place = self.steps.places.get(effect.to)
        if effect.to == node_id and self.steps.own_messages_at_once:
            self._add(node_id, "receive", kind, node_id, self.sent, effect.message)
        elif place is not None:
            envelope = Envelope(node_id, self.world.ids[place], effect.message)
            number = self.steps.envelope_number(envelope)
            self.under_way.setdefault(number, []).append(self.sent)

    def _forget_own(self, node_id: Peer) -> None:
        """What a process sent itself is gone with its memory."""
        for number in self.under_way:
            if self.steps.is_own(number, node_id):
                self.under_way[number] = []

    def _add(
        self,
        node_id: NodeId,
        event: str,
        kind: str = "",
        peer: NodeId | None = None,
        number: int | None = None,
        detail: Any = None,
    ) -> None:
        other = None if peer is None else int(peer)
        self.told.append(Record(self.time_ns, int(node_id), event, kind, other, number, detail))
