"""The typed spec: YAML (or plain values) -> what the user asks for, with every fault named.

`read_spec` checks all that can be checked without looking at data or building networks;
`plan.py` does the rest. What the language names but this version cannot do is refused by
name, never ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

from experiments.architectures.layer_language import layer_definitions
from experiments.data.data_reader import Data, DataSpec
from experiments.data.dataset_facts import MAX_SEED
from experiments.errors import NotFoundError
from experiments.language.compound_kinds import Either, ListOf, MapOf
from experiments.language.fields import Field, Record, fields_of, read_fields
from experiments.language.kinds import (
    INVALID,
    Choice,
    Faults,
    Flag,
    Integer,
    Kind,
    Name,
    Number,
    Schema,
    Text,
    nearest,
    show,
)
from experiments.language.printable import number_text
from experiments.language.redaction import redact
from experiments.language.source import Node, from_values, join
from experiments.language.yaml_text import parse
from experiments.records import CheckpointPolicy, Execution, Objective, Resources
from experiments.search_reader import (
    hyperparameter_definitions,
    read_search_space,
    search_space_schema,
)
from experiments.search_space import SearchSpace
from experiments.tasks import OBJECTIVES, TASKS, natural_goal

MAX_SEEDS: Final = 10_000

LATER: Final = ("report",)
"""Keys of the language that this version refuses by name."""


@dataclass(frozen=True, slots=True)
class _Search:
    method: Annotated[
        str, Choice(("grid",), later=("random", "tpe")), "how variants are chosen"
    ] = "grid"


@dataclass(frozen=True, slots=True)
class _EarlyStop:
    method: Annotated[
        str,
        Choice(("none",), later=("median", "asha", "patience")),
        "when a trial ends before its last epoch",
    ] = "none"


@dataclass(frozen=True, slots=True)
class Spec:
    """One experiment as the user wrote it, checked and typed.

    Secrets are taken out of all of it; `warnings` say where they stood.
    """

    source: str
    text: str
    plain: Mapping[str, Any]
    name: str
    description: str
    tags: Mapping[str, str]
    task: str
    data: DataSpec
    objective: Objective
    space: SearchSpace
    seeds: tuple[int, ...]
    resources: Resources
    resources_node: Node | None
    execution: Execution
    checkpoints: CheckpointPolicy
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Metric(Choice):
    """One of a task's metrics."""

    task: str | None = None

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        if node.value in OBJECTIVES and node.value not in self.names:
            known = ", ".join(map(str, self.names))
            message = f"{node.value} is not measured for the task {self.task}; it has {known}"
            return faults.add(node, path, message)
        return Choice.read(self, node, path, faults)


@dataclass(frozen=True, slots=True)
class _Objective(Kind):
    """Metric, goal and selection; the goal follows from the metric, the metrics from the task.

    Without a task, as the spec names none that there is, any task's metrics will do.
    """

    task: str | None = None

    @property
    def what(self) -> str:
        return Record(Objective).what

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        if node.kind != "mapping":
            return self._refuse(node, path, faults)
        fields = dict(fields_of(Objective))
        known = OBJECTIVES if self.task is None else TASKS[self.task].objectives
        fields["metric"] = replace(fields["metric"], kind=_Metric(known, task=self.task))
        values = read_fields(node, path, faults, fields)
        if values is None:
            return INVALID
        metric = values.setdefault("metric", known[0])
        natural = natural_goal(metric)
        if values.setdefault("goal", natural) != natural:
            place = node.entries()["goal"].value
            return faults.add(
                place,
                join(path, "goal"),
                f"{metric} is better when it goes the other way: "
                f"must be {natural}, got {values['goal']!r}",
            )
        return Objective(**values)

    def schema(self) -> Schema:
        return Record(Objective).schema()


class _Resources(Kind):
    """CPUs and GPUs; a GPU can be shared, several cannot be shared in part."""

    @property
    def what(self) -> str:
        return Record(Resources).what

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        resources = Record(Resources).read(node, path, faults)
        if resources is INVALID or resources.gpus <= 1 or resources.gpus.is_integer():
            return resources
        return faults.add(
            node.entries()["gpus"].value,
            join(path, "gpus"),
            "a share of a GPU is below 1; more than one are whole GPUs, "
            f"got {number_text(resources.gpus)}",
        )

    def schema(self) -> Schema:
        return Record(Resources).schema()


class _Seeds(Kind):
    """How many seeds, or which."""

    @property
    def what(self) -> str:
        return f"a number of seeds from 1 to {MAX_SEEDS}, or a list of seeds from 0 to {MAX_SEED}"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        if node.kind != "list":
            count = Integer(1, MAX_SEEDS).read(node, path, faults.aside())
            return self._refuse(node, path, faults) if count is INVALID else tuple(range(count))
        seeds = ListOf(Integer(0, MAX_SEED), min_length=1).read(node, path, faults)
        if seeds is INVALID:
            return INVALID
        for index, seed in enumerate(seeds):
            if seed in seeds[:index]:
                message = f"the seed {seed} is given twice"
                return faults.add(node.items()[index], f"{path}[{index}]", message)
        return seeds

    def schema(self) -> Schema:
        seeds = {"type": "array", "items": Integer(0, MAX_SEED).schema(), "minItems": 1}
        return {"anyOf": [Integer(1, MAX_SEEDS).schema(), seeds]}


