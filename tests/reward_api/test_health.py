import asyncio
import logging
import re
import sqlite3

import pytest

from shared_schemas.health import Readiness

PAIR = {"id": "g", "prompt": "a lamp", "candidates": ["a", "b"]}


async def test_a_service_with_database_and_judge_is_ready(service) -> None:
    answer = await service.get("/readyz")
    readiness = Readiness.model_validate_json(answer.content)
    assert (answer.status_code, readiness.status) == (200, "ok")
    assert readiness.parts == {"database": "ok", "judge": "ok", "audit": "ok"}
    assert readiness.judge is not None
    assert readiness.judge.model == "brightness"
    assert not readiness.pixel_judge


async def test_without_a_configured_judge_the_pixel_judge_stands_in_loudly(running, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        async with running(judge_urls=()) as service:
            readiness = Readiness.model_validate_json((await service.get("/readyz")).content)
    assert readiness.pixel_judge
    assert readiness.judge is not None
    assert readiness.judge.model == "pixel-judge"
    assert any("NO JUDGE IS CONFIGURED" in record.message for record in caplog.records)


async def test_a_judge_that_is_away_makes_the_service_not_ready_but_alive(running, ask, png) -> None:
    async with running(judge_urls=("http://127.0.0.1:9/v1",)) as service:
        await service.post("/rubrics/t2i/versions", json={"content": {"task": "t2i"}})
        answer = await service.get("/readyz")
        readiness = Readiness.model_validate_json(answer.content)
        assert (answer.status_code, readiness.status, readiness.judge) == (503, "unavailable", None)
        assert readiness.parts["database"] == "ok"
        assert readiness.parts["judge"] != "ok"
        assert int(answer.headers["Retry-After"]) > 0
        refused = await ask(service, [PAIR], {"a": png(1.0), "b": png(0.0)})
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        assert (await service.get("/livez")).json() == {"status": "ok"}


async def test_a_judge_that_comes_later_is_found(running, judge, serve, free_port) -> None:
    port = free_port()
    async with running(judge_urls=(f"http://127.0.0.1:{port}",)) as service:
        assert (await service.get("/readyz")).status_code == 503
        serve(judge.app(), port=port)
        async with asyncio.timeout(10):
            while (await service.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - the service has no event for it
                await asyncio.sleep(0.01)


async def test_a_broken_database_makes_the_service_not_ready(running, tmp_path) -> None:
    def intrude() -> None:
        with sqlite3.connect(tmp_path / "arr.db") as intruder:
            intruder.execute("DROP TABLE alembic_version")
        intruder.close()

    async with running() as service:
        await asyncio.to_thread(intrude)  # the service's own transactions go on meanwhile
        answer = await service.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["parts"]["database"] != "ok"
        assert answer.json()["parts"]["judge"] == "ok"


async def test_what_became_of_groups_is_counted(service, ask, png) -> None:
    groups = [PAIR, PAIR | {"id": "tie", "candidates": ["a", "a"]}, PAIR | {"id": "bad", "prompt": "BROKEN"}]
    for _ in range(2):
        await ask(service, groups, {"a": png(1.0), "b": png(0.0)})
    text = (await service.get("/metrics")).text
    assert 'arr_groups_total{status="scored"} 2.0' in text
    assert 'arr_groups_total{status="tied"} 2.0' in text
    assert 'arr_groups_total{status="failed"} 2.0' in text
    assert 'arr_group_failures_total{type="judge-unavailable"} 2.0' in text
    assert 'arr_answers_total{source="cache"} 4.0' in text
    assert 'arr_answers_total{source="judge"} 3.0' in text  # two equal images are one question
    assert 'arr_pairs_total{agreement="consistent"} 2.0' in text
    assert 'arr_pairs_total{agreement="inconsistent"} 2.0' in text  # two equal images, told apart by the bias alone
    bias = re.search(r"^arr_position_bias_nats_sum (\S+)$", text, flags=re.MULTILINE)
    assert bias is not None
    assert float(bias[1]) == pytest.approx(2.0)  # four verdicts of half a nat
    assert 'arr_answers_total{source="joined"} 1.0' in text
    assert "arr_label_mass_count 8.0" in text
    assert 'arr_judge_tokens_total{kind="prompt"} 300.0' in text


async def test_two_apps_in_one_process_count_separately(running, tmp_path) -> None:
    async with running() as one, running(data_dir=tmp_path / "other") as other:
        await one.get("/rubrics")
        assert 'route="/rubrics"' in (await one.get("/metrics")).text
        assert 'route="/rubrics"' not in (await other.get("/metrics")).text


async def test_what_requests_can_do_without_makes_the_service_degraded_and_not_unready(
    running, judge, free_port
) -> None:
    away = f"http://127.0.0.1:{free_port()}/v1"
    async with running(judge_urls=(judge.url, away), redis_url=f"redis://127.0.0.1:{free_port()}/0") as service:
        answer = await service.get("/readyz")
        readiness = Readiness.model_validate_json(answer.content)
        assert (answer.status_code, readiness.status) == (200, "degraded")
        assert readiness.parts["judge"] == "ok"
        assert readiness.parts["redis"] != "ok"
        assert "nobody listens there" in readiness.parts[f"judge {away[7:-3]}"]
        metrics = (await service.get("/metrics")).text
        assert f'arr_judge_replica_up{{replica="{away[7:-3]}"}} 0.0' in metrics
        assert "arr_redis_up 0.0" in metrics
