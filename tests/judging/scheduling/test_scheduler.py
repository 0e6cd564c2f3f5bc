"""The scheduler's loop, with calls that end when the test says so."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest

from services.judging.backend import BackendError, BackendIdentity, OpenAIBackend
from services.judging.callers import CallClass, Caller
from services.judging.fingerprint import fingerprint_of
from services.judging.observer import NullObserver
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.judging.scheduling.replica import Replica
from services.judging.scheduling.scheduler import Bundle, Prefix, Scheduler
from services.judging.scheduling.window import Window
from shared_schemas.problems import FailureType

IDENTITY = BackendIdentity(model="m", server_version="1", revision="", style="test")
FINGERPRINT = fingerprint_of(IDENTITY)
SHORT = Prefix(digest="short", num_chars=10, has_image=False)
LONG = Prefix(digest="long", num_chars=100_000, has_image=True)


@dataclass
class Desk:
    """A scheduler whose calls wait for the test to release them."""

    scheduler: Scheduler
    replicas: list[Replica]
    at_work: list[tuple[str, Replica, "asyncio.Event"]] = field(default_factory=list)
    most_at_once: int = 0

    def bundle(
        self, *, at_once: int = 2, prefix: Prefix = SHORT, fingerprint: str = FINGERPRINT, **caller: Any
    ) -> Bundle:
        return Bundle(caller=Caller(**caller), fingerprint=fingerprint, at_once=at_once, prefix=prefix)

    def letter(self) -> Bundle:
        """A call that writes."""
        caller = Caller(call_class=CallClass.LEARNING)
        return Bundle(caller=caller, fingerprint=FINGERPRINT, at_once=1, prefix=SHORT, writes=True)

    def ask(self, name: str, bundle: Bundle, *, fails_with: BackendError | None = None) -> "asyncio.Task[str]":
        async def call(backend: OpenAIBackend) -> str:
            replica = next(replica for replica in self.replicas if replica.backend is backend)
            entry = (name, replica, asyncio.Event())
            self.at_work.append(entry)
            self.most_at_once = max(self.most_at_once, len(self.at_work))
            try:
                await entry[2].wait()
            finally:
                self.at_work.remove(entry)
            if fails_with is not None:
                raise fails_with
            return name

        return asyncio.create_task(self.scheduler.run(bundle, call))

    def names(self) -> list[str]:
        return [name for name, _, _ in self.at_work]

    async def settle(self) -> None:
        """Let everything that can happen without a release happen."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def release(self, *names: str) -> None:
        for name, _, released in list(self.at_work):
            if not names or name in names:
                released.set()
        await self.settle()


@pytest.fixture
def desk() -> Callable[..., Desk]:
    def make(*, replicas: int = 1, window: int = 256) -> Desk:
        app = create_pixel_judge_app(PixelJudgeSettings())
        made = [Replica(OpenAIBackend.in_process(app), max_window=window) for _ in range(replicas)]
        for replica in made:
            replica.identified(IDENTITY)
        return Desk(scheduler=Scheduler(made, observer=NullObserver()), replicas=made)

    return make


async def test_both_orders_of_a_pair_go_to_one_replica_at_once(desk) -> None:
    office = desk(replicas=3)
    bundles = [office.bundle() for _ in range(6)]
    tasks = [office.ask(f"{number}", bundle) for number, bundle in enumerate(bundles) for _ in range(2)]
    await office.settle()
    assert len(office.at_work) == 12
    for number in range(6):
        assert len({replica for name, replica, _ in office.at_work if name == str(number)}) == 1
    assert [replica.in_flight for replica in office.replicas] == [4, 4, 4]
    await office.release()
    assert len(await asyncio.gather(*tasks)) == 12
    assert [replica.in_flight for replica in office.replicas] == [0, 0, 0]


