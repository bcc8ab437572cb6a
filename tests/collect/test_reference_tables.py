"""References of others: tables in any form of text, with any heads, units and cells."""

import re
from pathlib import Path

import pytest

from weather_hpc.collect.reference_csv import Reference, load_reference
from weather_hpc.collect.reference_heads import columns
from weather_hpc.errors import UserError


def read(tmp_path: Path, text: str | bytes, name: str = "ddp.csv") -> Reference:
    """The reference in a file with ``text``."""
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_reference(path)


def values(reference: Reference, name: str = "time_s") -> dict[int, float]:
    """One measurement by number of ranks."""
    return {row.key["world_size"]: row.values[name] for row in reference.rows}


def refused(tmp_path: Path, text: str | bytes, name: str = "ddp.csv") -> str:
    """The error that reading ``text`` ends with, without the folder."""
    with pytest.raises(UserError) as caught:
        read(tmp_path, text, name)
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    "head",
    [
        "Time (min)", "Training time [min]", "time_min", "Duration/minutes", "Run time in minutes",
        "Wall-clock time (minutes)", "minutes", "Time (mins)", "Time (m)", "Time ± std (min)",
        "Total Training Time (Min)", "Elapsed, min", "Time to train (min)",
    ],
)  # fmt: skip
def test_the_unit_is_in_the_head(tmp_path: Path, head: str) -> None:
    reference = read(tmp_path, f'GPUs;"{head}"\n1;26\n2;13.5\n')
    assert values(reference) == {1: 1560, 2: 810}
    assert reference.notes == (f"{head} of ddp.csv converted to time_s",)


@pytest.mark.parametrize(
    ("head", "time_s"),
    [
        ("runtime (hours)", 7200), ("time_h", 7200), ("Time (ms)", 0.002), ("walltime", 2),
        ("Training time (s)", 2), ("Time (days)", 172800), ("t / s", 2), ("Elapsed", 2),
    ],
)  # fmt: skip
def test_other_units(tmp_path: Path, head: str, time_s: float) -> None:
    assert values(read(tmp_path, f"ngpus,{head}\n4,2\n")) == {4: pytest.approx(time_s)}


@pytest.mark.parametrize(
    ("cell", "time_s"),
    [
        ("26 min", 1560), ("26min", 1560), ("1h 05m", 3900), ("1h05", 3900), ("2.5h", 9000),
        ("0:26:00", 1560), ("1-02:03:04", 93784), ("1 day, 2:03:04", 93784), ("26:00.5", 1560.5),
        ("16 mins 53 s", 1013), ("9 m 47 s", 587), ("1.6 days", 138240), ("1550 s", 1550),
        ("1550 ± 12", 1550), ("1550 (12)", 1550), ("26 ± 2 min", 1560), ("1550 +/- 0.8%", 1550),
        ("1550 [1530–1570]", 1550), ("1550*", 1550), ("1550†", 1550), ("1550¹", 1550),
        ("1550 [1]", 1550),
        ("2h:03m:04s", 7384), ("1550 s (baseline)", 1550), ("1.55(3) h", 5580),
        ("1550s ± 12s", 1550), ("(26 ± 2) min", 1560), ("1550 ± 12 (n=3)", 1550),
        ("~26 min", 1560), ("1 550", 1550), ("1.55e3", 1550), ("1:05 h", 3900),
    ],
)  # fmt: skip
def test_durations_in_cells(tmp_path: Path, cell: str, time_s: float) -> None:
    reference = read(tmp_path, f'GPUs;Time\n1;"{cell}"\n')
    assert values(reference) == {1: pytest.approx(time_s)}


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        ("26:00", "minutes or hours? Expected such as 0:26:00 or 26:00:00"),
        ("1,550", "is the comma a decimal sign or between thousands?"),
        ("15.42 s/epoch", "is not a number above 0 or a time such as 26 min"),
        (">24h", "is not a number above 0"),
        ("1550 (26 min)", "is not a number above 0"),
        ("5 min 2 h", "is not a number above 0"),
        ("1500 1550", "is not a number above 0"),
        ("10³", "is not a number above 0"),
        ("10^3", "is not a number above 0"),
        ("1550 ± 12 ± 3", "is not a number above 0"),
        ("26 (1560)", "is not a number above 0"),
    ],
)
def test_cells_that_may_be_two_things_are_refused(tmp_path: Path, cell: str, hint: str) -> None:
    message = refused(tmp_path, f'GPUs,Time\n1,"{cell}"\n')
    assert message.startswith(f"ddp.csv:2: Time: {cell!r}")
    assert hint in message


