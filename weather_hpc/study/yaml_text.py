"""YAML text -> values, within limits: no text, however it is written, takes long or much memory."""

import re
from typing import Any

import yaml

from weather_hpc.text import clean

LARGEST_YAML = 128 * 2**10
"""Bytes. The longest file that the package has is 6 KiB; this much is read in about 2 s."""

MOST_VALUES = 20_000
"""Of all values together; those of an alias count each time that they are used."""

DEEPEST = 40
"""Levels of lists and mappings inside each other."""

_DECIMAL = re.compile(
    r"[-+]?(0|[1-9][0-9_]*)"
    r"|[-+]?([0-9][0-9_]*)?\.[0-9_]*([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
"""Numbers that mean the same to people and to YAML, which reads 010 as 8 and 1:30 as 90."""

_LONGEST_NUMBER = 400
"""Characters."""


def cut(text: str, most: int = 60) -> str:
    """``text`` for a message: printable, on one line, at most so many characters."""
    shown = clean(text[: most + 1])
    return shown if len(shown) <= most else f"{shown[:most]}..."


class _Loader(yaml.SafeLoader):
    """The safe loader, with limits; it also refuses what YAML would silently read as another value.

    These are a key written twice, keys that are no words, and numbers that are not decimal. Written
    in Python and not libyaml's, which ends the process on deep nesting.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._values = 0
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node. Counts values and levels while the text is read."""
        event = self.peek_event()
        before = self._values
        self._depth += 1
        if self._depth > DEEPEST:
            raise _wrong(f"more than {DEEPEST} levels of lists and mappings", event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if node not in self._sizes:
                raise _wrong(f"alias *{cut(event.anchor)} is part of itself", event.start_mark)
            self._values += self._sizes[node]
        else:
            self._values += 1
        if self._values > MOST_VALUES:
            raise _wrong(f"more than {MOST_VALUES} values, aliases included", event.start_mark)
        if node is not None:
            self._sizes.setdefault(node, self._values - before)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of ``node``. Raises YAMLError where its text does not fit its type."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
            tag = str(node.tag).rpartition(":")[2]
            what = f"{cut(node.value)!r}" if isinstance(node.value, str) else "this"
            raise _wrong(f"{what} is no valid {cut(tag)}", node.start_mark) from None


def _wrong(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            kind = "list" if isinstance(key, yaml.SequenceNode) else "mapping"
            raise _wrong(f"a key must be a word, not a {kind}", key.start_mark)
        if key.value in seen:
            raise _wrong(f"key {cut(key.value)!r} is written twice", key.start_mark)
        seen.add(key.value)
        kind = str(key.tag).rpartition(":")[2]
        if kind not in ("str", "merge"):
            raise _wrong(
                f"a key must be a word; {cut(key.value)!r} is read as {kind}, unless it is quoted",
                key.start_mark,
            )
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


def _number(loader: _Loader, node: yaml.ScalarNode) -> Any:
    text = str(loader.construct_scalar(node))
    if len(text) > _LONGEST_NUMBER:
        raise _wrong(f"a number of {len(text)} characters", node.start_mark)
    if not _DECIMAL.fullmatch(text):
        raise _wrong(
            f"{cut(text)} is no decimal number; text that looks like a number needs quotes",
            node.start_mark,
        )
    plain = node.tag.endswith(":int")
    return loader.construct_yaml_int(node) if plain else loader.construct_yaml_float(node)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def compose(text: str) -> yaml.Node | None:
    """The nodes of ``text``, which know their lines; None: it is empty. Raises YAMLError."""
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def values(text: str) -> tuple[Any, yaml.Node | None]:
    """The value of ``text``, and its nodes. Raises YAMLError."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return (None if node is None else loader.construct_document(node)), node
    finally:
        loader.dispose()


def explained(text: str, error: yaml.YAMLError) -> tuple[int | None, str]:
    """The line of ``error`` in ``text``, from 1 (None: not known), and what is wrong."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return line, f"character {text[error.position]!a} is not allowed"
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "cannot be read"
    return (mark.line + 1 if mark else None), cut(problem, 200)
