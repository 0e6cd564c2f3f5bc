import pytest

from services.reward_api.settings import Settings, SettingsError, load_settings


def test_the_defaults_need_no_other_server() -> None:
    settings = Settings()
    assert settings.uses_pixel_judge
    assert settings.resolved_database_url == "sqlite+aiosqlite:///.arr/arr.db"
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)


def test_empty_text_means_not_set() -> None:
    settings = Settings(database_url="", judge_urls="", judge_model="", judge_api_key="")
    assert settings == Settings()


def test_the_judge_is_named_by_a_url() -> None:
    settings = Settings(judge_urls=" http://gpu:8000/v1 ,")
    assert settings.judge_urls == ("http://gpu:8000/v1",)
    assert not settings.uses_pixel_judge


def test_the_api_key_is_not_shown() -> None:
    settings = Settings(judge_api_key="hunter2")
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()


def test_a_key_read_from_a_file_loses_its_line_break() -> None:
    settings = Settings(judge_api_key="hunter2\n")
    assert settings.judge_api_key is not None
    assert settings.judge_api_key.get_secret_value() == "hunter2"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_addresses_are_served(host) -> None:
    assert load_settings(host=host).host == host


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("host", "0.0.0.0", "ARR_HOST: 0.0.0.0 is not a loopback address"),
        ("host", "example.org", "ARR_HOST: example.org is not a loopback address"),
        ("judge_urls", "http://a,http://b", "ARR_JUDGE_URLS: names 2 judges; only one is supported"),
        ("judge_urls", "gpu:8000", "ARR_JUDGE_URLS: must start with http"),
        ("judge_urls", "http://", "ARR_JUDGE_URLS: Input should be a valid URL, empty host"),
        ("judge_urls", "http://gpu:99999", "ARR_JUDGE_URLS: Input should be a valid URL, invalid port"),
        ("judge_api_key", "schlüssel", "ARR_JUDGE_API_KEY: must be printable ASCII"),
        ("judge_api_key", "two\nlines", "ARR_JUDGE_API_KEY: must be printable ASCII"),
        ("min_label_mass", 1.5, "ARR_MIN_LABEL_MASS: Input should be less than or equal to 1"),
        ("database_url", "postgresql+psycopg://db/arr", "ARR_DATABASE_URL: must start with sqlite"),
        ("port", "high", "ARR_PORT: Input should be a valid integer"),
        ("tie_margin", -1, "ARR_TIE_MARGIN: Input should be greater than or equal to 0"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(setting, value, message) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(**{setting: value})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