def test_a_clock_of_two_numbers_follows_the_head(tmp_path: Path) -> None:
    assert values(read(tmp_path, "GPUs,Time (mm:ss)\n1,26:30\n")) == {1: 1590}
    assert values(read(tmp_path, "GPUs,Time (min:sec)\n1,26:30\n")) == {1: 1590}
    assert values(read(tmp_path, "GPUs,Time (hr:min)\n1,1:05\n")) == {1: 3900}
    assert values(read(tmp_path, "GPUs,Time (h:mm)\n1,1:05\n")) == {1: 3900}
    assert values(read(tmp_path, "GPUs,Time (min)\n1,26:30\n")) == {1: 1590}


def test_decimal_commas_and_thousands(tmp_path: Path) -> None:
    assert values(read(tmp_path, "GPUs;Time\n1;1550,5\n2;1.200\n")) == {1: 1550.5, 2: 1200}
    assert values(read(tmp_path, "GPUs\tTime\n1\t1.550,5\n2\t800,0\n")) == {1: 1550.5, 2: 800}
    assert values(read(tmp_path, 'GPUs,Time\n1,"2,836.5"\n2,"1,550"\n')) == {1: 2836.5, 2: 1550}
    assert values(read(tmp_path, "GPUs;Time\n1;1550.5\n")) == {1: 1550.5}
    # nothing in the column tells which
    assert "'1,550'" in refused(tmp_path, "GPUs;Time\n1;1,550\n2;800\n")
    assert "'3,5'" in refused(tmp_path, 'GPUs,Time\n1,"3,5"\n')


MARKDOWN = """# Results

Options are a | b.

| # GPUs | Batch size/GPU | **Training time (s)** | Note |
|:------:|:---------------|----------------------:|------|
| 1      | 32             | **1550**              | a \\| b |
| 2      | 32             | 800[^1]               |
| 4      | 32             | OOM                   | |
| 8      | 32             | $430 \\pm 12$          | |

[^1]: measured twice

| Option | Default |
|--------|---------|
| lr     | 0.1     |
"""


DOCS = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "nightly.md"


def test_the_example_of_the_documentation() -> None:
    reference = load_reference(DOCS)
    assert values(reference) == {4: pytest.approx(1566), 8: 810}
    assert values(reference, "images_per_s") == {4: 2836, 8: 5502}
    assert {row.key["batch_size_per_device"] for row in reference.rows} == {32}
    assert reference.notes == (
        "Training time (min) of nightly.md converted to time_s",
        "Nodes x GPUs per node of nightly.md",
    )
    assert "2 cells of nightly.md (OOM, -)" in reference.unused


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("time of a run", "time_s"),
        ("images per second", "images_per_s"),
        ("speedup, accuracy", None),
        ("ranks", None),
        ("nodes", None),
        ("batch size", None),
        ("others", None),
    ],
)
def test_the_heads_of_the_documentation_are_read(row: str, name: str | None) -> None:
    (line,) = [line for line in DOCS.read_text().splitlines() if line.startswith(f"| {row} |")]
    said, _, not_read = line.split("|")[2].partition("; not ")
    said = said.partition("; cells ")[0]
    heads = [h for h in re.findall("`([^`]+)`", said) if h not in ("1.98x", "%", "/GPU")]
    assert len(heads) > 2
    ours = ("world_size", "strategy", "model", "device")
    for head in heads:
        found, doubtful = columns([head], [["4"]], ours)
        assert len(found) == 1, head
        assert name in (None, *found), head
        assert doubtful == []
    for head in re.findall("`([^`]+)`", not_read):
        assert columns([head], [["4"]], ours) == ({}, [])