async def test_a_few_calls_begin_in_one_turn_of_the_event_loop_and_the_others_in_the_next(desk) -> None:
    office = desk(replicas=10)
    tasks = [office.ask("call", bundle) for bundle in [office.bundle() for _ in range(20)] for _ in range(2)]
    begun = [0]
    for _ in range(20):
        await asyncio.sleep(0)
        begun.append(len(office.at_work))
    assert begun[-1] == len(tasks)
    assert max(after - before for before, after in pairwise(begun)) == 8
    await office.release()
    await asyncio.gather(*tasks)


async def test_a_pair_waits_rather_than_being_parted(desk) -> None:
    office = desk(window=3)
    tasks = [office.ask(f"{number}", bundle) for number in range(2) for bundle in [office.bundle()] for _ in range(2)]
    await office.settle()
    assert office.names() == ["0", "0"]
    await office.release()
    await office.release()
    await asyncio.gather(*tasks)


async def test_no_more_calls_are_under_way_than_the_window_allows(desk) -> None:
    office = desk(window=4)
    tasks = [office.ask(f"{number}", office.bundle(at_once=1)) for number in range(50)]
    while not all(task.done() for task in tasks):
        await office.settle()
        await office.release()
    assert office.most_at_once == 4


async def test_tenants_take_turns_however_much_one_of_them_has_queued(desk) -> None:
    office = desk(window=2)
    tasks = [office.ask("greedy", office.bundle(tenant="greedy")) for _ in range(40)]
    await office.settle()
    tasks += [office.ask("modest", office.bundle(tenant="modest")) for _ in range(4)]
    await office.settle()
    served: Counter[str] = Counter()
    while served["modest"] < 4:
        served.update(office.names())
        await office.release()
    assert served["greedy"] <= 8
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_rewards_go_before_learning(desk) -> None:
    office = desk(window=1)
    first = office.ask("first", office.bundle(at_once=1))
    await office.settle()
    learning = office.ask("learning", office.bundle(at_once=1, call_class=CallClass.LEARNING))
    await office.settle()
    reward = office.ask("reward", office.bundle(at_once=1, call_class=CallClass.REWARD))
    await office.settle()
    await office.release("first")
    assert office.names() == ["reward"]
    await office.release()
    await office.release()
    await asyncio.gather(first, learning, reward)


async def test_calls_that_write_leave_half_of_the_window_to_others(desk) -> None:
    office = desk(window=5)
    letters = [office.ask("letter", office.letter()) for _ in range(9)]
    await office.settle()
    assert office.names() == ["letter"] * 3
    pair = [office.ask("pair", bundle) for bundle in [office.bundle()] for _ in range(2)]
    await office.settle()
    assert Counter(office.names()) == {"letter": 3, "pair": 2}
    letters[0].cancel()
    await office.settle()
    assert Counter(office.names()) == {"letter": 3, "pair": 2}
    while office.at_work:
        await office.release()
    assert len(await asyncio.gather(*pair, *letters[1:])) == 10
    assert office.replicas[0].has_room_to_write


async def test_a_replica_for_writing_alone_is_used_to_the_full() -> None:
    app = create_pixel_judge_app(PixelJudgeSettings())
    replica = Replica(OpenAIBackend.in_process(app), max_window=4, writing_share=1.0)
    replica.identified(IDENTITY)
    office = Desk(scheduler=Scheduler([replica], observer=NullObserver()), replicas=[replica])
    letters = [office.ask("letter", office.letter()) for _ in range(6)]
    await office.settle()
    assert len(office.at_work) == 4
    await office.release()
    await office.release()
    await asyncio.gather(*letters)


async def test_how_long_writing_takes_says_nothing_about_verdicts(desk) -> None:
    office = desk(window=4)
    for bundle, is_known in ((office.letter(), False), (office.bundle(at_once=1), True)):
        task = office.ask("call", bundle)
        await office.settle()
        await office.release()
        await task
        assert (office.scheduler.seconds_until_done(Caller(), 1000) > 0) is is_known


