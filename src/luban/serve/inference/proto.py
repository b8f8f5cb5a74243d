"""Message classes from the text of a .proto file, read when the server starts: nothing generated is kept.

Reads what `open_inference.proto` uses of proto3: messages within messages, scalars, `repeated`, `map`, `oneof`;
services are skipped. Classes are in a pool of their own, so that a client of the same protocol may be imported beside
them. Needs protobuf alone, which `onnx` brings. Source: the proto3 language specification.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

_SCALARS = ("double", "float", "int64", "uint64", "int32", "uint32", "bool", "string", "bytes")
_TOKEN = re.compile(r'//[^\n]*|"[^"]*"|[\w.]+|[{}=;<>,()]')


def messages(name: str) -> dict[str, Any]:
    """Message classes of a .proto file of this package, by their names; inner ones as `Outer.Inner`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    text = files("luban.serve.inference").joinpath(name).read_text("utf-8")
    made = _Reader(text).read(descriptor_pb2.FileDescriptorProto(name=name, syntax="proto3"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(made)
    top = f"{made.package}."
    return {
        full.removeprefix(top): message_factory.GetMessageClass(pool.FindMessageTypeByName(full))
        for full in _names(made.message_type, top)
    }


def _names(found: Any, prefix: str) -> Iterator[str]:
    for message in found:
        if not message.options.map_entry:
            yield prefix + message.name
            yield from _names(message.nested_type, f"{prefix}{message.name}.")


class _Reader:
    """Tokens to descriptors."""

    def __init__(self, text: str) -> None:
        self._tokens = iter([token for token in _TOKEN.findall(text) if not token.startswith("//")])

    def read(self, file: Any) -> Any:
        for token in self._tokens:
            if token == "package":
                file.package = next(self._tokens)
            elif token == "message":
                self._message(file.message_type.add(), f".{file.package}", {})
            elif token == "service":
                self._skip()
        return file

    def _skip(self) -> None:
        depth = 0
        for token in self._tokens:
            depth += (token == "{") - (token == "}")
            if token == "}" and depth == 0:
                return

    def _message(self, message: Any, scope: str, known: dict[str, str]) -> None:
        message.name = next(self._tokens)
        own = f"{scope}.{message.name}"
        root = "." + scope.split(".")[1]
        inner = dict(known)
        assert next(self._tokens) == "{"
        oneof: int | None = None
        while (token := next(self._tokens)) != "}" or oneof is not None:
            if token == "message":
                made = message.nested_type.add()
                self._message(made, own, inner)
                inner[made.name] = f"{own}.{made.name}"
            elif token == "oneof":
                oneof = len(message.oneof_decl)
                message.oneof_decl.add(name=next(self._tokens))
                assert next(self._tokens) == "{"
            elif token == "}":
                oneof = None
            else:
                self._field(message, token, own, lambda kind: inner.get(kind, f"{root}.{kind}"), oneof)

    def _field(self, message: Any, token: str, own: str, full: Any, oneof: int | None) -> None:
        field = message.field.add(label=3 if token in ("repeated", "map") else 1)
        if oneof is not None:
            field.oneof_index = oneof
        if token == "map":
            assert next(self._tokens) == "<"
            key, comma, value, end = (next(self._tokens) for _ in range(4))
            assert (comma, end) == (",", ">")
        else:
            key, value = "", next(self._tokens) if token == "repeated" else token
        field.name = next(self._tokens)
        assert next(self._tokens) == "="
        field.number = int(next(self._tokens))
        assert next(self._tokens) == ";"
        if key:
            entry = message.nested_type.add(name="".join(p.title() for p in field.name.split("_")) + "Entry")
            entry.options.map_entry = True
            _typed(entry.field.add(name="key", number=1, label=1), key, full)
            _typed(entry.field.add(name="value", number=2, label=1), value, full)
            field.type, field.type_name = 11, f"{own}.{entry.name}"
        else:
            _typed(field, value, full)


def _typed(field: Any, kind: str, full: Any) -> None:
    if kind in _SCALARS:
        field.type = field.Type.Value(f"TYPE_{kind.upper()}")
    else:
        field.type, field.type_name = 11, full(kind)