def test_markdown_with_text_around_it(tmp_path: Path) -> None:
    reference = read(tmp_path, MARKDOWN, "README.md")
    assert values(reference) == {1: 1550, 2: 800, 8: 430}
    assert [row.where.rpartition(":")[2] for row in reference.rows] == ["7", "8", "10"]
    assert {row.key["batch_size_per_device"] for row in reference.rows} == {32}
    assert reference.unused == (
        "the table in line 14 of README.md",
        "Note of README.md",
        "1 cell of README.md (OOM)",
        "1 row of README.md (without values)",
    )


@pytest.mark.parametrize(
    "text",
    [
        "GPUs | Time (s)\n--- | ---:\n1 | 1550\n2 | 800\n",
        "> | GPUs | `time_s` |\n> |-|-|\n> | 1 | _1550_ |\n> | 2 | [800](log.txt) |\n",
        "| GPUs | Time<br>(min) |\n|-|-|\n| 1 | 25.833333333333332 |\n| 2 | 13.333333333333334 |\n",
        "| GPUs | Time (s) |\n|------+----------|\n| 1 | 1550 |\n| 2 | 800 |\n",
        " gpus | time_s \n------+--------\n    1 |   1550\n    2 |    800\n(2 rows)\n",
        "+------+------+\n| GPUs | Time |\n+======+======+\n| 1 | 1550 |\n+---+---+\n| 2 | 800 |\n",
        "┏━━━━━━┳━━━━━━┓\n┃ GPUs ┃ Time ┃\n┡━━━━━━╇━━━━━━┩\n│ 1    │ 1550 │\n│ 2    │ 800  │\n",
        "Num GPUs   Batch size  Time (s)\n---------------\n1   32   1550\n2   32   800\n",
        "# measured with NCCL\n# gpus time_s\n1 1550\n2 800\n",
        "# of GPUs,Time (s)\n1,1550\n2,800\n",
        "Run;GPUs;Time (s)\n#1;1;1550\n#2;2;800\n",
        "# on cluster X\nGPUs,Time (s)\n1,1550\n# again\n2,800\n* one node,\n",
        'Results of today,,\n,,\nGPUs,"Time\n(s)",\n1,1550,\n2,800,\n',
        "sep=;\nGPUs;Time (s)\n1;1550\n2;800\n",
        "\ufeffGPUs\tTime (s)\r\n1\t1550\r\n2\t800\r\n",
        "GPUs|Elapsed|State\n1|00:25:50|COMPLETED\n2|00:13:20|COMPLETED\n4|00:00:07|FAILED\n",
        "GPUs,Time\n-,min\n1,25.833333333333332\n2,13.333333333333334\n",
        "GPUs,Time,Unit\n1,1550,s\n2,800,s\n",
    ],
)
def test_forms_of_a_table(tmp_path: Path, text: str) -> None:
    for encoding in ("utf-8", "utf-16"):
        reference = read(tmp_path, text.encode(encoding), "ddp.txt")
        assert values(reference) == {1: pytest.approx(1550), 2: pytest.approx(800)}
        assert {row.key["device"] for row in reference.rows} == {"cuda"}


LATEX = r"""
\documentclass{article}
\begin{table} % two nodes
  \begin{tabularx}{\linewidth}[t]{@{}l r S[table-format=4.1]@{}}
    \toprule
    \textbf{\# GPUs} & Batch size\,/\,GPU & {Time (min)} \\ \midrule
    1 & 32 & \textbf{26} \\[2pt]
    2 & 32 & $13.5 \pm 0.2$\textsuperscript{a} \\ \cmidrule(lr){1-2}
    4 & 32 & -- \\ % out of memory
    \bottomrule
  \end{tabularx}
\end{table}
"""


