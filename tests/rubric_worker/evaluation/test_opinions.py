from services.judging.answers import Answer, ChoiceAnswer, LabelAnswer
from services.judging.questions import FIRST_SECOND, SECOND_FIRST, Asked, Cost, PairAnswer
from services.judging.verdicts import join_answers
from services.rubric_worker.evaluation.opinions import Opinion, opinion_by_scores, opinion_on_pair


def answered(first_second: Answer, second_first: Answer) -> Opinion:
    asked = tuple(
        Asked(key="", question=question, answer=answer, cached=False, seconds=None)
        for question, answer in ((SECOND_FIRST, second_first), (FIRST_SECOND, first_second))
    )
    return opinion_on_pair(PairAnswer(verdict=join_answers(first_second, second_first), asked=asked, cost=Cost()))


def nats(log_odds: float) -> LabelAnswer:
    return LabelAnswer(log_p_first=log_odds, log_p_second=0.0, label_mass=1.0, prompt_tokens=1, completion_tokens=1)


def choice(first: bool) -> ChoiceAnswer:
    return ChoiceAnswer(chose_first=first, prompt_tokens=1, completion_tokens=1)


def test_both_orders_are_kept_apart_whichever_was_asked_first() -> None:
    found = answered(nats(3.0), nats(1.0))
    assert found == Opinion(preferred=1, margin=1.0, names_shown_first=(1.0, 1.0), consistent=False)


def test_an_answer_that_leans_nowhere_names_each_image_half() -> None:
    assert answered(nats(0.0), nats(-2.0)).names_shown_first == (0.5, 0.0)


def test_a_judge_that_only_chooses_has_a_preference_when_its_choices_agree() -> None:
    agree, differ = answered(choice(True), choice(False)), answered(choice(True), choice(True))
    assert (agree.preferred, agree.margin, agree.names_shown_first) == (1, None, (1.0, 0.0))
    assert (differ.preferred, differ.verdict(0.05), differ.names_shown_first) == (0, 0, (1.0, 1.0))


def test_margins_inside_the_band_are_ties() -> None:
    found = answered(nats(0.1), nats(-0.1))
    assert (found.verdict(0.2), found.verdict(0.1), found.verdict(0.0)) == (0, 1, 1)


def test_scores_are_weighted_and_have_no_order() -> None:
    found = opinion_by_scores({"a": 0.5, "b": 1.0}, {"a": 1.0, "b": 0.5}, {"a": 1.0, "b": 3.0})
    assert found == Opinion(preferred=1, margin=1.0, names_shown_first=None, consistent=None)
    assert opinion_by_scores({"a": 0.5}, {"a": 0.5}, {"a": 2.0}).preferred == 0
