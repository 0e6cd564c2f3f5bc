"""Parameters of learning on the command line."""

from pathlib import Path

import pytest

from arr.learn_parameters import ParameterError, parameter_rows, read_parameters
from shared_schemas.autorubric import AutoRubricParameters
from shared_schemas.evaluations import Fractions
from shared_schemas.learning import PARAMETERS, ArrParameters, Method
from shared_schemas.rubrics import Language, Mode


def test_without_any_they_are_the_usual_ones() -> None:
    assert read_parameters(None, []) == ArrParameters()


def test_values_are_read_as_toml_and_bare_words_as_text() -> None:
    settings = [
        "max_criteria=3",
        "structure=false",
        "mode=pointwise",
        "task_description=a picture book",
        "min_score=-1",
    ]
    assert read_parameters(None, settings) == ArrParameters(
        max_criteria=3, structure=False, mode=Mode.POINTWISE, task_description="a picture book", min_score=-1
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.toml", 'language = "zh"\nmax_criteria = 3\n[fractions]\ntrain = 0.5\nvalidation = 0.25\ntest = 0.25\n'),
        (
            "p.json",
            '{"language": "zh", "max_criteria": 3, "fractions": {"train": 0.5, "validation": 0.25, "test": 0.25}}',
        ),
    ],
)
def test_settings_win_over_the_file(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    parameters = read_parameters(file, ["max_criteria=4", "fractions.train=0.4", "fractions.test=0.35"])
    assert parameters.language is Language.ZH
    assert parameters.max_criteria == 4
    assert parameters.fractions == Fractions(train=0.4, validation=0.25, test=0.35)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("max_themse=3", "there is no parameter 'max_themse'; did you mean max_themes?"),
        ("fractions.trian=3", "did you mean fractions.train?"),
        ("query_specific_generate_number=3", "query_specific_generate_number is called criteria_per_pair here"),
        ("nonsense=3", "`arr learn --help` lists them"),
        ("max_criteria=65", "max_criteria: Input should be less than or equal to 64"),
        ("fractions.train=0.5", "fractions: train, validation and test must sum to 1"),
        ("max_criteria", "'max_criteria' sets nothing; write name=value"),
        ("=3", "'=3' sets nothing"),
    ],
)
def test_a_mistake_is_answered_with_what_is_right(setting: str, message: str) -> None:
    with pytest.raises(ParameterError) as refused:
        read_parameters(None, [setting])
    assert message in str(refused.value)


def test_a_value_has_no_parameters_below_it() -> None:
    with pytest.raises(ParameterError, match="mode is a value"):
        read_parameters(None, ["mode=pairwise", "mode.more=1"])


@pytest.mark.parametrize(("name", "text"), [("p.toml", "="), ("p.json", "{"), ("p.json", "[1]")])
def test_a_file_without_parameters_is_named(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(ParameterError, match=name):
        read_parameters(file, [])


def test_every_parameter_is_listed_with_what_it_means_and_accepts() -> None:
    rows = {row.name: row for row in parameter_rows()}
    assert set(ArrParameters.model_fields) - {"fractions"} < set(rows)
    assert all(row.meaning and row.accepted for row in rows.values())
    assert rows["max_criteria"].accepted == "1 to 64"
    assert rows["language"].accepted == "en | zh"
    assert rows["structure"].default == "true"
    assert rows["fractions.train"].accepted == "above 0 and below 1"
    assert "[max_epochs]" in rows["max_revisions"].meaning


@pytest.mark.parametrize("method", Method)
def test_every_default_can_be_written_as_a_setting(method: Method) -> None:
    settings = [f"{row.name}={row.default}" for row in parameter_rows(method) if row.default]
    assert len(settings) > 15
    assert read_parameters(None, settings, method=method) == PARAMETERS[method]()


def test_each_method_has_parameters_of_its_own() -> None:
    mix = {"small_margin": 0.3, "large_margin": 0.5, "high_reward": 0.2}
    settings = ["c=0.5", *(f"first_mix.{name}={share}" for name, share in mix.items())]
    parameters = read_parameters(None, settings, method=Method.AUTORUBRIC_T2I)
    assert isinstance(parameters, AutoRubricParameters)
    assert parameters.c == 0.5
    assert parameters.first_mix.model_dump() == mix
    with pytest.raises(ParameterError, match="'c' is a parameter of the method autorubric_t2i"):
        read_parameters(None, ["c=0.5"])
    with pytest.raises(ParameterError, match="'max_themes' is a parameter of the method arr, not of autorubric_t2i"):
        read_parameters(None, ["max_themes=3"], method=Method.AUTORUBRIC_T2I)
