"""How busy a server is, by the metrics that vLLM 0.32 shows."""

import pytest

from services.judging.failures import BackendError
from services.judging.server_load import ServerLoad, read_load

METRICS = """\
# HELP python_gc_objects_collected_total Objects collected during gc
# TYPE python_gc_objects_collected_total counter
python_gc_objects_collected_total{generation="0"} 9213.0
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 3.0
vllm:num_requests_running{engine="1",model_name="tiny"} 4.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="tiny"} 5.0
vllm:num_requests_waiting{engine="1",model_name="tiny"} 0.0
# HELP vllm:num_requests_waiting_by_reason Number of waiting requests by reason.
# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="capacity"} 5.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="deferred"} 0.0
"""


def test_engines_are_added_up_and_names_are_matched_exactly() -> None:
    assert read_load(METRICS) == ServerLoad(running=7, waiting=5)


@pytest.mark.parametrize(
    "text",
    ["", "up 1\n", "<html>not found</html>", "vllm:num_requests_running 1\nvllm:num_requests_waiting_by_reason 2\n"],
)
def test_a_server_without_both_gauges_does_not_say(text: str) -> None:
    assert read_load(text) is None


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "many", ""])
def test_gauges_that_are_no_counts_are_malformed(value: str) -> None:
    with pytest.raises(BackendError, match="its metrics"):
        read_load(f"vllm:num_requests_running {value}\nvllm:num_requests_waiting 0\n")
