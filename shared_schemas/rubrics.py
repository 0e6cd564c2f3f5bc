"""Rubric sets: the content that is judged by, its immutable versions, and the references that name them."""

import hashlib
import json
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from shared_schemas.base import NAME_PATTERN, Digest, Name, OptionalText, RequestModel, ResponseModel, Text

NONE_ALIAS = "none"
"""`name@none` is the empty rubric set: the judge without rubrics, the honest baseline."""

LATEST_ALIAS = "latest"
"""`name@latest` is the newest version, as is the bare `name`."""

_RESERVED_ALIAS = re.compile(rf"^({LATEST_ALIAS}|{NONE_ALIAS}|v?\d+)$")


class Task(StrEnum):
    """What the judged model does."""

    T2I = "t2i"
    EDIT = "edit"


class Mode(StrEnum):
    """How the judge looks: `pairwise` at two candidates at once, `pointwise` at one, criterion by criterion."""

    PAIRWISE = "pairwise"
    POINTWISE = "pointwise"


class Language(StrEnum):
    """The language of a rubric set, which picks the judge's prompt template."""

    EN = "en"
    ZH = "zh"


MAX_CRITERIA = 64
MAX_THEME_CHARS = 200
MAX_TIPS = 32
MAX_TIP_CHARS = 1000
"""What a rubric set and each of its criteria hold."""


class Criterion(RequestModel):
    """One theme to judge by, with the concrete tips that make it checkable."""

    id: Name
    """Stable id within the set, for per-criterion answers and diffs."""
    theme: Text = Field(max_length=MAX_THEME_CHARS)
    """What is judged, in a few words."""
    tips: tuple[Annotated[Text, Field(max_length=MAX_TIP_CHARS)], ...] = Field(default=(), max_length=MAX_TIPS)
    """Statements that can each be checked on one image alone."""
    weight: float = Field(default=1.0, ge=0.0, le=1e6, strict=True)
    """Relative weight; 1.0 unless learned."""


MAX_EXEMPLARS = 4
"""Twelve images of edits, beside the three of the question."""

MAX_EXEMPLAR_PROMPT_CHARS = 8000
MAX_RATIONALE_CHARS = 2000


class Exemplar(RequestModel):
    """A labelled pair that the judge is shown with the criteria, and why the label is as it is ("ARR with guide").

    Images are named by the digests of their files, which the service has from a dataset. Each exemplar adds two images
    (three for edits) to every question, so the judge must be served with a limit that allows for them.
    """

    prompt: Text = Field(max_length=MAX_EXEMPLAR_PROMPT_CHARS)
    """What the images show, or the edit that was asked for."""
    preferred: Digest
    """The better image's file."""
    dispreferred: Digest
    """The other image's file."""
    source: Digest | None = None
    """The file of the picture that was edited; for edits, and for nothing else."""
    rationale: Text = Field(max_length=MAX_RATIONALE_CHARS)
    """What makes the better image better."""


class RubricContent(RequestModel):
    """What a rubric version says; its digest is the version's identity."""

    task: Task
    """Text-to-image, or image editing."""
    mode: Mode = Mode.PAIRWISE
    """How the judge uses the set."""
    language: Language = Language.EN
    """Language of themes, tips and the judge's prompt."""
    task_description: OptionalText = Field(default="", max_length=2000)
    """What the images are for, in one or two sentences."""
    criteria: tuple[Criterion, ...] = Field(default=(), max_length=MAX_CRITERIA)
    """Ordered from overall alignment over composition to fine detail; empty = judge without rubrics."""
    guide: tuple[Exemplar, ...] = Field(default=(), max_length=MAX_EXEMPLARS)
    """Labelled pairs shown before every question of a pairwise set."""

    @model_validator(mode="after")
    def _criterion_ids_are_unique(self) -> Self:
        ids = [criterion.id for criterion in self.criteria]
        if len(set(ids)) != len(ids):
            raise ValueError("criterion ids must be unique within a set")
        return self

    @model_validator(mode="after")
    def _exemplars_have_sources_for_edits_alone(self) -> Self:
        if any((exemplar.source is None) is (self.task is Task.EDIT) for exemplar in self.guide):
            raise ValueError("an exemplar has a source exactly when the task is `edit`")
        return self

    @property
    def is_scored(self) -> bool:
        """Whether images are judged one by one. Without criteria there is nothing to score by: pairs are compared."""
        return self.mode is Mode.POINTWISE and bool(self.criteria)

    @property
    def digest(self) -> str:
        """`sha256:…` of the canonical JSON of this content; what a set does not use is not part of it."""
        return json_digest(self.model_dump(mode="json", exclude=None if self.guide else {"guide"}))