async def test_a_bundle_that_failed_on_one_replica_goes_to_another(desk) -> None:
    office = desk(replicas=2)
    bundle = office.bundle(at_once=1)
    gone = BackendError(FailureType.JUDGE_UNAVAILABLE, "gone")
    first = office.ask("first", bundle, fails_with=gone)
    await office.settle()
    broken = office.at_work[0][1]
    await office.release()
    with pytest.raises(BackendError, match="gone"):
        await first
    second = office.ask("second", bundle)
    await office.settle()
    assert office.at_work[0][1] is not broken
    await office.release()
    await second


async def test_an_open_breaker_gets_nothing_until_it_has_been_probed(desk) -> None:
    office = desk()
    gone = BackendError(FailureType.JUDGE_UNAVAILABLE, "gone")
    failing = [office.ask("failing", office.bundle(at_once=1), fails_with=gone) for _ in range(3)]
    await office.settle()
    await office.release()
    await asyncio.gather(*failing, return_exceptions=True)
    waiting = office.ask("waiting", office.bundle(at_once=1))
    await office.settle()
    assert office.names() == []
    office.replicas[0].identified(IDENTITY)
    office.scheduler.dispatch()
    await office.settle()
    assert office.names() == ["waiting"]
    await office.release()
    await waiting


async def test_a_replica_that_names_a_retry_after_is_left_alone_until_then(desk) -> None:
    office = desk()
    busy = BackendError(FailureType.JUDGE_OVERLOADED, "busy", status=429, retry_after_seconds=0.05)
    refused = office.ask("refused", office.bundle(at_once=1), fails_with=busy)
    await office.settle()
    await office.release()
    with pytest.raises(BackendError):
        await refused
    until = office.replicas[0].paused_until
    waiting = office.ask("waiting", office.bundle(at_once=1))
    await office.settle()
    assert office.names() == []
    while not office.at_work:  # noqa: ASYNC110 - what is waited for is the scheduler's own timer
        await asyncio.sleep(0.005)
    assert asyncio.get_running_loop().time() >= until
    await office.release()
    await waiting


async def test_a_caller_that_leaves_the_queue_leaves_no_trace(desk) -> None:
    office = desk(window=1)
    first = office.ask("first", office.bundle(at_once=1))
    await office.settle()
    leaving, bundle = [], office.bundle()
    for name in ("leaving", "also leaving"):
        leaving.append(office.ask(name, bundle))
    staying = office.ask("staying", office.bundle(at_once=1))
    await office.settle()
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    assert office.scheduler.num_queued_calls == 1
    await office.release("first")
    assert office.names() == ["staying"]
    await office.release()
    await asyncio.gather(first, staying)
    assert office.replicas[0].in_flight == 0


async def test_a_caller_that_leaves_in_the_turn_it_was_served_gives_its_slot_back(desk) -> None:
    office = desk(window=1)
    first = office.ask("first", office.bundle(at_once=1))
    await office.settle()
    leaving = office.ask("leaving", office.bundle(at_once=1))
    await office.settle()
    office.replicas[0].end()
    office.scheduler.dispatch()  # gives the slot to `leaving`, which has not run yet
    leaving.cancel()
    office.replicas[0].begin(1)
    await office.release()
    await asyncio.gather(first, leaving, return_exceptions=True)
    await office.settle()
    assert office.replicas[0].in_flight == 0


async def test_cancelling_a_call_under_way_frees_its_slot(desk) -> None:
    office = desk(window=1)
    stuck = office.ask("stuck", office.bundle(at_once=1))
    next_one = office.ask("next", office.bundle(at_once=1))
    await office.settle()
    assert office.names() == ["stuck"]
    stuck.cancel()
    await office.settle()
    assert office.names() == ["next"]
    await office.release()
    await asyncio.gather(stuck, next_one, return_exceptions=True)
    assert office.replicas[0].in_flight == 0


