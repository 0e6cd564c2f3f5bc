"""Which words ask for which property, and that the pixel judge's own words mean what it says."""

import pytest

from services.judging.pixel_judge.chinese_phrases import CHINESE
from services.judging.pixel_judge.english_phrases import ENGLISH
from services.judging.pixel_judge.phrases import FAMILIES, Family, Tongue
from services.judging.pixel_judge.properties import Property
from services.judging.pixel_judge.vocabulary import named_properties

tongues = pytest.mark.parametrize("tongue", [ENGLISH, CHINESE], ids=["en", "zh"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("物体的颜色与要求一致", {Property.COLOUR}),
        ("画面里的红色物体轮廓清晰", {Property.COLOUR, Property.SHAPE, Property.SHARPNESS}),
        ("色彩鲜明的背景", {Property.COLOURFULNESS, Property.BACKGROUND}),
        ("没有第二种颜色", {Property.UNIFORM}),
        ("未改动的部分保持不变", {Property.PRESERVATION}),
        ("按照指令完成编辑", {Property.EDITED}),
        ("colour与形状", {Property.COLOUR, Property.SHAPE}),
        ("意境优美", set()),
    ],
)
def test_chinese_words_are_found_without_blanks_around_them(text: str, expected: set[Property]) -> None:
    assert named_properties(text) == expected


@tongues
def test_every_phrase_names_its_own_property_and_no_other(tongue: Tongue) -> None:
    for prop, phrases in tongue.phrases.items():
        for text in (*phrases.themes, *phrases.statements, phrases.merit):
            assert named_properties(text) == {prop}, text


@tongues
def test_every_property_can_be_spoken_of_in_different_words(tongue: Tongue) -> None:
    assert set(tongue.phrases) == set(Property)
    statements = [statement for phrases in tongue.phrases.values() for statement in phrases.statements]
    assert len(set(statements)) == len(statements) == 3 * len(Property)
    assert all(len(phrases.themes) == len(phrases.statements) for phrases in tongue.phrases.values())


@tongues
def test_every_property_belongs_to_one_family_whose_name_names_none(tongue: Tongue) -> None:
    members = [prop for properties in FAMILIES.values() for prop in properties]
    assert sorted(members) == sorted(Property)
    assert set(tongue.families) == set(Family)
    assert not any(named_properties(name) for name in tongue.families.values())
