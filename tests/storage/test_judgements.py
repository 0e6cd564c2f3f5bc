from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.orm import InstrumentedAttribute

from services.judging.answers import Answer, ChoiceAnswer, LabelAnswer
from services.judging.questions import FIRST_SECOND, SECOND_FIRST, Asked
from services.storage.database import Database
from services.storage.judgements import JudgementRecord, JudgementRepository
from services.storage.tables import JudgementRow
from shared_schemas.problems import FailureType
from shared_schemas.reward import JudgeIdentity, Run
from shared_schemas.rubrics import Mode, RubricIdentity, RubricReference

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def digest(name: str) -> str:
    return f"sha256:{name.encode().hex():0>64}"


def asked(question: str, answer: Answer, **changes: object) -> Asked:
    values = {"key": digest(question[:8]), "cached": False, "seconds": 0.25} | changes
    return Asked(question=question, answer=answer, **values)  # type: ignore[arg-type]


FORWARD = LabelAnswer(log_p_first=-0.1, log_p_second=-2.4, label_mass=0.995, prompt_tokens=700, completion_tokens=1)
BACKWARD = LabelAnswer(log_p_first=-2.5, log_p_second=-0.09, label_mass=0.998, prompt_tokens=700, completion_tokens=1)

RECORD = JudgementRecord(
    created=NOON,
    tenant="lab-a",
    run=Run(id="flux-42", step=17, rank=3),
    request_id="r-1",
    group="p0",
    mode=Mode.PAIRWISE,
    rubric=RubricIdentity(name="shapes", version=3, digest=digest("shapes 3")),
    judge=JudgeIdentity(model="pixel-judge", fingerprint=digest("judge")),
    prompt="a red circle",
    first=digest("x"),
    second=digest("y"),
    source=None,
    asked=(asked(FIRST_SECOND, FORWARD), asked(SECOND_FIRST, BACKWARD, cached=True, seconds=None)),
    error=None,
    images_kept=False,
)


@pytest.fixture
def judgements(database: Database) -> JudgementRepository:
    return JudgementRepository(database)


async def test_a_judgement_comes_back_as_it_was_made(judgements: JudgementRepository) -> None:
    await judgements.add([RECORD])
    [found] = (await judgements.page(tenant=None, limit=10)).items
    assert found == await judgements.get(found.id, tenant="lab-a")
    assert (found.created, found.tenant, found.group, found.request_id) == (NOON, "lab-a", "p0", "r-1")
    assert (found.run, found.step, found.rank) == ("flux-42", 17, 3)
    assert (found.mode, found.rubric, found.judge) == (Mode.PAIRWISE, RECORD.rubric, RECORD.judge)
    assert (found.prompt, found.first, found.second, found.source) == (
        "a red circle", RECORD.first, RECORD.second, None,
    )  # fmt: skip
    forward, backward = found.answers
    assert (forward.question, forward.log_p_first, forward.log_p_second) == (FIRST_SECOND, -0.1, -2.4)
    assert (forward.label_mass, forward.chose_first, forward.cached, forward.latency_ms) == (0.995, True, False, 250.0)
    assert (backward.question, backward.chose_first, backward.cached, backward.latency_ms) == (
        SECOND_FIRST, False, True, None,
    )  # fmt: skip
    assert (found.error, found.images_kept) == (None, False)


async def test_a_choice_without_log_probabilities_is_a_choice_and_no_number(judgements: JudgementRepository) -> None:
    choice = asked(FIRST_SECOND, ChoiceAnswer(chose_first=True, prompt_tokens=9, completion_tokens=5))
    await judgements.add([replace(RECORD, asked=(choice,))])
    [found] = (await judgements.page(tenant=None, limit=10)).items
    answer = found.answers[0]
    assert (answer.log_p_first, answer.log_p_second, answer.label_mass) == (None, None, None)
    assert answer.chose_first


async def test_a_failure_is_a_row_with_the_answers_that_did_come(judgements: JudgementRepository) -> None:
    failed = replace(RECORD, asked=RECORD.asked[:1], error=FailureType.JUDGE_TIMEOUT, run=None, request_id=None)
    await judgements.add([failed, replace(failed, asked=())])
    newest, older = (await judgements.page(tenant=None, limit=10)).items
    assert (older.error, [answer.question for answer in older.answers]) == (FailureType.JUDGE_TIMEOUT, [FIRST_SECOND])
    assert (newest.answers, newest.run, newest.step, newest.rank, newest.request_id) == ((), None, None, None, None)