def test_latex(tmp_path: Path) -> None:
    reference = read(tmp_path, LATEX, "paper.tex")
    assert values(reference) == {1: 1560, 2: 810}
    assert [row.where.rpartition(":")[2] for row in reference.rows] == ["7", "8"]
    assert {row.key["batch_size_per_device"] for row in reference.rows} == {32}
    assert "1 cell of paper.tex (--)" in reference.unused
    text = "\\begin{tabular}{ll}\nGPUs & Time \\\\\n\\multicolumn{2}{c}{V100} \\\\\n\\end{tabular}"
    assert refused(tmp_path, text, "paper.tex") == (
        "paper.tex:3: \\multicolumn: expected one cell for each column"
    )


def test_lines_passed_over_are_said(tmp_path: Path) -> None:
    text = "Results,\nGPUs,Time (s)\n1,1550\n# again\n2,-\n4,N/A\n8,\n* one node,\n"
    reference = read(tmp_path, text)
    assert values(reference) == {1: 1550}
    assert reference.unused == (
        "lines 1, 4, 8 of ddp.csv",
        "2 cells of ddp.csv (-, N/A)",
        "3 rows of ddp.csv (without values)",
    )


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"PK\x03\x04\x14\x00", "a workbook (.xlsx or .ods)"),
        (b"\xd0\xcf\x11\xe0\xa1", "an Excel workbook (.xls)"),
        (b"PAR1\x15", "a Parquet file"),
        (b"%PDF-1.7", "a PDF"),
        (b"\x1f\x8b\x08", "a compressed file"),
        (b"<table><tr><th>GPUs</th></tr></table>", "HTML"),
        (b'[{"gpus": 1, "time_s": 3}]', "JSON"),
        (b"gpus,time_s\n1,\x00\n", "not a CSV in UTF-8"),
    ],
)
def test_other_forms_are_named(tmp_path: Path, data: bytes, kind: str) -> None:
    assert refused(tmp_path, data, "table").startswith(f"table: {kind}")


@pytest.mark.parametrize(
    ("head", "cell", "rate"),
    [
        ("Img/sec", "758.9", 758.9), ("images/s", "758.9", 758.9), ("imgs_per_sec", "9", 9),
        ("Samples per second", "9", 9), ("Throughput (img/s)", "9", 9), ("images/min", "90", 1.5),
        ("Throughput", "9 img/s", 9), ("Throughput", "9 ± 1 images/s (3.7x)", 9),
        ("Throughput (samples/s/GPU)", "9", 36), ("FPS", "9", 9),
        ("Total throughput [images/sec]", "9 ± 1", 9), ("img/s per GPU", "9 (3.9x)", 36),
        ("Images/GPU/s ↑ (higher is better)", "9", 36),
    ],
)  # fmt: skip
def test_throughput(tmp_path: Path, head: str, cell: str, rate: float) -> None:
    reference = read(tmp_path, f"GPUs;{head}\n4;{cell}\n")
    assert values(reference, "images_per_s") == {4: pytest.approx(rate)}


@pytest.mark.parametrize(
    ("head", "hint"),
    [
        ("Throughput", "name it images_per_s if it is that"),
        ("Throughput (tok/s)", "name it images_per_s if it is that"),
        ("Time per epoch (s)", "is not read as the time of a whole run"),
        ("step_time_ms", "is not read as the time of a whole run"),
        ("GPU hours", "is not read as the time of a run"),
        ("Efficiency", "an efficiency alone is not compared"),
        ("it/s", "columns: GPUs, it/s"),
        ("Min time", "columns: GPUs, Min time"),
        ("Day", "columns: GPUs, Day"),
        ("images/s (1 GPU),images/s (2 GPUs)", "one row per configuration, not one column"),
    ],
)
def test_other_quantities_are_not_taken_for_times(tmp_path: Path, head: str, hint: str) -> None:
    text = f"GPUs,{head}\n4,9{',8' * head.count(',')}\n"
    message = refused(tmp_path, text)
    assert message.startswith("ddp.csv:1: no column time_s")
    assert message.endswith(hint)


