"""The formats that docs/how-to/foreign-logs.md shows, taken from the page as a reader would."""

import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from weather_hpc.logs import fields, formats, parse_pattern, read_logs
from weather_hpc.logs.log_format import FormatFile
from weather_hpc.runs.row import Row

PAGE = (REPOSITORY / "docs" / "how-to" / "foreign-logs.md").read_text()
PAIRS = re.findall(r"```text\n([^`]*)```\n\n```yaml\n([^`]*)```", PAGE)


def collected(folder: Path, log: str, yaml: str) -> Row:
    (folder / "mine.yaml").write_text(yaml)
    (folder / "ddp_4gpu.log").write_text(log)
    form = formats([str(folder / "mine.yaml")])
    (reading,) = read_logs([folder / "ddp_4gpu.log"], parse_pattern("ddp_{gpus}gpu.log"), form)
    assert [f for f in reading.findings if f.severity == "error"] == []
    return reading.row


def test_the_page_shows_two_shapes() -> None:
    assert len(PAIRS) == 2


def test_an_epoch_with_its_progress(tmp_path: Path) -> None:
    row = collected(tmp_path, *PAIRS[0])
    assert (row.table, row.epochs_done, row.time_s) == ("training", 1, 3432.415)
    assert (row.train_loss, row.train_accuracy, row.test_accuracy) == (6.8345, 0.0035, 0.041)


def test_a_table_with_a_bar(tmp_path: Path) -> None:
    table = PAIRS[1][0]
    (bar,) = (line for line in table.splitlines(keepends=True) if "1/3" in line)
    two, three = bar.replace("1/3", "2/3"), bar.replace("1/3", "3/3").replace("1.214", "1.1")
    row = collected(tmp_path, table.replace(bar, bar + two + three), PAIRS[1][1])
    assert (row.table, row.epochs, row.epochs_done) == ("training", 3, 3)
    assert row.train_loss == 1.1
    assert row.time_s == pytest.approx(43.2)


def test_the_first_format_of_the_page(tmp_path: Path) -> None:
    (yaml,) = re.findall(r"```yaml\n(lines:\n  - 'it .*?)```", PAGE, re.DOTALL)
    log = "procs 4, 600 images\nit 1 of 1 err=0.5 ok=50.5 t=20000\nall done after 1.5 minutes\n"
    row = collected(tmp_path, log, yaml)
    assert (row.table, row.time_s) == ("training", 90)
    assert row.images_per_s == pytest.approx(600 / 90)


@pytest.mark.parametrize("name", [form.name for form in formats() if form.file.signature])
def test_the_page_goes_through_every_format(name: str) -> None:
    (form,) = formats((name,))
    assert f"\n### `{name}`: {form.file.title}\n" in PAGE
    (part,) = re.findall(rf"\n### `{name}`.*?(?=\n##+ )", PAGE, re.DOTALL)
    first = (form.file.lines[0].example or [""])[0]
    assert first.strip()[:60].replace("\t", "    ") in part
    assert not form.file.lacks or form.file.lacks[1:] in " ".join(part.split())


@pytest.mark.parametrize("group", fields.known())
def test_the_page_names_every_group(group: str) -> None:
    stem, _, unit = group.rpartition("_")
    names = (
        {group, f"{stem}_*"} if unit in (*fields.UNITS, "hms", "date") else {group, f"{group}_*"}
    )
    assert any(f"`{name}`" in PAGE for name in names)


@pytest.mark.parametrize("key", FormatFile.model_fields)
def test_the_page_names_every_key(key: str) -> None:
    assert f"`{key}`" in PAGE