async def test_one_criterion_of_a_new_image_goes_ahead_of_the_many(desk) -> None:
    office = desk()
    bundle = office.bundle(at_once=1, prefix=LONG)
    tasks = [office.ask(f"{number}", bundle) for number in range(8)]
    await office.settle()
    assert office.names() == ["0"]
    await office.release()
    assert office.names() == [str(number) for number in range(1, 8)]
    await office.release()
    await asyncio.gather(*tasks)


async def test_the_criteria_of_an_image_follow_their_leader_before_the_next_image_begins(desk) -> None:
    office = desk(window=2)
    bundles = {name: office.bundle(at_once=1, prefix=replace(LONG, digest=name)) for name in "abcd"}
    tasks = [office.ask(name, bundle) for name, bundle in bundles.items() for _ in range(4)]
    begun: list[str] = []
    while not all(task.done() for task in tasks):
        await office.settle()
        begun += office.names()
        await office.release()
    assert "".join(begun) == "ababababcdcdcdcd"
    await asyncio.gather(*tasks)


async def test_the_first_pair_of_a_run_goes_ahead_whole_and_the_rest_follow_it(desk) -> None:
    office = desk()
    tasks = [office.ask(f"{n}", bundle) for n in range(4) for bundle in [office.bundle(prefix=LONG)] for _ in range(2)]
    await office.settle()
    assert office.names() == ["0", "0"]
    await office.release()
    assert sorted(office.names()) == ["1", "1", "2", "2", "3", "3"]
    await office.release()
    await asyncio.gather(*tasks)


async def test_a_lone_pair_never_waits_for_its_own_other_order(desk) -> None:
    office = desk()
    bundle = office.bundle(prefix=LONG)
    tasks = [office.ask(name, bundle) for name in ("forward", "backward")]
    await office.settle()
    assert office.names() == ["forward", "backward"]
    await office.release()
    await asyncio.gather(*tasks)


async def test_a_leader_that_fails_lets_another_lead(desk) -> None:
    office = desk()
    refused = BackendError(FailureType.JUDGE_REFUSED, "no")
    bundle = office.bundle(at_once=1, prefix=LONG)
    tasks = [office.ask("0", bundle, fails_with=refused), *(office.ask(f"{n}", bundle) for n in range(1, 8))]
    await office.settle()
    await office.release()
    assert office.names() == ["1"]
    await office.release()
    assert len(office.names()) == 6
    await office.release()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_giving_up_fails_what_waits_and_leaves_what_is_under_way(desk) -> None:
    office = desk(window=1)
    under_way = office.ask("under way", office.bundle(at_once=1))
    waiting = office.ask("waiting", office.bundle(at_once=1))
    await office.settle()
    office.scheduler.give_up("nobody is there")
    with pytest.raises(BackendError, match="nobody is there") as caught:
        await waiting
    assert caught.value.type is FailureType.JUDGE_UNAVAILABLE
    await office.release()
    assert await under_way == "under way"
    assert office.scheduler.num_queued_calls == 0


async def test_a_question_for_another_judge_is_never_answered_by_this_one(desk) -> None:
    office = desk()
    foreign = office.ask("foreign", office.bundle(at_once=1, fingerprint="sha256:other", run="earlier"))
    own = office.ask("own", office.bundle(at_once=1))
    await office.settle()
    assert office.names() == ["own"]
    await office.release()
    await own
    office.scheduler.follow(FINGERPRINT)
    with pytest.raises(BackendError, match="has become another one"):
        await foreign


async def test_what_comes_late_for_a_judge_that_is_no_more_fails_and_holds_up_nobody(desk) -> None:
    office = desk()
    office.scheduler.follow(FINGERPRINT)
    late = office.ask("late", office.bundle(at_once=1, fingerprint="sha256:other"))
    own = office.ask("own", office.bundle(at_once=1))
    await office.settle()
    assert office.names() == ["own"]
    with pytest.raises(BackendError, match="has become another one") as caught:
        await late
    assert caught.value.type is FailureType.JUDGE_UNAVAILABLE
    await office.release()
    await own