def test_speedup_and_accuracy(tmp_path: Path) -> None:
    text = "| GPUs | Speed-up | Top-1 (%) |\n|-|-|-|\n| 2 | 1.98× | 76.1 |\n"
    text += "| 4 | 3.9x (98%) | 76 |\n"
    reference = read(tmp_path, text)
    assert values(reference, "speedup") == {2: 1.98, 4: 3.9}
    assert values(reference, "test_accuracy") == {2: 0.761, 4: 0.76}
    for cell, share in (
        ("76.1%", 0.761),
        ("76.1 ± 0.2 %", 0.761),
        ("76.1% ± 0.2%", 0.761),
        ("0.761 (±1%)", 0.761),
        ("0.761", 0.761),
    ):
        reference = read(tmp_path, f"gpus,accuracy\n1,{cell}\n")
        assert values(reference, "test_accuracy") == {1: share}
    assert "'0.76 ± 1 %'" in refused(tmp_path, "gpus,accuracy\n1,0.76 ± 1 %\n")
    assert "if it is in percent, write 76.1 %" not in refused(tmp_path, "gpus,acc\n1,761\n")
    assert "if it is in percent, write 76.1 %" in refused(tmp_path, "gpus,acc\n1,76.1\n")


def test_batch_sizes(tmp_path: Path) -> None:
    for cell in ("32", "32/GPU", "32 per GPU", "32 (per device)"):
        (row,) = read(tmp_path, f"gpus,Batch size,time\n1,{cell},9\n").rows
        assert row.key["batch_size_per_device"] == 32
    assert "'32x4' is not a whole number" in refused(tmp_path, "gpus,batch,time\n4,32x4,9\n")


def test_a_minimum_beside_a_maximum_is_no_number_of_minutes(tmp_path: Path) -> None:
    reference = read(tmp_path, "gpus,time_mean,time_min,time_max\n1,100,98,103\n")
    assert values(reference) == {1: 100}
    assert reference.unused == ("time_min, time_max of ddp.csv",)


