"""The report of an evaluation: complete, inert, self-contained, the same every time."""

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from arr.reports.evaluation import evaluation_page, write_evaluation_report
from shared_schemas.evaluations import CriterionReport, EvaluationReport
from shared_schemas.rubrics import RubricIdentity
from tests.arr.made_up_results import (
    DIGEST,
    NO_CRITERIA,
    NO_LOG_PROBS,
    POINTWISE,
    estimate,
    evaluation,
    rubric_report,
)

VOID = {"meta", "br", "img", "hr"}
HOSTILE = "<script>alert(1)</script> {{ 7 * 7 }} {% raw %} $\\frac{ \" onload='x' 中文"


class Nesting(HTMLParser):
    """Complains about a tag that is closed where it is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: Counter[str] = Counter()
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> Nesting:
    parser = Nesting()
    parser.feed(page)
    assert parser.open == []
    return parser


def wide() -> EvaluationReport:
    """Ten rubrics, one of them with twenty criteria."""
    return evaluation(*(rubric_report("flux-t2i", n, themes=20 if n == 1 else 2) for n in range(1, 11)))


REPORTS = {
    "narrow": evaluation(rubric_report()),
    "wide": wide(),
    "without log-probabilities": evaluation(rubric_report(**NO_LOG_PROBS)),
    "pointwise": evaluation(rubric_report(**POINTWISE)),
    "nothing but the baseline": evaluation(rubric_report("shapes", None, **NO_CRITERIA)),
    "one criterion": evaluation(rubric_report(themes=1)),
    "no anchors": evaluation(rubric_report(), anchors=()),
}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS.keys())
def test_every_report_is_one_sound_page_that_needs_nothing_else(report: EvaluationReport) -> None:
    page = evaluation_page(report)
    assert parsed(page).seen["svg"] >= 1
    assert re.findall(r"""(?:src|href)=["'](?!#|data:)""", page) == []
    assert "@import" not in page
    assert "None" not in page


def test_rubric_text_is_inert_wherever_it_is_shown() -> None:
    criterion = CriterionReport(id="c1", theme=HOSTILE, auc=estimate(0.7), mean_score=0.5, num_pairs=9)
    twice: dict[str, Any] = {"criteria": (criterion, criterion), "redundancy": ((1.0, 0.9), (0.9, 1.0))}
    named = RubricIdentity(name="<script>$x^{", version=2, digest=DIGEST)
    rubric = rubric_report(**twice, rubric=named, failures={"<script>": 3})
    judge = {"model": HOSTILE, "fingerprint": DIGEST}
    page = evaluation_page(evaluation(rubric, judge=judge))
    found = parsed(page)
    assert found.seen["script"] == 0
    assert found.handlers == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt; {{ 7 * 7 }} {% raw %} $\\frac{" in page
    assert "中文" in page


def test_each_table_of_a_wide_report_ends_with_the_judge_without_rubrics() -> None:
    page = evaluation_page(wide())
    heads = re.findall(r"<thead>.*?</thead>", page, flags=re.DOTALL)
    names = [re.findall(r"flux-t2i@\w+", head) for head in heads]
    assert [len(each) for each in names] == [6, 6]
    assert all(each[-1] == "flux-t2i@none" for each in names)


def test_figures_that_there_are_not_leave_no_trace() -> None:
    page = evaluation_page(evaluation(rubric_report(**NO_LOG_PROBS), rubrics=(rubric_report(**NO_LOG_PROBS),)))
    assert "calibration error" not in page
    assert "Does confidence mean what it says?" not in page
    assert "Criterion by criterion" not in page
    assert "what the order does" in page
    pointwise = evaluation_page(evaluation(rubrics=(rubric_report(**POINTWISE),)))
    assert "what the order does" not in pointwise
    assert "gap between the two" not in pointwise
    assert "talked over" in pointwise


def test_the_head_names_the_best_version_and_what_it_gains() -> None:
    report = evaluation(rubric_report(version=1, accuracy=0.7), rubric_report(version=2, accuracy=0.805))
    page = evaluation_page(report)
    assert "shapes@2, the best of 2" in page
    assert "<b>+19.5</b>" in page  # 0.805 − 0.61
    assert "95&nbsp;% interval +10.5 to +27.5" in page
    assert "of 212 pairs" in page


def test_what_makes_figures_doubtful_is_said_before_them() -> None:
    sound = rubric_report(num_failed=0, failures={})
    assert "cautions" not in evaluation_page(evaluation(sound)).partition("</style>")[2]
    doubtful = rubric_report(num_learned_from=40, num_failed=40, failures={"judge-off-topic": 40})
    page = evaluation_page(evaluation(doubtful, rubric_report(version=2), num_prompts=12))
    said = page.partition('cautions">')[2].partition("</ul>")[0]
    assert "shapes@3 was learned from 40 of these pairs" in said
    assert "failed on 40 pairs with shapes@3" in said
    assert "With 12 prompts" in said
    assert "Of 2 versions the best is best partly by luck: it takes p ≤ 0.025 where one alone takes 0.05." in said
    assert said.count("<li>") == 4


def test_margins_of_images_that_are_scored_alone_are_no_nats() -> None:
    assert "0.041 nats" in evaluation_page(evaluation(rubrics=(rubric_report(),)))
    assert "nats" not in evaluation_page(evaluation(rubrics=(rubric_report(**POINTWISE),)))


def test_criteria_that_say_the_same_are_named() -> None:
    report = rubric_report(themes=3, redundancy=((1.0, 0.1, 0.84), (0.1, 1.0, 0.97), (0.84, 0.97, 1.0)))
    page = " ".join(evaluation_page(evaluation(report)).split())
    assert "Nearly the same say 2 and 3 (0.97), 1 and 3 (0.84)." in page


def test_plots_take_their_colours_from_the_page() -> None:
    svgs = re.findall(r"<svg.*?</svg>", evaluation_page(evaluation(rubric_report())), flags=re.DOTALL)
    drawn = "".join(svgs)
    assert "var(--accent)" in drawn
    assert "var(--ink)" in drawn
    assert set(re.findall(r"#[0-9a-f]{6}\b", drawn)) <= {"#ffffff"}  # the ground, which is transparent


def test_ids_of_two_plots_are_the_same_only_where_what_they_name_is() -> None:
    page = evaluation_page(evaluation(rubric_report()))
    named: dict[str, str] = {}
    for match in re.finditer(r'<(\w+) id="([^"]+)"[^>]*>.*?</\1>|<\w+ id="([^"]+)"[^>]*/>', page, flags=re.DOTALL):
        key = match[2] or match[3]
        assert named.setdefault(key, match[0]) == match[0]


def test_the_same_report_gives_the_same_page() -> None:
    assert evaluation_page(evaluation(rubric_report())) == evaluation_page(evaluation(rubric_report()))


def test_a_page_and_the_report_as_json_are_all_that_is_written(tmp_path: Path) -> None:
    report = evaluation(rubric_report())
    path = write_evaluation_report(tmp_path / "new" / "folder", report)
    assert path == tmp_path / "new" / "folder" / "report.html"
    assert sorted(each.name for each in path.parent.iterdir()) == ["report.html", "report.json"]
    assert EvaluationReport.model_validate_json((path.parent / "report.json").read_bytes()) == report