async def test_what_was_under_way_when_the_judge_became_another_counts_for_neither(desk) -> None:
    office = desk()
    asked = office.ask("asked", office.bundle(at_once=1))
    await office.settle()
    office.replicas[0].identified(replace(IDENTITY, model="another"))
    await office.release()
    with pytest.raises(BackendError, match="has become another one"):
        await asked
    assert office.replicas[0].in_flight == 0


async def test_the_rest_of_a_bundle_moves_on_when_its_replica_has_become_another_judge(desk) -> None:
    office = desk(replicas=2)
    bundle = office.bundle(at_once=1, prefix=LONG)
    tasks = [office.ask(f"{number}", bundle) for number in range(6)]
    await office.settle()
    [(_, leader, _)] = office.at_work
    leader.identified(replace(IDENTITY, model="another"))
    await office.release()
    assert [replica is leader for _, replica, _ in office.at_work] == [False]
    await office.release()
    await office.release()
    assert [task.exception() is None for task in tasks] == [False, True, True, True, True, True]


async def test_a_pair_is_not_left_behind_by_single_calls_that_take_every_free_slot(desk) -> None:
    office = desk(window=4)
    later = [
        office.ask(f"single {number}", office.bundle(at_once=1, call_class=CallClass.LEARNING)) for number in range(20)
    ]
    await office.settle()
    bundle = office.bundle()
    pair = [office.ask("pair", bundle) for _ in range(2)]
    await office.settle()
    await office.release("single 0")
    assert office.names() == ["single 1", "single 2", "single 3"]
    await office.release("single 1")
    assert office.names() == ["single 2", "single 3", "pair", "pair"]
    while not all(task.done() for task in later):
        await office.release()
    await asyncio.gather(*pair, *later)


@pytest.mark.parametrize("size", [3, 13])
async def test_an_odd_window_grows_although_pairs_never_fill_it(desk, size: int) -> None:
    office = desk()
    office.replicas[0].window = Window(initial=size)
    tasks = [office.ask(f"{n}", bundle) for n in range(40) for bundle in [office.bundle()] for _ in range(2)]
    await office.settle()
    assert len(office.at_work) == size - 1
    await office.release()
    assert office.replicas[0].window.limit > size
    while not all(task.done() for task in tasks):
        await office.release()


async def test_a_leader_that_leaves_as_its_turn_comes_lets_another_lead(desk) -> None:
    office = desk(window=2)
    busy = [office.ask("busy", office.bundle(at_once=1)) for _ in range(2)]
    await office.settle()
    gone = office.bundle(prefix=LONG)
    leaving = [office.ask("leaving", gone) for _ in range(2)]
    await office.settle()
    rest = [office.ask(f"{n}", bundle) for n in range(3) for bundle in [office.bundle(prefix=LONG)] for _ in range(2)]
    await office.settle()
    for task in leaving:
        task.cancel()
    office.replicas[0].end()
    office.replicas[0].end()
    office.scheduler.dispatch()  # in the same turn: nobody has noticed yet that they left
    office.replicas[0].begin(2)
    await office.settle()
    while not all(task.done() for task in rest):
        assert office.names(), "everybody waits for a leader that is gone"
        await office.release()
    await asyncio.gather(*busy, *leaving, *rest, return_exceptions=True)
    assert office.replicas[0].in_flight == 0


async def test_a_retry_after_of_an_hour_is_a_pause_of_seconds(desk) -> None:
    office = desk()
    busy = BackendError(FailureType.JUDGE_OVERLOADED, "busy", status=429, retry_after_seconds=3600.0)
    refused = office.ask("refused", office.bundle(at_once=1), fails_with=busy)
    await office.settle()
    await office.release()
    with pytest.raises(BackendError):
        await refused
    assert 5 < office.replicas[0].paused_until - asyncio.get_running_loop().time() <= 10