@pytest.mark.parametrize(
    ("text", "ranks"),
    [
        ("Nodes,GPUs per node,Time\n1,4,9\n2,4,5\n", {(1, 4), (2, 8)}),
        ("nnodes,nproc_per_node,time\n2,4,5\n", {(2, 8)}),
        ("Servers,GPUs/server,Total GPUs,Time\n2,4,8,5\n", {(2, 8)}),
        ("GPUs,Time\n1x4,9\n4 nodes x 8,5\n", {(1, 4), (4, 32)}),
        ("GPUs,Time\n4 (1 node),9\n16 (4x4),5\n", {(1, 4), (4, 16)}),
        ("Nodes x GPUs,Time\n2 × 4,9\n", {(2, 8)}),
        # all GPUs: as many on each node as on one
        ("Nodes,GPUs,Time\n1,1,9\n1,4,5\n2,8,3\n", {(1, 1), (1, 4), (2, 8)}),
        # fewer GPUs than nodes: of each node
        ("Nodes,GPUs,Time\n2,1,9\n4,1,5\n", {(2, 2), (4, 4)}),
        ("Nodes,Total GPUs,Time\n2,8,9\n", {(2, 8)}),
        ("Nodes,GPUs,Total GPUs,Time\n2,4,8,9\n", {(2, 8)}),
        ("GPUs,Time\n8x A100 80GB,9\n4 GPUs,5\n2x3090,4\n", {(None, 8), (None, 4), (None, 2)}),
        ("Hardware,Time\n8 x Nvidia V100 (16GB),9\n4 V100 GPUs,20\n", {(None, 8), (None, 4)}),
        ("GPU,Number of GPUs,Time\nA100,4,9\n", {(None, 4)}),
        ("Configuration,Time\n1 GPU,9\n4 GPUs,5\n", {(None, 1), (None, 4)}),
    ],
)
def test_numbers_of_gpus(tmp_path: Path, text: str, ranks: set[tuple[int | None, int]]) -> None:
    rows = read(tmp_path, text).rows
    assert {(row.key.get("nodes"), row.key["world_size"]) for row in rows} == ranks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Nodes,GPUs,Time\n1,4,9\n2,4,5\n", "1: Nodes and GPUs: the GPUs of each node or of all?"),
        ("Nodes,GPUs/node,GPUs,Time\n2,4,4,5\n", "2: 4 in all, but 2 nodes with 4 each are 8"),
        ("GPUs,Time\n16 (2x4),5\n", "2: GPUs: '16 (2x4)' is not a whole number"),
        ("GPUs,Time\n2x128,5\n", "2: GPUs: '2x128' is not a whole number"),
        ("GPUs,Time\n4 per node,5\n", "2: GPUs: '4 per node' is not a whole number"),
        ("GPU,Time\nA100,5\n", "1: no column workers, world_size or gpus"),
        ("nodes,Time\n2,5\n", "1: no column workers, world_size or gpus"),
        ("Nodes,GPUs,Time\n1,4,9\n2\n", "3: 1 cells; the header has 3"),
        ("GPUs,Time (s),Time (min)\n1,60,1\n", "1: Time (s) or Time (min)?"),
        ("GPUs,Total time,Training time\n1,60,59\n", "1: Total time or Training time?"),
        ("GPUs,# GPUs,Time\n1,2,59\n", "1: GPUs or # GPUs?"),
        ("gpus,batch,bs,time\n1,2,3,59\n", "1: batch or bs?"),
        ("GPUs,Time,unit\n1,60,s\n2,1,min\n", "1: unit: min, s: expected one unit"),
    ],
)
def test_two_things_that_could_be_meant_are_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    assert refused(tmp_path, text).startswith(f"ddp.csv:{message}")


def test_our_own_name_comes_before_others(tmp_path: Path) -> None:
    reference = read(tmp_path, "gpus,time_s,Time (min),world_size\n1,60,99,2\n")
    assert values(reference) == {2: 60}
    assert reference.unused == ("gpus, Time (min) of ddp.csv",)


def test_heads_in_words(tmp_path: Path) -> None:
    text = (
        "Method,Network,World size,Batch size per GPU,Global batch size,Number of epochs,Time\n"
        "DistributedDataParallel,ResNet-50,4,32,128,3,9\nDataParallel,ResNet-50,4,32,128,3,12\n"
    )
    rows = read(tmp_path, text, "lab.csv").rows
    assert [row.key["strategy"] for row in rows] == ["ddp", "dp"]
    assert rows[0].label == (
        "strategy ddp, world_size 4, batch_size_per_device 32, batch_size_global 128, "
        "model ResNet-50, epochs 3"
    )
    (row,) = read(tmp_path, "Method,CPU cores,walltime\nDask,4,1m 30s\n", "preprocess.csv").rows
    assert (row.table, row.label) == ("preprocess", "backend dask, workers 4")
    assert dict(row.values) == {"time_s": 90}
    (row,) = read(tmp_path, "backend,gpus,time\nnccl,4,9\n", "lab.csv").rows
    assert (row.table, row.label) == ("training", "device cuda, world_size 4")