_DEFAULT_TASK: Final = "classification"
_TAG_VALUE: Final = Either((Text(max_length=1000), Integer(), Number(), Flag()))
_VERSION: Final = 1

_FIELDS: Final[Mapping[str, Field]] = {
    "version": Field(Integer(_VERSION, _VERSION), "version of the spec language", _VERSION),
    "name": Field(Name(), "names the experiment in commands, tables and MLflow"),
    "description": Field(Text(max_length=10_000, multiline=True), "the question it asks", ""),
    "tags": Field(MapOf(_TAG_VALUE), "free labels, copied to MLflow", {}),
    "task": Field(Choice(tuple(TASKS)), "what the network is to do", _DEFAULT_TASK),
    "data": Field(Data(), "the examples", None),
    "objective": Field(_Objective(), "what variants are judged by", None),
    "search": Field(Record(_Search, later=("trials",)), "how variants are chosen", _Search()),
    "seeds": Field(_Seeds(), "how many trainings of each variant, or their seeds", (0,)),
    "early_stop": Field(
        Record(_EarlyStop, later=("min_epochs", "factor", "epochs")),
        "when a trial ends early",
        _EarlyStop(),
    ),
    "resources": Field(_Resources(), "what one worker gets", Resources()),
    "execution": Field(Record(Execution), "how trials are run", Execution()),
    "checkpoints": Field(Record(CheckpointPolicy), "when weights are saved", CheckpointPolicy()),
}
_SPACE_KEYS: Final = ("defaults", "parameters", "zip", "exclude", "include")


def read_spec(spec: str | Path | Mapping[str, Any]) -> Spec:
    """Read a spec from a file's path, from YAML text, or from plain values.

    A text with a line break is YAML itself; any other text is a path.

    Raises:
        NotFoundError: There is no such file.
        SpecError: The spec is wrong; the error lists all faults.
    """
    if isinstance(spec, Mapping):
        return _read(from_values(spec), name="spec", text="")
    if isinstance(spec, str) and "\n" in spec:
        return _read(parse(spec, source="spec"), name="spec", text=spec)
    path = Path(spec)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"cannot read the spec {str(spec)!r}: {error.strerror}") from error
    root = parse(text, source=str(path))
    return _read(root, name=str(path), text=text.decode("utf-8-sig"))


def _read(root: Node, *, name: str, text: str) -> Spec:
    faults = Faults(name)
    if root.kind != "mapping":
        got = "a list" if root.kind == "list" else show(root)
        faults.add(root, "", f"a spec is a mapping with keys such as name, got {got}")
        faults.raise_any()
    root, text, warnings = redact(root, text)
    known = {**_FIELDS, **dict.fromkeys(_SPACE_KEYS)}
    entries = root.entries()
    for key, entry in entries.items():
        if key in LATER:
            faults.add(entry, key, "is not supported by this version yet")
        elif key not in known:
            listed = ", ".join(known)
            faults.add(
                entry, key, f"unknown key {key!r}{nearest(key, known)}; known keys: {listed}"
            )
    plain_entries = tuple(entry for entry in root.value if entry.key in _FIELDS)
    fields = {**_FIELDS, "objective": replace(_FIELDS["objective"], kind=_Objective(_task(root)))}
    values = read_fields(Node("mapping", plain_entries, root.position), "", faults, fields)
    space = read_search_space(entries, faults)
    faults.raise_any()
    assert values is not None
    return _spec(root, values, space, name=name, text=text, warnings=warnings)


def _task(root: Node) -> str | None:
    """Give the task of a spec, None where it names none that there is."""
    entry = root.entries().get("task")
    said = _DEFAULT_TASK if entry is None else entry.value.value
    return said if isinstance(said, str) and said in TASKS else None


def _spec(
    root: Node,
    values: Mapping[str, Any],
    space: SearchSpace,
    *,
    name: str,
    text: str,
    warnings: tuple[str, ...],
) -> Spec:
    def get(key: str) -> Any:
        return values.get(key, _FIELDS[key].default)

    entries = root.entries()
    data = get("data") or Data().build("digits", {}, root)
    resources = entries.get("resources")
    return Spec(
        source=name,
        text=text,
        plain=root.plain(),
        name=get("name"),
        description=get("description"),
        tags={key: _tag(value) for key, value in get("tags").items()},
        task=get("task"),
        data=data,
        objective=get("objective") or Objective.of(get("task")),
        space=space,
        seeds=get("seeds"),
        resources=get("resources"),
        resources_node=None if resources is None else resources.value,
        execution=get("execution"),
        checkpoints=get("checkpoints"),
        warnings=warnings,
    )


def _tag(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else number_text(value)


def spec_schema() -> Schema:
    """Give the JSON Schema of a spec (what `trainyard schema` prints)."""
    properties = {
        name: field.kind.schema() | {"description": field.doc} for name, field in _FIELDS.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "trainyard experiment",
        "type": "object",
        "properties": properties | search_space_schema(),
        "required": [name for name, field in _FIELDS.items() if field.required],
        "additionalProperties": False,
        "$defs": hyperparameter_definitions() | layer_definitions(),
    }
