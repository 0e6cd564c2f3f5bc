"""The part of the learning report about weights: what is kept and what is not, with reasons, and nothing of it acts."""

import re

from arr.reports.learning import learning_page
from shared_schemas.autorubric import AutoRubricParameters, SparseSelection, WeighedCriterion
from shared_schemas.learning import LearnFailure
from tests.arr.made_up_results import learn_result, learned_version, sparse_selection, weighed, weighing_job

HOSTILE = "<script>alert(1)</script> {{ 7 * 7 }} $x^2$ {% raw %}"
INERT = "&lt;script&gt;alert(1)&lt;/script&gt; {{ 7 * 7 }} $x^2$ {% raw %}"


def page_of(sparse: SparseSelection) -> str:
    result = learn_result(sparse=sparse, structured=False, report=None)
    return " ".join(learning_page(weighing_job(result), result, rubric=learned_version()).split())


def plots_of(page: str) -> list[str]:
    return re.findall(r"<svg role.*?</svg>", page)


def test_every_kept_and_every_negative_criterion_has_its_text_and_a_bar_on_one_scale() -> None:
    sparse = sparse_selection().model_copy(
        update={"kept": (weighed(1, 4.0), weighed(2, 1.0)), "negative": (weighed(3, -2.0),), "redundancy": ()}
    )
    page = page_of(sparse)
    assert "Is object 2 of the prompt in the image" in page
    assert page.index("+4.00") < page.index("+1.00") < page.index("Against the set") < page.index("−2.00")
    for length, colour in ((100.0, "accent"), (25.0, "accent"), (50.0, "second")):
        assert f"width: {length}%; background: var(--{colour})" in page
    assert "What became of the proposals" not in page


def test_the_path_marks_what_was_taken_and_says_what_decided_it() -> None:
    page = page_of(sparse_selection())
    assert "C = 1: the sparsest set whose loss on left-out pairs was as good as the best" in page
    path, _ = plots_of(page)
    assert 'aria-label="Weights over C; taken: C = 1, with 31 weights that are not 0"' in path
    assert "loss of left-out pairs" in path
    for number in ("1", "4", "n1", "n2"):
        assert f">{number}</text>" in path


def test_with_a_strength_that_was_asked_for_there_is_no_loss_to_draw() -> None:
    made = sparse_selection()
    points = tuple(point.model_copy(update={"loss": None, "standard_error": None}) for point in made.path)
    page = page_of(made.model_copy(update={"path": points}))
    assert "C = 1, as was asked for." in page
    assert "loss of left-out pairs" not in plots_of(page)[0]


def test_strengths_too_small_to_be_told_apart_are_not_drawn() -> None:
    made = sparse_selection()
    points = tuple(point.model_copy(update={"c": 0.0}) for point in made.path)
    [only] = plots_of(page_of(made.model_copy(update={"path": points})))
    assert "round 0: scored pairs" in only


def test_every_round_tells_its_accuracies_and_what_is_ranked_wrongly() -> None:
    page = page_of(sparse_selection())
    assert "round 2: scored pairs 88.0 %, validation 80.0 %, 29 ranked wrongly" in plots_of(page)[1]
    assert "43<small>14&nbsp;+&nbsp;20&nbsp;+&nbsp;9</small>" in page
    assert "11<small>3&nbsp;+&nbsp;6&nbsp;+&nbsp;2</small>" in page
    assert '<td class="number"><b>1</b></td>' in page  # the round whose set it is


def test_a_single_round_without_a_validation_part_makes_a_page() -> None:
    made = sparse_selection(num_kept=1, num_rounds=1, has_stable=False)
    alone = made.rounds[0].model_copy(update={"validation_accuracy": None})
    page = page_of(made.model_copy(update={"rounds": (alone,), "negative": (), "dropped": (), "num_pairs_left_out": 0}))
    assert "round 0: scored pairs 80.0 %, validation –" in page
    for heading in ("Against the set", "What is stable", "Which criteria say the same", "Dropped criteria"):
        assert heading not in page


def test_dropped_criteria_say_why() -> None:
    made = sparse_selection()
    rest = AutoRubricParameters().min_answered_share
    dropped = (*made.dropped, weighed(73, 0.0, answered_share=rest))
    page = page_of(made.model_copy(update={"dropped": dropped}))
    assert page.index("never answered") < page.index("answered for 41.0 % of the pairs, less than 80.0 %")
    assert "answered for 80.0 %, but others lack other pairs" in page


def test_of_hundreds_that_are_not_kept_some_are_shown_and_the_others_counted() -> None:
    many = tuple(weighed(number, 0.0, answered_share=0.1) for number in range(100, 1100))
    page = page_of(sparse_selection().model_copy(update={"dropped": many}))
    assert "980 more are in the job's result." in page
    assert "Theme number 119 of the set" in page
    assert "Theme number 120 of the set" not in page


def test_what_is_stable_stands_beside_the_top_n() -> None:
    page = page_of(sparse_selection())
    assert "the stable ones alone rank 79.0 % of the pairs as people do, the set 81.0 %" in page
    table = page[page.index("What is stable") : page.index("Which criteria say the same")]
    cells = [re.findall(r'<td class="number">(.*?)</td>', row)[:3] for row in table.split("<tr>")[2:]]
    assert cells == [
        ["1", "+2.67", "+1.50"],
        ["2", "+2.29", "+1.50"],
        ["3", "+1.97", "+1.50"],
        ["4", "+1.70", "–"],
        ["", "–", "+0.40"],
    ]


def test_that_nothing_is_stable_is_said() -> None:
    nothing = sparse_selection().model_copy(update={"stable": (), "stable_accuracy": None})
    assert "No criterion is selected for most random halves" in page_of(nothing)


def test_criteria_that_say_the_same_are_named() -> None:
    made = sparse_selection(num_kept=2)
    assert "Nearly the same say 1 and 2 (0.93)." in page_of(
        made.model_copy(update={"redundancy": ((1.0, 0.93), (0.93, 1.0))})
    )


def test_weights_of_a_job_that_failed_later_are_shown_all_the_same() -> None:
    result = learn_result(sparse=sparse_selection(), rubric=None, report=None, better_than_none=False)
    error = {"type": LearnFailure.NO_BETTER_THAN_NONE, "detail": "62.5 % and 60.4 %."}
    job = weighing_job(result, state="failed", reason=LearnFailure.NO_BETTER_THAN_NONE, error=error)
    page = learning_page(job, result, rubric=None)
    assert "What would have been the rubric set" in page
    assert "Is object 1 of the prompt in the image" in page


def test_text_of_criteria_is_inert_and_in_no_plot() -> None:
    def hostile(one: WeighedCriterion) -> WeighedCriterion:
        return one.model_copy(update={"theme": HOSTILE, "statement": f"{HOSTILE}?"})

    made = sparse_selection()
    stable = made.stable
    assert stable is not None
    lists = {"kept": made.kept, "negative": made.negative, "stable": stable, "dropped": made.dropped}
    changed = {name: tuple(map(hostile, criteria)) for name, criteria in lists.items()}
    page = page_of(made.model_copy(update=changed))
    assert "<script" not in page
    in_lists = 2 * (len(made.kept) + len(made.negative) + len(made.dropped)) + len(made.kept) + 1
    in_matrix = 2 * len(made.kept) ** 2
    assert page.count(INERT) == in_lists + in_matrix
    assert not any("alert" in plot for plot in plots_of(page))
