"""Whose call goes next.

Owns the waiting items and who goes first: the most urgent class; within it tenants get equal cost served, then a
tenant's runs equal parts of the tenant's; first in, first out within a run. That is hierarchical start-time fair
queueing (Goyal, Vin & Cheng, *Start-time Fair Queuing*, SIGCOMM 1996), each level by `turns`. Refuses to know when or
where an item is served.

The one rule: an item is charged when it is handed out, never for waiting or for leaving.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from services.judging.callers import CallClass, Caller
from services.judging.scheduling.turns import Flow, Turns

T = TypeVar("T", bound=Hashable)


class _Run(Flow, Generic[T]):
    def __init__(self) -> None:
        super().__init__()
        self.costs: OrderedDict[T, int] = OrderedDict()  # of the items, oldest first


class _Tenant(Flow, Generic[T]):
    def __init__(self) -> None:
        super().__init__()
        self.runs: Turns[_Run[T]] = Turns(_Run)


def _always(_: object) -> bool:
    return True


class FairQueue(Generic[T]):
    """Items with a caller and a cost, handed out fairly. Items are unique while queued."""

    def __init__(self) -> None:
        self._callers: dict[T, Caller] = {}
        self._classes: dict[CallClass, Turns[_Tenant[T]]] = {each: Turns(_Tenant) for each in sorted(CallClass)}

    def __len__(self) -> int:
        return len(self._callers)

    @property
    def cost(self) -> int:
        """Cost of everything queued."""
        return sum(tenants.cost for tenants in self._classes.values())

    def items(self) -> Iterator[T]:
        """Everything queued, oldest first."""
        return iter(self._callers)

    def push(self, item: T, *, caller: Caller, cost: int) -> None:
        """Queue `item`, at the end of its run; `cost` is at least 1 and charged when it is served.

        Raises:
            ValueError: the item is queued already, or its cost is below 1.
        """
        if item in self._callers:
            raise ValueError("the item is queued already")
        if cost < 1:
            raise ValueError(f"an item costs at least 1, got {cost}")
        self._callers[item] = caller
        tenant = self._classes[caller.call_class].grow(caller.tenant, cost)
        tenant.runs.grow(caller.run, cost).costs[item] = cost

    def pop(self, is_eligible: Callable[[T], bool] = _always) -> T | None:
        """The item whose turn it is, or None; a flow whose oldest is not eligible is passed over, its turn kept."""
        for item in self._heads():
            if is_eligible(item):
                self._take(item, is_served=True)
                return item
        return None

    def advance(self, item: T) -> None:
        """Make a queued item the next of its run, whose turn comes no sooner for that; others are left alone."""
        caller = self._callers.get(item)
        if caller is not None:
            run = self._classes[caller.call_class][caller.tenant].runs[caller.run]
            run.costs.move_to_end(item, last=False)

    def remove(self, item: T) -> bool:
        """Drop an item whose caller left, at no charge to its flow; False if it is not queued."""
        if item not in self._callers:
            return False
        self._take(item, is_served=False)
        return True

    def work_ahead(self, caller: Caller, cost: int) -> int:
        """Cost that will have been served when a new item of `caller` has, itself included, if nothing else comes.

        All of the more urgent classes, then the fluid limit of fair queueing: while `own` of this flow is served, every
        other flow gets as much, or all that it has.
        """
        urgent = sum(tenants.cost for each, tenants in self._classes.items() if each < caller.call_class)
        tenants = self._classes[caller.call_class]
        own = cost
        if caller.tenant in tenants:
            runs = tenants[caller.tenant].runs
            own_run = cost + (runs[caller.run].cost if caller.run in runs else 0)
            own = runs.work_ahead(caller.run, own_run)
        return urgent + tenants.work_ahead(caller.tenant, own)

    def _heads(self) -> Iterator[T]:
        """The oldest item of every run, fairest first."""
        for tenants in self._classes.values():
            for tenant in tenants:
                for run in tenant.runs:
                    yield next(iter(run.costs))

    def _take(self, item: T, *, is_served: bool) -> None:
        caller = self._callers.pop(item)
        tenants = self._classes[caller.call_class]
        runs = tenants[caller.tenant].runs
        cost = runs[caller.run].costs.pop(item)
        for turns, name in ((runs, caller.run), (tenants, caller.tenant)):
            if is_served:
                turns.charge(name, cost)
            turns.shrink(name, cost)
