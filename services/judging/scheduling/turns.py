"""One level of fair sharing: flows that take turns.

Owns start-time fair queueing (Goyal, Vin & Cheng, *Start-time Fair Queuing*, SIGCOMM 1996) of named flows, by the sum
that each has queued. Refuses to hold what is queued.

The one rule: a flow that was away is neither owed nor owing. The virtual time stands at the highest finish tag served
so far (self-clocked: Golestani, INFOCOM 1994), so max(virtual time, last finish tag) is the virtual time itself: a flow
without anything queued needs no memory, and a fresh name for every call jumps no queue.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from itertools import count
from operator import attrgetter
from typing import Generic, TypeVar

FlowT = TypeVar("FlowT", bound="Flow")

_turn = attrgetter("turn")


class Flow:
    """What takes turns: a tenant among tenants, or a run among its tenant's runs."""

    def __init__(self) -> None:
        self.turn = (0, 0)  # start tag (cost served), then when it got that tag
        self.cost = 0  # queued


class Turns(Generic[FlowT]):
    """Flows with something queued, by name, in the order of their start tags."""

    def __init__(self, new_flow: Callable[[], FlowT]) -> None:
        """`new_flow` makes a flow with nothing queued."""
        self.cost = 0  # queued, of all flows
        self._new_flow = new_flow
        self._flows: dict[str, FlowT] = {}
        self._order: list[FlowT] = []  # by turn; a heap could not be walked in order
        self._virtual_time = 0
        self._ticket = count()

    def __iter__(self) -> Iterator[FlowT]:
        """The flows, the one whose turn it is first."""
        return iter(self._order)

    def __contains__(self, name: str) -> bool:
        """Whether the flow has anything queued."""
        return name in self._flows

    def __getitem__(self, name: str) -> FlowT:
        """The flow of that name; KeyError if it has nothing queued."""
        return self._flows[name]

    def grow(self, name: str, cost: int) -> FlowT:
        """Queue `cost` more for a flow, which lines up now if it had nothing queued."""
        flow = self._flows.get(name)
        if flow is None:
            flow = self._flows[name] = self._new_flow()
            self._line_up(flow, self._virtual_time)
        flow.cost += cost
        self.cost += cost
        return flow

    def charge(self, name: str, cost: int) -> None:
        """Serve `cost` of a flow: its finish tag is its next start tag."""
        flow = self._flows[name]
        self._step_out(flow)
        finish = flow.turn[0] + cost
        self._virtual_time = max(self._virtual_time, finish)
        self._line_up(flow, finish)

    def shrink(self, name: str, cost: int) -> None:
        """Take `cost` off what a flow has queued; without any left it is forgotten."""
        flow = self._flows[name]
        flow.cost -= cost
        self.cost -= cost
        if not flow.cost:
            self._step_out(flow)
            del self._flows[name]

    def work_ahead(self, name: str, own: int) -> int:
        """Cost served until `own` of the flow `name` is, when all flows advance alike."""
        return own + sum(min(flow.cost, own) for other, flow in self._flows.items() if other != name)

    def _line_up(self, flow: FlowT, start: int) -> None:
        flow.turn = (start, next(self._ticket))
        insort(self._order, flow, key=_turn)

    def _step_out(self, flow: FlowT) -> None:
        del self._order[bisect_left(self._order, flow.turn, key=_turn)]
