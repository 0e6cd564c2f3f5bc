"""The model that writes, with the built-in judge: as itself, and as a server of its own."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from services.judging.callers import CallClass, Caller
from services.judging.chat import Chat, Written
from services.judging.chat_backend import ChatBackend
from services.judging.chat_cache import MemoryChatCache
from services.judging.images import JudgeImage
from services.judging.judge import Judge
from services.judging.observer import NullObserver
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.judging.questions import JudgeFailure
from services.judging.scheduling.replica_set import ReplicaSet
from services.judging.writing import Assignment, LabelledImages, Proposal, propose
from shared_schemas.rubrics import Language, Mode, Task

SOON = timedelta(seconds=20)
ABOUT = Assignment(
    task=Task.T2I, mode=Mode.PAIRWISE, language=Language.EN, task_description="", min_score=None, max_score=None
)

StartJudge = Callable[..., Awaitable[Judge]]


async def proposal_of(chat: Chat, *images: JudgeImage) -> Written[Proposal] | JudgeFailure:
    labelled = LabelledImages(prompt="a red circle", images=images, source=None, places=(1, 2), scores=None)
    messages = propose(labelled, about=ABOUT, num_criteria=3)
    caller = Caller(call_class=CallClass.LEARNING)
    return await chat.write(messages, schema=Proposal, seed=0, deadline=SOON, caller=caller)


async def test_the_judge_writes_criteria_among_its_verdicts(
    start_judge: StartJudge, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    judge = await start_judge(create_pixel_judge_app(PixelJudgeSettings()))
    chat = Chat(judge.replica_set, cache=MemoryChatCache())
    assert chat.identity.model == judge.identity.model
    answer = await proposal_of(chat, red_circle, blue_square)
    assert isinstance(answer, Written), answer
    assert len(answer.value.criteria) == 3
    assert answer.cost.judge_calls == 1
    again = await proposal_of(chat, red_circle, blue_square)
    assert isinstance(again, Written)
    assert (again.value, again.cached) == (answer.value, True)


async def test_as_a_server_of_its_own_it_writes_the_same(
    start_judge: StartJudge, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    app = create_pixel_judge_app(PixelJudgeSettings())
    judge = await start_judge(app)
    own_server = ReplicaSet(
        [ChatBackend.in_process(app)],
        max_window=4,
        probe_within=SOON,
        patience=timedelta(0),
        observer=NullObserver(),
        writing_share=1.0,
    )
    await own_server.start()
    answers = [
        await proposal_of(Chat(replicas, cache=MemoryChatCache()), red_circle, blue_square)
        for replicas in (judge.replica_set, own_server)
    ]
    await own_server.aclose()
    judged, own = answers
    assert isinstance(judged, Written)
    assert isinstance(own, Written)
    assert judged.value == own.value
