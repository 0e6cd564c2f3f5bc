"""The report of learning: what was learned as text, what became of the proposals, and why nothing was published."""

from pathlib import Path

from arr.reports.learning import learning_page, write_learning_report
from shared_schemas.jobs import Job
from shared_schemas.learning import ProposalCounts
from shared_schemas.rubrics import Criterion, RubricContent, Task
from tests.arr.made_up_results import evaluation, finished_job, learn_result, learned_version, rubric_report

HOSTILE = "<script>alert(1)</script> {{ 7 * 7 }} {% raw %}"
INERT = "&lt;script&gt;alert(1)&lt;/script&gt; {{ 7 * 7 }} {% raw %}"


def words(page: str) -> str:
    return " ".join(page.split())


def test_the_page_has_the_rubrics_the_proposals_the_costs_and_the_evaluation() -> None:
    result = learn_result()
    page = words(learning_page(finished_job(result), result, rubric=learned_version()))
    assert "<h1>shapes@3, learned from labelled pairs</h1>" in page
    assert "Tip 2: every named object is there, in the number that is asked for." in page
    for part in ("28 verified as proposed", "6 verified after revision", "2 discarded", "143 different criteria"):
        assert part in page
    assert '<th>all</th><th class="number">1,585</th><th class="number">1,315,300</th>' in page
    assert "Accuracy, and what the order does to it" in page
    assert "<code>parameters.criteria_per_pair</code></td><td>4</td>" in page


def test_what_was_not_published_says_why() -> None:
    result = learn_result(rubric=None, better_than_none=False, p_value=0.31, structured=False, structure_problem="lost")
    error = {"type": "no-better-than-none", "detail": "62.5 % and 60.4 %."}
    job = finished_job(result, state="failed", reason="no-better-than-none", error=error)
    page = words(learning_page(job, result, rubric=None))
    assert "<h1>shapes: nothing was published</h1>" in page
    assert "<b>no-better-than-none</b>: 62.5 % and 60.4 %." in page
    assert "They were not grouped into themes: lost" in page
    assert 'class="bad">no</b> (p = 0.31)' in page


def test_what_was_published_although_it_is_no_better_says_so() -> None:
    result = learn_result(better_than_none=False, p_value=0.31)
    page = words(learning_page(finished_job(result), result, rubric=learned_version()))
    assert "Published all the same, as was asked for" in page


def test_evidence_of_a_job_that_failed_early_makes_a_page_too() -> None:
    nothing = ProposalCounts(proposed=0, verified_at_once=0, verified_after_revision=0, discarded=0, refused_criteria=0)
    result = learn_result(rubric=None, proposals=nothing, report=None, stages=(), p_value=None, better_than_none=False)
    job = finished_job(result, state="failed", reason="all-ties", error={"type": "all-ties", "detail": "All tie."})
    page = learning_page(job, result, rubric=None)
    assert "All tie." in page
    assert "How it measures" not in page
    assert "What it took" not in page
    assert "What became of the proposals" not in page


def test_text_of_rubrics_jobs_and_errors_is_inert() -> None:
    content = RubricContent(
        task=Task.T2I, task_description=HOSTILE, criteria=(Criterion(id="c1", theme=HOSTILE, tips=(HOSTILE,)),)
    )
    rubric = learned_version().model_copy(update={"content": content})
    result = learn_result(report=evaluation(rubric_report()), structured=False, structure_problem=HOSTILE)
    job = finished_job(
        result, error={"type": "x", "detail": HOSTILE}, parameters={"name": HOSTILE, HOSTILE: {"a": HOSTILE}}
    )
    page = learning_page(job, result, rubric=rubric)
    assert "<script" not in page
    assert page.count(INERT) == 8  # description, theme, tip, problem, detail, name; key and value of a parameter


def test_the_whole_job_is_written_beside_the_page(tmp_path: Path) -> None:
    result = learn_result()
    job = finished_job(result)
    path = write_learning_report(tmp_path, job, result, rubric=learned_version())
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert Job.model_validate_json((tmp_path / "report.json").read_bytes()) == job
