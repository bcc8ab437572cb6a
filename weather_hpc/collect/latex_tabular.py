"""The cells of tables in LaTeX: ``tabular`` and its relatives, without commands."""

import re
from collections.abc import Iterator

from weather_hpc.errors import UserError

_ENVIRONMENT = re.compile(
    r"\\begin\{(tabular[xy]?\*?|tabulary|longtable|tblr)\}(.*?)\\end\{\1\}", re.DOTALL
)
_ROW_END = re.compile(r"\\\\\*?(?:\[[^\]]*\])?|\\tabularnewline\b")
_LINES = re.compile(
    r"\\(?:(?:hline|(?:top|mid|bottom)rule|end(?:first)?(?:head|foot)|endlast(?:head|foot))\b"
    r"(?:\[[^\]]*\])?|(?:cline|cmidrule|addlinespace|rowcolor)(?:[(\[][^)\]]*[)\]])*(?:\{[^}]*\})?)"
)
_MARK = re.compile(r"\\(?:textsuperscript|tnote|footnote(?:mark)?)(?:\[[^\]]*\])?(?:\{[^{}]*\})?")
_COMMAND = re.compile(r"\\(?:text\w+|emph|math\w+|num|makecell|thead|underline|bm)\s*\{([^{}]*)\}")
_QUANTITY = re.compile(r"\\(?:SI|qty)(?:\[[^\]]*\])?\{([^{}]*)\}\{\\?([a-zA-Z]+)\}")
_OVER_ROWS = re.compile(
    r"\s*\\multirow(?:\[[^\]]*\])?\{(\d+)\}(?:\[[^\]]*\])?\{[^{}]*\}(?:\[[^\]]*\])?\{(.*)\}\s*",
    re.DOTALL,
)
_ONE_COLUMN = re.compile(r"\\multicolumn\{1\}\{[^{}]*\}(?=\{)")
_SWITCH = re.compile(r"\\(?:bf(?:series)?|it(?:shape)?|small|footnotesize|centering|tt)\b")
_SIGNS = {r"\pm": "±", r"\times": "×", r"\approx": "≈", r"\sim": "≈", r"\textendash": "–"}


def tabulars(path: object, text: str) -> Iterator[list[tuple[int, list[str]]]]:
    r"""Line number and cells of each row, for each table in ``text``; the header is the first row.

    A cell over several rows stands in each of them. Raises UserError, with ``path`` and the line,
    for one over several columns.
    """
    for found in _ENVIRONMENT.finditer(text):
        body, start = found[2], found.start(2)
        begin = _after_groups(body)
        rows = []
        below: dict[int, tuple[int, str]] = {}
        for end in [*_ROW_END.finditer(body, begin), None]:
            row = body[begin : end.start() if end else len(body)]
            last = begin + len(row.rstrip())
            line = text.count("\n", 0, start + last) + 1
            row = _ONE_COLUMN.sub("", _LINES.sub(" ", re.sub(r"(?<!\\)%.*", "", row)))
            parts = re.split(r"(?<!\\)&", row)
            _spread(parts, below)
            if spanning := re.search(r"\\multi(?:column|row)\b", "&".join(parts)):
                raise UserError(f"{path}:{line}: {spanning[0]}: expected one cell for each column")
            cells = [_plain(cell) for cell in parts]
            if any(cells):
                rows.append((line, cells))
            begin = end.end() if end else len(body)
        if rows:
            yield rows


def _spread(parts: list[str], below: dict[int, tuple[int, str]]) -> None:
    """Replace each cell over several rows by its text, and the empty ones ``below`` it too.

    ``below`` has by column in how many more rows the text stands.
    """
    if not any(part.strip() for part in parts):
        return
    for at, part in enumerate(parts):
        if found := _OVER_ROWS.fullmatch(part):
            below[at] = int(found[1]), found[2]
        rest, text = below.pop(at, (0, ""))
        if rest and (found or not part.strip()):
            parts[at] = text
            below[at] = rest - 1, text


def _after_groups(body: str) -> int:
    """Where the rows begin: after the groups with position, width and form of the columns."""
    at = 0
    while found := re.compile(r"\s*[\[{]").match(body, at):
        depth, at = 0, found.end() - 1
        for position in range(at, len(body)):
            depth += (body[position] in "[{") - (body[position] in "]}")
            if depth == 0:
                at = position + 1
                break
        else:
            return len(body)
    return at


def _plain(cell: str) -> str:
    """A cell as text."""
    text = _QUANTITY.sub(r"\1 \2", _MARK.sub("", cell))
    for command, sign in _SIGNS.items():
        text = re.sub(rf"{re.escape(command)}(?![a-z])(?:\{{\}})?", sign, text)
    for _ in range(3):  # commands within commands
        text = _COMMAND.sub(r"\1", text)
    text = _SWITCH.sub("", text)
    text = re.sub(r"\\[,;!: ]|(?<!\\)~", " ", text.replace("$", ""))
    text = re.sub(r"\\([%_#&{}])", r"\1", text)
    return " ".join(re.sub(r"(?<!\\)[{}]", "", text).split())