def json_digest(value: Any) -> str:
    """Content address of a JSON value: sorted keys, no blanks, UTF-8, no NaN."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def _refuse_reserved(alias: str) -> str:
    if _RESERVED_ALIAS.match(alias):
        raise ValueError(f"{alias!r} is reserved; `latest`, `none` and version numbers cannot be aliases")
    return alias


AliasName = Annotated[Name, AfterValidator(_refuse_reserved)]
"""A name that may be pointed at a version."""


class RubricReference(RequestModel):
    """A parsed `name`, `name@3`, `name@alias` or `name@none`."""

    name: Name
    """The rubric set."""
    version: int | None = Field(default=None, ge=1)
    """A version number, when one was named."""
    alias: Name | None = None
    """An alias or `none`, when one was named; both empty = the newest version."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `name[@version|@alias]`. Raises `ValueError` with a sentence that says the accepted forms."""
        match = re.fullmatch(r"([^@]+)(?:@(?:v?(\d{1,9})|([^@]+)))?", text)
        parts = [match[1], match[3]] if match else [text]
        if not match or any(part and not re.match(NAME_PATTERN, part) for part in parts) or match[2] == "0":
            raise ValueError(f"{text[:80]!r} is not a rubric reference; write name, name@3, name@alias or name@none")
        alias = None if match[3] == LATEST_ALIAS else match[3]
        return cls(name=match[1], version=int(match[2]) if match[2] else None, alias=alias)

    @property
    def is_none(self) -> bool:
        """Whether this asks for the judge without rubrics."""
        return self.alias == NONE_ALIAS

    def __str__(self) -> str:
        """Write the reference back as `name@…`."""
        suffix = self.version if self.version is not None else self.alias
        return self.name if suffix is None else f"{self.name}@{suffix}"


MAX_PROVENANCE_DEPTH = 32
"""Levels of objects and lists in a provenance; JSON libraries give up at a few hundred."""


def _is_deeper(value: Any, levels: int) -> bool:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if children is None or levels == 0:
        return children is not None
    return any(_is_deeper(child, levels - 1) for child in children)


class PublishRequest(RequestModel):
    """Body of `POST /rubrics/{name}/versions`."""

    content: RubricContent
    """What the new version says."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Where it came from: method, parent, dataset, seed, author; kept, not interpreted, outside the digest."""

    @field_validator("provenance")
    @classmethod
    def _provenance_can_be_written_back(cls, provenance: dict[str, Any]) -> dict[str, Any]:
        if _is_deeper(provenance, MAX_PROVENANCE_DEPTH):
            raise ValueError(f"is nested deeper than {MAX_PROVENANCE_DEPTH} levels")
        json_digest(provenance)  # raises ValueError for NaN and lone surrogates, which no JSON document can hold
        return provenance


class AliasRequest(RequestModel):
    """Body of `PUT /rubrics/{name}/aliases/{alias}`."""

    version: int = Field(ge=1, le=999_999_999)
    """The version the alias shall point at."""


class RubricIdentity(ResponseModel):
    """Which rubric version judged, resolved once per request."""

    name: str | None
    """The rubric set; null for one that came with the request."""
    version: int | None
    """The version number; null for `name@none` and for a set that came with the request."""
    digest: Digest
    """Digest of the content."""

    @property
    def reference(self) -> str:
        """`name@3` or `name@none`: names this very version for ever. A set that came along has its digest alone."""
        if self.name is None:
            return self.digest
        return f"{self.name}@{NONE_ALIAS if self.version is None else self.version}"


