"""`arr judge --replay` against services that keep images, over real HTTP."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import Result

from arr.replay import Measure, compare
from reward_client import RewardResult
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.reward_api.app import create_app
from services.reward_api.settings import AuditImages, Settings
from shared_schemas.judgements import JudgementAnswer, JudgementDetail
from shared_schemas.reward import GroupError, GroupResult, JudgeIdentity, PairVerdict, RewardResponse, Status, Timing
from shared_schemas.reward import Usage as Cost
from shared_schemas.rubrics import Mode, RubricIdentity

Serving = Callable[..., AbstractContextManager[str]]

DIGEST = f"sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keeping")


@pytest.fixture(scope="module")
def keeping_url(serving: Serving, data_dir: Path) -> Iterator[str]:
    """A service with the pixel judge that keeps every image."""
    with serving(create_app(Settings(data_dir=data_dir, audit_images=AuditImages.ALL))) as url:
        yield url


@pytest.fixture
def judged(arr: Callable[..., Result], keeping_url: str, rubric_file: Path, wait_until) -> Callable[..., list[int]]:
    """`judged(…)` runs `arr judge` and returns the ids of the judgements that it left, oldest first."""
    arr("rubrics", "publish", "replayed", rubric_file, "--url", keeping_url)

    def run(*arguments: object, num: int = 1) -> list[int]:
        before = newest_ids(keeping_url)
        result = arr("judge", *arguments, "--url", keeping_url)
        assert result.exit_code == 0, result.output
        wait_until(lambda: len(newest_ids(keeping_url) - before) == num, what="writing the judgements")
        return sorted(newest_ids(keeping_url) - before)

    return run


def newest_ids(url: str) -> set[int]:
    """The newest judgements, replays left out: those are written whenever the writer gets to them."""
    items = httpx.get(f"{url}/judgements", params={"limit": 200}).json()["items"]
    return {item["id"] for item in items if not (item["run"] or "").startswith("replay:")}


def test_a_pair_replays_to_the_same_numbers(arr, judged, keeping_url: str, red_circle: Path, blue_square: Path) -> None:
    [id] = judged(red_circle, blue_square, "--prompt", "a red circle", "--rubric", "replayed")
    result = arr("judge", "--replay", id, "--url", keeping_url)
    assert result.exit_code == 0, result.output
    assert "the judge said the same" in result.output
    assert "differs" not in result.output
    again = json.loads(arr("judge", "--replay", id, "--json", "--url", keeping_url).output)
    assert (again["judgement"], again["identical"], again["same_judge"], again["same_rubric"]) == (id, True, True, True)
    measures = {measure["what"]: measure for measure in again["measures"]}
    assert measures["preferred"]["replayed"] == "first"
    assert measures["margin"]["recorded"] == measures["margin"]["replayed"] > 1
    assert "log-odds, second shown first" in measures


def test_a_replay_asks_the_judge_and_is_a_judgement_itself(
    arr, judged, keeping_url: str, red_circle: Path, blue_square: Path, wait_until
) -> None:
    [id] = judged(red_circle, blue_square, "--prompt", "a red circle, again", "--rubric", "replayed")
    assert arr("judge", "--replay", id, "--url", keeping_url).exit_code == 0

    def replays() -> list[dict[str, Any]]:
        items = httpx.get(f"{keeping_url}/judgements", params={"run": f"replay:{id}"}).json()["items"]
        return [answer for item in items for answer in item["answers"]]

    wait_until(lambda: bool(replays()), what="writing the replay")
    assert [answer["cached"] for answer in replays()] == [False, False]


@pytest.mark.parametrize(
    ("options", "num"),
    [
        (("--rubric", "replayed", "--mode", "pointwise"), 2),
        (("--rubric", "replayed", "--orders", "single"), 1),
        (("--rubric", "replayed", "--per-criterion"), 3),
        (("--rubric", "replayed@none"), 1),
    ],
)
def test_every_kind_of_judgement_replays(
    arr, judged, keeping_url: str, red_circle: Path, blue_square: Path, options: tuple[str, ...], num: int
) -> None:
    for id in judged(red_circle, blue_square, "--prompt", f"a red circle {options}", *options, num=num):
        again = json.loads(arr("judge", "--replay", id, "--json", "--url", keeping_url).output)
        assert again["identical"], again
        assert again["same_judge"]
        assert any(isinstance(measure["recorded"], float) for measure in again["measures"])


def test_an_edit_replays_with_its_source(arr, judged, keeping_url: str, red_circle: Path, blue_square: Path) -> None:
    [id] = judged(
        red_circle, blue_square, "--prompt", "make it red", "--source", blue_square, "--rubric", "replayed@none"
    )
    again = json.loads(arr("judge", "--replay", id, "--json", "--url", keeping_url).output)
    assert again["identical"], again


def test_a_judgement_by_a_rubric_set_with_a_guide_replays_with_its_exemplars(
    arr, judged, keeping_url: str, red_circle: Path, blue_square: Path, tmp_path: Path
) -> None:
    files = {path.name: path.read_bytes() for path in (red_circle, blue_square)}
    rows = json.dumps({"prompt": "a circle", "images": [*files], "rank": [1, 2]}).encode()
    parts = [("pairs", ("pairs.jsonl", rows)), *((name, (name, data)) for name, data in files.items())]
    assert httpx.post(f"{keeping_url}/datasets", files=parts).is_success
    preferred, dispreferred = (f"sha256:{hashlib.sha256(data).hexdigest()}" for data in files.values())
    exemplar = {"prompt": "a circle", "preferred": preferred, "dispreferred": dispreferred, "rationale": "it is round"}
    content = {"task": "t2i", "criteria": [{"id": "shape", "theme": "Shape"}], "guide": [exemplar]}
    (tmp_path / "guided.json").write_text(json.dumps(content))
    arr("rubrics", "publish", "guided", tmp_path / "guided.json", "--url", keeping_url)
    [id] = judged(red_circle, blue_square, "--prompt", "a red circle", "--rubric", "guided")
    again = json.loads(arr("judge", "--replay", id, "--json", "--url", keeping_url).output)
    assert (again["identical"], again["same_rubric"]) == (True, True), again


def test_another_judge_is_noticed_and_its_answer_shown_beside_the_old_one(
    arr, judged, serving: Serving, data_dir: Path, red_circle: Path, blue_square: Path
) -> None:
    [id] = judged(red_circle, blue_square, "--prompt", "a red circle", "--rubric", "replayed")
    with serving(create_pixel_judge_app(PixelJudgeSettings(scale=2.0, position_bias=0.25))) as judge_url:
        other = Settings(data_dir=data_dir, judge_urls=(f"{judge_url}/v1",))
        with serving(create_app(other)) as url:
            again = json.loads(arr("judge", "--replay", id, "--json", "--url", url).output)
            shown = arr("judge", "--replay", id, "--url", url)
    assert (again["identical"], again["same_judge"], again["same_rubric"]) == (False, False, True)
    measures = {measure["what"]: measure for measure in again["measures"]}
    assert measures["margin"]["replayed"] == pytest.approx(measures["margin"]["recorded"] / 4)  # scale 2 instead of 8
    assert measures["position bias"]["replayed"] == pytest.approx(0.25)
    assert shown.exit_code == 0
    assert "the judge said something else" in shown.output
    assert [line.split()[0] for line in shown.output.splitlines() if line.rstrip().endswith("differs")] == [
        "margin", "position", "log-odds,", "log-odds,", "fingerprint",
    ]  # fmt: skip


def test_what_was_not_kept_cannot_be_replayed(
    arr, service_url: str, red_circle: Path, blue_square: Path, wait_until
) -> None:
    before = newest_ids(service_url)
    arr("judge", red_circle, blue_square, "--prompt", "a red circle", "--rubric", "x@none", "--url", service_url)
    wait_until(lambda: newest_ids(service_url) > before, what="writing the judgement")
    id = max(newest_ids(service_url))
    result = arr("judge", "--replay", id, "--url", service_url)
    assert result.exit_code == 1
    assert f"judgement {id} cannot be replayed: its images were not kept" in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_unknown_judgement_is_one_line(arr, keeping_url: str) -> None:
    result = arr("judge", "--replay", 999_999, "--url", keeping_url)
    assert result.exit_code == 1
    assert "unknown-judgement" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_replay_takes_no_pictures(arr, keeping_url: str, red_circle: Path) -> None:
    result = arr("judge", red_circle, "--replay", 1, "--url", keeping_url)
    assert result.exit_code == 2
    assert "--replay takes pictures, prompt and rubric from the judgement" in result.stderr


def answer(question: str, *, chose_first: bool, log_odds: float | None = None) -> JudgementAnswer:
    return JudgementAnswer(
        key=DIGEST,
        question=question,
        log_p_first=None if log_odds is None else -1.0,
        log_p_second=None if log_odds is None else -1.0 - log_odds,
        label_mass=None if log_odds is None else 0.9,
        chose_first=chose_first,
        cached=False,
        latency_ms=1.0,
    )


def judgement(*answers: JudgementAnswer, **changes: Any) -> JudgementDetail:
    values: dict[str, Any] = {
        "id": 7,
        "created": datetime(2026, 3, 1, tzinfo=UTC),
        "tenant": "local",
        "run": None,
        "step": None,
        "rank": None,
        "request_id": None,
        "group": "p0",
        "mode": Mode.PAIRWISE,
        "rubric": RubricIdentity(name="shapes", version=1, digest=DIGEST),
        "judge": JudgeIdentity(model="m", fingerprint=DIGEST),
        "prompt": "a red circle",
        "first": DIGEST,
        "second": DIGEST,
        "source": None,
        "answers": answers,
        "error": None,
        "images_kept": True,
        "rubric_content": None,
    }
    return JudgementDetail(**(values | changes))


def answered(result: GroupResult) -> RewardResult:
    response = RewardResponse(
        rubric=RubricIdentity(name=None, version=None, digest=DIGEST),
        judge=JudgeIdentity(model="m", fingerprint=DIGEST),
        results=(result,),
        usage=Cost(),
        timing=Timing(total_ms=0, judge_ms=0, queue_ms=0, decode_ms=0, overhead_ms=0),
    )
    return RewardResult(response=response, num_candidates=2)


def choice(winner: int | None, *, consistent: bool) -> GroupResult:
    verdict = PairVerdict(
        first=0, second=1, winner=winner, margin=None, p_first=None, position_bias=None, consistent=consistent,
        label_mass=None, cached=False,
    )  # fmt: skip
    return GroupResult(id="p0", status=Status.TIED, pairs=(verdict,))


def test_choices_without_log_probabilities_are_compared_as_choices() -> None:
    agreeing = judgement(answer("first-second", chose_first=False), answer("second-first", chose_first=True))
    same, other = (
        compare(agreeing, answered(choice(1, consistent=True))),
        compare(agreeing, answered(choice(None, consistent=False))),
    )
    assert same.identical
    assert Measure(what="preferred", recorded="second", replayed="second") in same.measures
    assert not other.identical
    assert Measure(what="preferred", recorded="second", replayed="neither") in other.measures


def test_a_recorded_failure_is_compared_with_what_came_of_it_now() -> None:
    failed = judgement(answer("first-second", chose_first=True, log_odds=1.0), error="judge-timeout")
    error = GroupError(type="judge-timeout", detail="late", retryable=True)
    again = compare(failed, answered(GroupResult(id="p0", status=Status.FAILED, error=error)))
    assert again.measures == (Measure(what="failure", recorded="judge-timeout", replayed="judge-timeout"),)
    now_answered = compare(failed, answered(choice(0, consistent=True)))
    assert not now_answered.identical
    assert now_answered.measures[0] == Measure(what="failure", recorded="judge-timeout", replayed=None)


@pytest.mark.parametrize(
    ("recorded", "replayed", "is_same"),
    [(0.1 + 0.2, 0.3, True), (1.0, 1.000001, False), (None, None, True), (0.0, None, False), ("first", "first", True)],
)
def test_numbers_are_the_same_but_for_the_noise_of_sums(recorded: Any, replayed: Any, is_same: bool) -> None:
    assert Measure(what="margin", recorded=recorded, replayed=replayed).is_same is is_same