log_probs = st.floats(max_value=0.0, min_value=-1e6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(first=log_probs, second=log_probs, mass=st.floats(0.0, 1.0))
async def test_log_probabilities_come_back_bit_for_bit(
    judgements: JudgementRepository, first: float, second: float, mass: float
) -> None:
    answer = replace(FORWARD, log_p_first=first, log_p_second=second, label_mass=mass)
    await judgements.add([replace(RECORD, asked=(asked(FIRST_SECOND, answer),))])
    stored = (await judgements.page(tenant=None, limit=1)).items[0].answers[0]
    assert (stored.log_p_first, stored.log_p_second, stored.label_mass) == (first, second, mass)


async def test_judgements_are_listed_newest_first_in_pages(judgements: JudgementRepository) -> None:
    await judgements.add([replace(RECORD, group=f"p{n}") for n in range(5)])
    first = await judgements.page(tenant=None, limit=2)
    second = await judgements.page(tenant=None, limit=2, before=first.next)
    last = await judgements.page(tenant=None, limit=2, before=second.next)
    pages = [[item.group for item in page.items] for page in (first, second, last)]
    assert pages == [["p4", "p3"], ["p2", "p1"], ["p0"]]
    assert first.next == first.items[-1].id
    assert last.next is None


async def test_a_run_and_a_rubric_narrow_the_list(judgements: JudgementRepository) -> None:
    other_version = RubricIdentity(name="shapes", version=4, digest=digest("shapes 4"))
    none = RubricIdentity(name="shapes", version=None, digest=digest("none"))
    inline = RubricIdentity(name=None, version=None, digest=digest("inline"))
    rubrics = {"three": RECORD.rubric, "four": other_version, "none": none, "inline": inline}
    await judgements.add([replace(RECORD, group=group, rubric=rubric) for group, rubric in rubrics.items()])
    await judgements.add([replace(RECORD, group="other run", run=Run(id="sd3-1"))])

    async def groups(**filters: object) -> set[str]:
        page = await judgements.page(tenant=None, limit=100, **filters)  # type: ignore[arg-type]
        return {item.group for item in page.items}

    assert await groups(run="flux-42") == {"three", "four", "none", "inline"}
    assert await groups(run="sd3-1", rubric=digest("shapes 3")) == {"other run"}
    assert await groups(run="flux-42", rubric=RubricReference.parse("shapes")) == {"three", "four", "none"}
    assert await groups(run="flux-42", rubric=RubricReference.parse("shapes@4")) == {"four"}
    assert await groups(rubric=RubricReference.parse("shapes@none")) == {"none"}
    assert await groups(rubric=digest("inline")) == {"inline"}
    assert await groups(run="nobody") == set()


async def test_a_tenant_sees_its_own_judgements_only(judgements: JudgementRepository) -> None:
    await judgements.add([RECORD, replace(RECORD, tenant="lab-b", group="theirs")])
    theirs = (await judgements.page(tenant="lab-b", limit=10)).items
    assert [item.group for item in theirs] == ["theirs"]
    assert await judgements.get(theirs[0].id, tenant="lab-a") is None
    assert await judgements.get(theirs[0].id, tenant=None) == theirs[0]
    assert await judgements.get(theirs[0].id + 1, tenant=None) is None


async def test_the_oldest_go_first_and_no_id_is_given_twice(judgements: JudgementRepository) -> None:
    await judgements.add([replace(RECORD, created=NOON + timedelta(days=n), group=f"day {n}") for n in range(4)])
    before = NOON + timedelta(days=2, seconds=1)
    newest = (await judgements.page(tenant=None, limit=1)).items[0].id
    assert (await judgements.retire(before=before, limit=2)).num_judgements == 2
    left = (await judgements.page(tenant=None, limit=10)).items
    assert [item.group for item in left] == ["day 3", "day 2"]
    assert (await judgements.retire(before=before, limit=2)).num_judgements == 1
    assert (await judgements.retire(before=NOON + timedelta(days=9), limit=2)).num_judgements == 1
    await judgements.add([RECORD])
    assert (await judgements.page(tenant=None, limit=10)).items[0].id == newest + 1


async def test_what_another_judgement_keeps_is_not_given_up(judgements: JudgementRepository) -> None:
    old = replace(RECORD, images_kept=True, first=digest("x"), second=digest("y"), source=digest("s"))
    inline = RubricIdentity(name=None, version=None, digest=digest("inline"))
    new = replace(
        old, created=NOON + timedelta(days=1), first=digest("z"), second=digest("x"), source=None, rubric=inline
    )
    not_kept = replace(new, images_kept=False, second=digest("y"))
    await judgements.add([old, replace(old, rubric=inline), new, not_kept])
    retired = await judgements.retire(before=NOON + timedelta(seconds=1), limit=10)
    assert retired.image_digests == {digest("y"), digest("s")}
    assert retired.rubric_digests == frozenset()
    last = await judgements.retire(before=NOON + timedelta(days=2), limit=10)
    assert last.image_digests == {digest("x"), digest("z")}
    assert last.rubric_digests == {digest("inline")}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("column", [JudgementRow.first, JudgementRow.second, JudgementRow.source])
async def test_finding_out_who_needs_an_image_looks_at_kept_rows_only(
    database: Database, column: InstrumentedAttribute[str | None]
) -> None:
    query = select(column).where(JudgementRow.images_kept, column.in_(["a", "b"]))
    async with database.reading() as session:
        sql = query.compile(dialect=session.get_bind().dialect, compile_kwargs={"literal_binds": True})
        plan = " ".join(str(row) for row in await session.execute(text(f"EXPLAIN QUERY PLAN {sql}")))
    assert f"ix_judgements_kept_{column.key}" in plan