class Calibration(ResponseModel):
    """How one judge's margins under one rubric version are to be read; fitted on labelled pairs, attached to it."""

    temperature: float = Field(gt=0)
    """`p_first` = sigmoid(margin / temperature)."""
    tie_margin: float = Field(ge=0)
    """Margins below it are ties: nats for a pairwise set, difference of scores for a pointwise one."""
    ece: float = Field(ge=0, le=1)
    """Expected calibration error at this temperature, on the pairs it was fitted on."""
    num_pairs: int
    """Pairs it was fitted on."""
    dataset: Digest
    """The dataset they are from."""
    job: int | None = None
    """The job that fitted it."""


class VersionMetrics(ResponseModel):
    """The headline of a version's last evaluation on pairs it was not learned from; the job has the whole report."""

    accuracy: float
    """Share of held-out pairs where the judge, both orders averaged, prefers what people prefer; a tie counts half."""
    accuracy_low: float
    """Lower end of its 95 % interval."""
    accuracy_high: float
    """Upper end."""
    forward: float
    """The same with the preferred image shown first, in that order alone."""
    reverse: float
    """The same with the preferred image shown second."""
    none_accuracy: float | None
    """Of the judge without rubrics on the same pairs; null when it was not asked."""
    num_pairs: int
    """Pairs that were judged."""
    judge: Digest
    """Fingerprint of the judge."""
    dataset: Digest
    """The dataset the pairs are from."""
    job: int
    """The job with the whole report."""


class RubricVersion(ResponseModel):
    """One immutable version of a rubric set, with the records that are attached to it."""

    name: str
    """The rubric set."""
    version: int
    """1, 2, 3 … without gaps."""
    digest: Digest
    """Digest of the canonical JSON of `content`."""
    content: RubricContent
    """What it says."""
    provenance: dict[str, Any]
    """Where it came from, as published."""
    created: datetime
    """When it was published (UTC)."""
    calibration: dict[str, Calibration] = Field(default_factory=dict)
    """Judge fingerprint → how its margins are to be read; attached, not part of the version."""
    metrics: VersionMetrics | None = None
    """How well it did when it was last evaluated; attached, not part of the version."""
    archived: bool = False
    """Whether it is left out of listings."""


class AliasState(ResponseModel):
    """Where an alias points."""

    name: str
    """The rubric set."""
    alias: str
    """The alias."""
    version: int
    """The version it points at."""


class RubricSummary(ResponseModel):
    """One rubric set in a listing."""

    name: str
    """The rubric set."""
    latest: int
    """Its newest version that is not archived."""
    digest: Digest
    """The newest version's digest."""
    task: Task
    """The newest version's task."""
    mode: Mode
    """The newest version's mode."""
    num_criteria: int
    """Criteria in the newest version."""
    aliases: dict[str, int]
    """Alias → version."""
    metrics: VersionMetrics | None = None
    """How well the newest version did when it was last evaluated."""
    archived: bool = False
    """Whether all its versions are archived; such a set is listed on request only."""


class RubricPage(ResponseModel):
    """One page of `GET /rubrics`, ordered by name."""

    items: tuple[RubricSummary, ...]
    """The sets of this page."""
    next: str | None
    """Pass as `after` to get the next page; null on the last."""


class VersionPage(ResponseModel):
    """One page of `GET /rubrics/{name}/versions`, newest first."""

    items: tuple[RubricVersion, ...]
    """The versions of this page."""
    next: int | None
    """Pass as `before` to get the next page; null on the last."""


class Change(StrEnum):
    """What became of a criterion from one version to another."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    REWEIGHTED = "reweighted"
    MOVED = "moved"


class CriterionChange(ResponseModel):
    """One criterion that is not the same in both versions."""

    change: Change
    """What became of it; one whose words changed is `changed`, whatever else did."""
    before: Criterion | None
    """As it was; null when it was added."""
    after: Criterion | None
    """As it is; null when it was removed."""


class RubricDiff(ResponseModel):
    """Answer of `GET /rubrics/{name}/diff`."""

    name: str
    """The rubric set."""
    before: int
    """The version compared from."""
    after: int
    """The version compared to."""
    criteria: tuple[CriterionChange, ...]
    """In the order of the newer version, removed ones last; empty when nothing changed."""
    fields: dict[str, tuple[Any, Any]]
    """Other parts of the content that differ (`task_description`, `mode`, `guide` …): name → before and after."""