def test_repeats_are_one_row_with_their_median(tmp_path: Path) -> None:
    text = "gpus,trial,job_id,loss,time_s\n1,1,77,0.9,103\n1,2,78,0.8,100\n1,3,79,0.8,101\n"
    text += "2,1,80,1,9\n"
    reference = read(tmp_path, text)
    first, second = reference.rows
    assert dict(first.values) == {"time_s": 101, "time_s_low": 100, "time_s_high": 103}
    assert first.where.endswith("ddp.csv:2,3,4 (median)")
    assert second.where.endswith("ddp.csv:5")
    assert reference.notes == ("medians of 1 configuration of ddp.csv",)
    # without a column for the repeat, and one that ran out of memory
    assert values(read(tmp_path, "gpus,time_s\n1,100\n1,104\n1,OOM\n")) == {1: 102}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpus,precision,time_s\n1,fp32,9\n1,fp16,8\n", "but precision is fp16, there fp32"),
        ("GPUs,Cluster,Img/sec\n1,mahti,758.9\n1,puhti,326\n", "but Cluster is puhti, there mahti"),
        ("gpus,memory format,time_s\n1,nchw,9\n1,nhwc,8\n", "but memory format is nhwc"),
        ("gpus,run,time_s\n1,base,9\n1,tuned,8\n", "but the run is 'tuned', there 'base'"),
        (",gpus,time_s\nV100,1,9\nA100,1,8\n", "but the column without a head is A100, there V100"),
        ("gpus,time_s\n1,9\n1,90\n", "and time_s is from 9 to 90"),
    ],
)
def test_other_configurations_are_no_repeats(tmp_path: Path, text: str, message: str) -> None:
    found = refused(tmp_path, text)
    assert found.startswith("ddp.csv:3: the same configuration as in line 2 (strategy ddp")
    assert message in found


@pytest.mark.parametrize("head", ["Config", "GPUs<br>(V100)", "GPUs [A100 80GB]"])
def test_numbers_of_gpus_beside_their_model(tmp_path: Path, head: str) -> None:
    text = f"| {head} | Time (s) |\n|---|---|\n| 1x GPU | 100 |\n| 4 x GPUs | 27 |\n"
    assert values(read(tmp_path, text, "ddp.md")) == {1: 100, 4: 27}


@pytest.mark.parametrize("mark", ["", '"', "^^"])
def test_merged_cells(tmp_path: Path, mark: str) -> None:
    rows = [("resnet50", 1, 100), (mark, 2, 52), ("vgg16", 1, 200), (mark, 2, 110)]
    lines = [
        "| Model | GPUs | Time (s) |",
        "|---|---|---|",
        *(f"| {a} | {b} | {c} |" for a, b, c in rows),
    ]
    reference = read(tmp_path, "\n".join(lines), "ddp.md")
    models = [row.key["model"] for row in reference.rows]
    assert models == ["resnet50", "resnet50", "vgg16", "vgg16"]
    assert reference.notes == ("empty cells of Model of ddp.md as those above",)


def test_cells_of_latex_over_several_rows(tmp_path: Path) -> None:
    text = (
        r"\begin{tabular}{llr} Model & GPUs & Time (s)\\"
        r"\multirow{2}{*}{\textbf{ResNet}} & 1 & \multicolumn{1}{c}{100}\\"
        r" & 2 & \SI{52}{\second}\\ \cmidrule(lr){1-3}"
        r"\multirow[c]{2}{3em}{VGG} & 1 & \multirow{2}{*}{\qty{3}{\minute}}\\"
        r" & 4 & \\ \end{tabular}"
    )
    rows = read(tmp_path, text, "ddp.tex").rows
    assert [(row.key["model"], row.key["world_size"], row.values["time_s"]) for row in rows] == [
        ("ResNet", 1, 100), ("ResNet", 2, 52), ("VGG", 1, 180), ("VGG", 4, 180),
    ]  # fmt: skip
    wide = r"\begin{tabular}{lr} & \multicolumn{2}{c}{Time (s)}\\ 1 & 2\\ \end{tabular}"
    assert "expected one cell for each column" in refused(tmp_path, wide, "ddp.tex")


def test_a_column_for_each_repeat_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, "GPUs,Run 1 (s),Run 2 (s)\n1,100,101\n")
    assert message.endswith("expected one row per repeat, not one column")
