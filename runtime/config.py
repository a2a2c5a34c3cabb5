"""YAML files into frozen structs, with errors that name file, line and the nearest right word."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from .errors import ConfigError

T = TypeVar("T")


class ConfigStruct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything read from YAML: defaults, units and range checks stand in the struct itself."""


def to_plain(value: Any) -> Any:
    """A struct as dicts and lists for `yaml.safe_dump`; what stands at its default is left out."""
    if isinstance(value, msgspec.Struct):
        kept = {f.encode_name: getattr(value, f.name) for f in msgspec.structs.fields(value)}
        defaults = {f.encode_name: f.default for f in msgspec.structs.fields(value)}
        return {name: to_plain(kept[name]) for name in kept if kept[name] != defaults[name]}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return value


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but 1e-3 is a number, as everybody expects."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789")
)


def load_yaml(path: Path, kind: type[T]) -> T:
    """Reads a YAML file into `kind`.

    Raises:
        ConfigError: unreadable, not YAML, an unknown or repeated key, a wrong type or range; with the line.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {_os_reason(error)}; expected a YAML file") from None
    return parse_yaml(text, kind, str(path))


def parse_yaml(text: str, kind: type[T], where: str) -> T:
    """As `load_yaml`, from text; `where` names it in errors."""
    lines: dict[str, int] = {}
    try:
        _refuse_aliases(text, where)
        node = yaml.compose(text, Loader=_Loader)
        value = _to_plain(node, "$", lines) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{where}:{line}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML: {error}") from None
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), value, lines, where, kind)) from None


def _refuse_aliases(text: str, where: str) -> None:
    """A config says each thing once; an alias could also refer to itself or multiply without end."""
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise ConfigError(f"{where}:{line}: *{event.anchor}: aliases are not read here")


def _to_plain(node: yaml.Node, at: str, lines: dict[str, int]) -> Any:
    """Plain Python values of a YAML node; the line of each goes into `lines`; a repeated key is an error."""
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [_to_plain(item, f"{at}[{i}]", lines) for i, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return _Loader("").construct_object(node)
    plain: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        if key in plain:
            raise yaml.MarkedYAMLError(problem=f"{key}: repeated key", problem_mark=key_node.start_mark)
        plain[key] = _to_plain(value_node, f"{at}.{key}", lines)
        lines[f"{at}.{key}"] = key_node.start_mark.line + 1
    return plain


def _explain(message: str, value: Any, lines: dict[str, int], where: str, kind: type) -> str:
    """One line from a msgspec message: file, line, key, and the nearest known key for an unknown one."""
    text, _, path = message.partition(" - at `")
    path = path.rstrip("`") or "$"
    unknown = re.search(r"contains unknown field `(.*)`", text)
    if unknown is None:
        key = path.lstrip("$.")
        return f"{where}:{lines.get(path, 1)}: {key + ': ' if key else ''}{text[:1].lower()}{text[1:]}"
    key = unknown.group(1)
    line = lines.get(f"{path}.{key}", 1)
    near = difflib.get_close_matches(key, _known_keys(kind, path, value), 1, 0.6)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"{where}:{line}: {key}: unknown key{hint}"


def _known_keys(kind: Any, path: str, value: Any) -> list[str]:
    """Keys that the struct at `path` (`$.source.defects`) takes; for a union, those of every member."""
    types = _members(kind)
    for name in path.lstrip("$.").split("."):
        fields = [f for t in types for f in _fields(t) if f.encode_name == name.split("[")[0]] if name else []
        types = [m for f in fields for m in _members(f.type)] if name else types
    return sorted({f.encode_name for t in types for f in _fields(t)})


def _fields(kind: Any) -> tuple[msgspec.structs.FieldInfo, ...]:
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    return msgspec.structs.fields(kind) if is_struct else ()


def _members(kind: Any) -> list[Any]:
    """The types inside Optional, Union, list and tuple annotations, and the type itself."""
    inner = [m for arg in getattr(kind, "__args__", ()) for m in _members(arg)]
    return [kind, *inner]


def _os_reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()
