import pytest

from services.reward_api.api_keys import KeyFile
from services.reward_api.settings import Settings, SettingsError, load_settings
from shared_schemas.access import Scope


def test_the_defaults_need_no_other_server() -> None:
    settings = Settings()
    assert settings.uses_pixel_judge
    assert settings.resolved_database_url == "sqlite+aiosqlite:///.arr/arr.db"
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)


def test_empty_text_means_not_set() -> None:
    settings = Settings(database_url="", judge_urls="", judge_model="", judge_api_key="", api_keys="")
    assert settings == Settings()


def test_the_judge_is_named_by_a_url() -> None:
    settings = Settings(judge_urls=" http://gpu:8000/v1 ,")
    assert settings.judge_urls == ("http://gpu:8000/v1",)
    assert not settings.uses_pixel_judge


def test_the_api_key_is_not_shown() -> None:
    settings = Settings(judge_api_key="hunter2", chat_url="http://gpu/v1", chat_api_key="hunter2")
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()


def test_a_key_read_from_a_file_loses_its_line_break() -> None:
    settings = Settings(judge_api_key="hunter2\n")
    assert settings.judge_api_key is not None
    assert settings.judge_api_key.get_secret_value() == "hunter2"


def test_the_model_that_writes_may_have_a_server_of_its_own() -> None:
    settings = load_settings(chat_url="http://gpu:8000/v1", chat_model="large", chat_api_key="hunter2\n")
    assert (settings.chat_url, settings.chat_model) == ("http://gpu:8000/v1", "large")
    assert settings.chat_api_key is not None
    assert settings.chat_api_key.get_secret_value() == "hunter2"
    assert load_settings(chat_url="", chat_model="", chat_api_key="") == load_settings()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_addresses_are_served(host) -> None:
    assert load_settings(host=host).host == host


def test_every_address_is_served_with_keys(tmp_path) -> None:
    KeyFile(tmp_path / "keys.json").add("a", tenant="a", scopes=[Scope.REWARD])
    settings = load_settings(host="0.0.0.0", api_keys=tmp_path / "keys.json")
    assert settings.host == "0.0.0.0"


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (None, 0o600, "cannot be read: No such file or directory"),
        ("{}", 0o644, "is open to everybody (mode 0644)"),
        ("[", 0o600, "is not a file of API keys: the file: Invalid JSON"),
    ],
)
def test_a_key_file_that_cannot_be_trusted_is_refused_in_one_line(tmp_path, content, mode, message) -> None:
    path = tmp_path / "keys.json"
    if content is not None:
        path.touch(mode)
        path.write_text(content)
    with pytest.raises(SettingsError) as caught:
        load_settings(api_keys=path)
    assert str(caught.value).startswith(f"ARR_API_KEYS: {path} {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("host", "0.0.0.0", "ARR_HOST: 0.0.0.0 is not a loopback address"),
        ("host", "example.org", "ARR_HOST: example.org is not a loopback address"),
        ("host", "", "ARR_HOST:  is not a loopback address"),
        ("judge_urls", "http://a,http://a", "ARR_JUDGE_URLS: names a replica twice"),
        ("judge_urls", "gpu:8000", "ARR_JUDGE_URLS: must start with http"),
        ("judge_urls", "http://", "ARR_JUDGE_URLS: Input should be a valid URL, empty host"),
        ("judge_urls", "http://gpu:99999", "ARR_JUDGE_URLS: Input should be a valid URL, invalid port"),
        ("judge_api_key", "schlüssel", "ARR_JUDGE_API_KEY: must be printable ASCII"),
        ("judge_api_key", "two\nlines", "ARR_JUDGE_API_KEY: must be printable ASCII"),
        ("chat_url", "gpu:8000", "ARR_CHAT_URL: must start with http"),
        ("chat_url", "http://", "ARR_CHAT_URL: Input should be a valid URL, empty host"),
        ("chat_model", "large", "ARR_CHAT_MODEL: means nothing without ARR_CHAT_URL"),
        ("chat_api_key", "hunter2", "ARR_CHAT_API_KEY: means nothing without ARR_CHAT_URL"),
        ("chat_api_key", "schlüssel", "ARR_CHAT_API_KEY: must be printable ASCII"),
        ("min_label_mass", 1.5, "ARR_MIN_LABEL_MASS: Input should be less than or equal to 1"),
        ("database_url", "postgresql://db/arr", "ARR_DATABASE_URL: must start with sqlite"),
        ("port", "high", "ARR_PORT: Input should be a valid integer"),
        ("tie_margin", -1, "ARR_TIE_MARGIN: Input should be greater than or equal to 0"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(setting, value, message) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(**{setting: value})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("redis_url", "http://cache", "ARR_REDIS_URL"),
        ("blob_url", "nope://bucket", "ARR_BLOB_URL: cannot keep blobs in nope://"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line_before_anything_starts(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings(**{name: value})
    assert str(refusal.value).startswith(says)
    assert "\n" not in str(refusal.value)
