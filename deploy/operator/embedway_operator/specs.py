"""From a resource's spec to the words of the configuration file."""

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from router.config.resources import Kind
from router.config.structural import camel


def file_words(model: type[BaseModel], data: Mapping[str, Any]) -> dict[str, Any]:
    """A spec's fields that the model knows, under the model's own names."""
    return {
        name: _value(field.annotation, data[camel(name)])
        for name, field in model.model_fields.items()
        if camel(name) in data
    }


def taken(kind: Kind, spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a resource shares with the file."""
    words = file_words(kind.model, spec)
    return {name: words[name] for name in kind.taken if name in words}


def own(kind: Kind, spec: Mapping[str, Any]) -> dict[str, Any]:
    """What only a cluster knows."""
    return file_words(kind.own, spec)


def _value(annotation: object, value: Any) -> Any:  # noqa: ANN401 - whatever the field holds
    for option in _options(annotation):
        arguments = typing.get_args(option)
        if isinstance(option, type) and issubclass(option, BaseModel) and isinstance(value, dict):
            return file_words(option, value)
        if typing.get_origin(option) in {list, tuple} and isinstance(value, list):
            return [_value(arguments[0], one) for one in value]
        if typing.get_origin(option) is dict and isinstance(value, dict):
            return {name: _value(arguments[1], one) for name, one in value.items()}
    return value


def _options(annotation: object) -> Iterator[object]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        yield from _options(arguments[0])
    elif origin in {typing.Union, types.UnionType}:
        for argument in arguments:
            yield from _options(argument)
    else:
        yield annotation
