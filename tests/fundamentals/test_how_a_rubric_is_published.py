"""A rubric set says by what images are judged. It has a name and immutable versions, and aliases that point at them.

Read this file from top to bottom; every line runs against a real service.
"""

import pytest

from reward_client import RequestRejected, RewardClient
from shared_schemas.rubrics import Criterion, RubricContent, Task


def test_how_a_rubric_is_published(service_url: str) -> None:
    # Content is what the judge reads: criteria with tips that can each be checked on one image.
    content = RubricContent(
        task=Task.T2I,
        task_description="Simple coloured shapes on a plain background.",
        criteria=(
            Criterion(
                id="colour",
                theme="The colour named in the prompt",
                tips=("The shape has exactly the colour that the prompt names.",),
            ),
        ),
    )

    with RewardClient(service_url) as client:
        # Publishing gives the content a version number; who made it is kept beside it.
        first = client.publish_rubric("lesson", content, provenance={"author": "me"})
        assert first.version == 1

        # A version is its content. Publishing the same again changes nothing …
        assert client.publish_rubric("lesson", content) == first

        # … and other content is another version, with another digest.
        stricter = content.model_copy(update={"task_description": "Coloured shapes, judged strictly."})
        second = client.publish_rubric("lesson", stricter)
        assert second.version == 2
        assert second.digest != first.digest

        # An alias is the only thing that moves. A run that names `lesson@production` …
        client.set_alias("lesson", "production", first.version)
        pinned = client.resolve_rubric("lesson@production")

        # … pins what it means once, and is not disturbed when somebody moves it later.
        client.set_alias("lesson", "production", second.version)
        assert (pinned.version, pinned.digest) == (1, first.digest)

        # To move an alias only if nobody else did meanwhile, say where you believe it is.
        with pytest.raises(RequestRejected, match="alias-changed"):
            client.set_alias("lesson", "production", first.version, expected=1)

        # `name@none` is the judge without any rubric: the baseline that a rubric must beat.
        assert client.resolve_rubric("lesson@none").version is None
