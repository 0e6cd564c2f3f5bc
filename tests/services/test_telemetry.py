import io
import json
import logging

import pytest

from services.telemetry import KeyValueFormatter, configure_logging, current_request_id, request_context


@pytest.fixture
def log():
    """A logger, and what it has written so far."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(KeyValueFormatter())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return logger, stream.getvalue


def test_a_line_is_made_of_keys_and_values(log) -> None:
    logger, written = log
    logger.info("judge reached", extra={"model": "qwen", "calls": 2})
    assert written().endswith(' level=INFO logger=test message="judge reached" model=qwen calls=2\n')


def test_lines_inside_a_request_carry_its_id(log) -> None:
    logger, written = log
    with request_context("r1"):
        logger.info("inside")
    logger.info("outside")
    inside, outside = written().splitlines()
    assert "request_id=r1" in inside
    assert "request_id" not in outside
    assert current_request_id() is None


@pytest.mark.parametrize("text", ["two\nlines level=ERROR", 'a "quote"', "a=b", "\x1b[31mred", ""])
def test_no_value_forges_a_line_or_a_field(log, text) -> None:
    logger, written = log
    logger.info("x", extra={"name_of_set": text})
    assert written().count("\n") == 1
    assert json.loads(written().partition("name_of_set=")[2]) == text


def test_a_traceback_follows_its_line(log) -> None:
    logger, written = log
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("failed")
    assert written().splitlines()[1] == "Traceback (most recent call last):"
    assert written().splitlines()[-1] == "ValueError: why"


def test_chatty_libraries_are_quiet() -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        configure_logging("INFO")
        assert root.getEffectiveLevel() == logging.INFO
        assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
    finally:
        root.handlers[:], root.level = before[0], before[1]
