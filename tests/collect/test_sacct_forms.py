"""The forms in which people keep what sacct printed: each is read alike, or told as what it is."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from weather_hpc.collect.sacct_file import is_sacct, read_sacct
from weather_hpc.errors import UserError

WANTED = "expected the output of sacct --duplicates --parsable2 -o JobID,"

EXPORT = """\
JobID|JobIDRaw|JobName|State|Eligible|Start|End|Elapsed|NNodes|NodeList|MaxRSS
12_1|13|train|TIMEOUT|2026-01-01T00:00:00|2026-01-01T00:01:00|2026-01-01T00:03:00|00:02:00|2|n[1,3]|
12_1.batch|13.batch|batch|CANCELLED|2026-01-01T00:01:00|2026-01-01T00:01:00|\
2026-01-01T00:03:00|00:02:00|1|n1|1.5G
12_[2-3%1]|12|train|PENDING|2026-01-01T00:00:00|Unknown|Unknown|00:00:00|1|None assigned|
"""

CELLS = [line.split("|") for line in EXPORT.splitlines()]
WIDTHS = [max(map(len, column)) for column in zip(*CELLS, strict=True)]


def in_columns(widths: list[int] = WIDTHS, cells: list[list[str]] = CELLS) -> str:
    """``cells`` as sacct prints them without --parsable2."""

    def fitted(text: str, width: int) -> str:
        return text.rjust(width) if len(text) <= width else f"{text[: width - 1]}+"

    head = [name[:width].rjust(width) for name, width in zip(cells[0], widths, strict=True)]
    rows = [head, ["-" * width for width in widths]]
    rows += [list(map(fitted, row, widths)) for row in cells[1:]]
    return "".join(f"{' '.join(row)} \n" for row in rows)


def document(*, new: bool) -> dict[str, Any]:
    """The same job as ``sacct --json`` prints it, as Slurm 22.05 or as 24.05 does."""

    def number(value: int | None) -> Any:
        return {"set": value is not None, "infinite": False, "number": value or 0} if new else value

    peak = {"type": "mem", "name": "", "id": 2, "count": 3 * 2**29, "node": "n1", "task": 0}
    job = {
        "account": "a", "submit_line": "sbatch sacct job", "name": "train",
        "allocation_nodes": 2, "nodes": "n[1,3]", "job_id": 13,
        "array": {"job_id": 12, "task_id": number(1), "task": "" if new else None},
        "het": {"job_id": 0, "job_offset": number(None)},
        "state": {"current": ["TIMEOUT"] if new else "TIMEOUT", "reason": "None"},
        "time": {"elapsed": 120, "submission": 1767225600, "eligible": 1767225600,
                 "start": 1767225660, "end": 1767225780},
        "exit_code": {"status": ["SUCCESS"], "return_code": number(0)},
        "tres": {"allocated": [{"type": "cpu", "count": 8}, {"type": "node", "count": 2}]},
        "steps": [{"tres": {"requested": {"max": [{"type": "cpu", "count": 9}, peak]}}}],
    }  # fmt: skip
    meta = {"Slurm": {"version": {"major": 24 if new else 22}}}
    return {"jobs": [job], "meta": meta} if new else {"meta": meta, "errors": [], "jobs": [job]}


def export(folder: Path, text: str | bytes, name: str = "acct.txt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert is_sacct(path)
    return path


def by(sign: str) -> str:
    return EXPORT.replace("|", sign)


QUOTED = "\n".join(",".join(f'"{cell}"' for cell in row) for row in CELLS)
MARKDOWN = "\n".join(f"| {' | '.join(row)} |" for row in [CELLS[0], ["---"] * 11, *CELLS[1:]])
FORMS: dict[str, str | bytes] = {
    "as it is": EXPORT,
    **{f"delimiter {sign!r}": by(sign)
       for sign in (";", ",", "\t", "☃", "^", "~", "#", "::", "@@", " | ", "__SEP__", "\x1f", "§")},
    "parsable": EXPORT.replace("\n", "|\n"),
    "latin-1": by("¦").encode("latin-1"),
    "BOM": "\ufeff" + EXPORT,
    "UTF-16": EXPORT.encode("utf-16"),
    "Windows": EXPORT.replace("\n", "\r\n"),
    "gzip": gzip.compress(EXPORT.encode()),
    "CSV of a spreadsheet": QUOTED,
    "CSV with an index": "," + QUOTED.replace("\n", "\n0,"),
    "CSV for a spreadsheet": f"sep=;\n{by(';')}",
    "Markdown": MARKDOWN,
    "boxes": "+---+\n" + MARKDOWN.replace(f"| {' | '.join(['---'] * 11)} |", "+===+") + "\n+---+\n",
    "lower case": EXPORT.replace(*(line := EXPORT.splitlines()[0], line.lower())),
    "prompts": f"[me@login1 ~]$ sacct -D -P \\\n    --format=JobID\n{EXPORT}[me@login1 ~]$ \n",
    "csh": f"login1% sacct -P\n{EXPORT}",
    "zsh, in a fence": f"```\n(base) me@host:~/runs$ sacct -P\n\n{EXPORT}```\n",
    "comment": f"# sacct of the night\n{EXPORT}",
    "twice": f"$ sacct -P\n{EXPORT}\n$ sacct -p\n" + by(";"),
    "columns": in_columns(),
    "columns, indented": "$ sacct\n" + in_columns().replace("\n", "\n    ").join(["    ", ""]),
    "JSON of 22.05": json.dumps(document(new=False), indent=2),
    "JSON of 24.05": json.dumps(document(new=True)),
    "JSON and prompts": "$ sacct -j 12 --json\n" + json.dumps(document(new=True)) + "\n\n$ \n",
    "JSON, only the jobs": json.dumps(document(new=True)["jobs"]),
    "YAML": yaml.safe_dump(document(new=True)),
    "YAML of 22.05": "%YAML 1.1\n---\n" + yaml.safe_dump(document(new=False)),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_read(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = read_sacct(export(tmp_path, FORMS[form]))
    assert set(jobs) == {"12_1", "13"}
    job = jobs["13"]
    assert (job.state, job.elapsed_s, job.queue_s, job.nodes) == ("TIMEOUT", 120.0, 60.0, 2)
    assert (job.node_list, job.max_rss_mb) == ("n[1,3]", 1610.612736)
    assert capsys.readouterr().err == ""


SEFF = """\
Job ID: 28236215
Array Job ID: 28236213_1
Cluster: udac
User/Group: me/us
State: COMPLETED (exit code 0)
Nodes: 1
Cores per node: 2
CPU Utilized: 01:52:25
CPU Efficiency: 97.27% of 01:55:34 core-walltime
Job Wall-clock time: 00:57:47
Memory Utilized: 49.15 MB
"""
SQUEUE = """\
             JOBID PARTITION     NAME     USER ST       TIME  NODES NODELIST(REASON)
            12_[2]       gpu    train       me PD       0:00      1 (Priority)
               123       gpu    train       me  R       1:00      1 n1
"""
SCONTROL = (
    "JobId=123 JobName=train\n   UserId=me(1) MCS_label=N/A\n   JobState=COMPLETED Reason=None\n"
)
CUT = in_columns(
    [12, 8, 10, 9, *WIDTHS[4:]],
    [CELLS[0], ["3764934", "3764934", "t", "OUT_OF_MEMORY", *CELLS[1][4:]]],
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4034541☃EYR☃me☃gpu☃node2☃8☃☃CANCELLED by 1001☃2023-08-31T12:29:47☃03:34:13☃\n",
         ":1: no header line before it; it looks like accounting"),
        ("123|COMPLETED\n123.batch|COMPLETED\n", ":1: no header line before it"),
        ("me;123;gpu;CANCELLED by 17;0:0\n", ":1: no header line before it"),
        ("$ sacct -n\n3764934  mem_test  test  acc  1 OUT_OF_ME+    0:125 \n",
         ":2: no header line before it"),
        ("JobName|State|Elapsed\nt|FAILED|00:00:01\n", ":1: has no column JobID"),
        (CUT, ":3: columns are cut to a width, such as 'OUT_OF_M+'"),
        (in_columns([5, *WIDTHS[1:]]).replace(" 12_1 ", "1234+ "),
         ":3: columns are cut to a width, such as '1234+'"),
        (in_columns(cells=CELLS[:2]).replace(" train ", " longer train "),
         "no line can be read (line 3: its values are wider than the columns: '12_1 13 longer"),
        ("JobID State\n1 COMPLETED\n", ":2: columns are cut to a width, and no line of dashes"),
        ("JobID,State,AllocTRES\n1,COMPLETED,cpu=4,mem=2G\n",
         "no line can be read (line 2: 4 values for 3 columns: '1,COMPLETED,cpu=4,mem=2G')"),
        (SEFF, "is the output of seff"),
        ("sacct: error: Problem talking to the database\n", "is a message of sacct"),
        ("$ sacct\nSlurm accounting storage is disabled\n", "is a message of sacct"),
        ("[me@login ~]$ seff 28236215\n" + SEFF, "is the output of seff"),
        (SQUEUE, "is the output of squeue"),
        ("Sat Nov 28 20:20:10 2026\n" + SQUEUE, "is the output of squeue"),
        ("JOBID|NAME|STATE\n123|train|RUNNING\n", "is the output of squeue"),
        (SCONTROL, "is the output of scontrol show job"),
        ("PARTITION AVAIL  TIMELIMIT  NODES  STATE NODELIST\ngpu*  up 1-00:00:00  2 idle n[1-2]\n",
         "is the output of sinfo"),
        (json.dumps(document(new=True))[:-40], "cannot be read as the output of sacct --json"),
        (json.dumps(document(new=True)["jobs"][0]) + "\n" * 2, "no list of jobs"),
        (json.dumps({"jobs": [{"job_id": 1, "job_state": "RUNNING"}]}), "job_state is of squeue"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_as_accounting(text: str, message: str, tmp_path: Path) -> None:
    path = export(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read_sacct(path)
    assert message in str(caught.value)
    assert WANTED in str(caught.value)
    assert "\n" not in str(caught.value)


LOG = "Epoch 1/3, Loss: 0.90, Accuracy: 51%\nEpoch 2/3, Loss: 0.80\nTraining time: 91.2 seconds\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        LOG,
        LOG + EXPORT,  # a job that prints its accounting at its end
        LOG + SEFF,
        "Job ID: 5\n" + LOG + SEFF,
        SCONTROL + LOG,
        SCONTROL + "epoch=1 loss=0.5\n",
        SQUEUE + LOG,
        "Job ID: 5\nCluster: udac\n" + LOG,
        "JobID: 12345\n" + LOG,
        "JOBID: 12345\n2026-01-01 Epoch 1/3, Loss: 0.90\n",
        "JobID 123 State RUNNING\n" + LOG,
        "user state\n" + LOG,
        "12:00:01 | 3 | FAILED\n" + LOG,
        "$ python train.py\n" + LOG,
        '{"epoch": 1, "loss": 0.5, "job_id": 3}\n',
        "---\nslurm: {job_id: 3}\njobs: 3\nepochs: 2\n",
    ],
)
def test_a_log_is_no_accounting(text: str, tmp_path: Path) -> None:
    path = tmp_path / "slurm-12.out"
    path.write_text(text)
    assert not is_sacct(path)


def test_values_that_a_width_cut_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    widths = [9, 9, 3, 10, *WIDTHS[4:9], 8, 6]
    job_line = ["1234567", "1234567", "train", "CANCELLED by 1001", *CELLS[1][4:9], "node[1,3]", ""]
    cells = [CELLS[0], job_line]
    cells.append(["1234567.batch", "1234567.batch", *CELLS[2][2:]])
    job = read_sacct(export(tmp_path, in_columns(widths, cells)))["1234567"]
    # the words that are whole tell the state; the names of the nodes do not tell them
    assert (job.state, job.elapsed_s, job.node_list) == ("CANCELLED+", 120.0, None)
    assert "1 value cut to a column's width and left out" in capsys.readouterr().err


def test_the_number_of_a_line_is_right_with_windows_line_ends(tmp_path: Path) -> None:
    path = export(tmp_path, "# sacct\r\n\r\n1|COMPLETED\r\n")
    with pytest.raises(UserError, match=r"acct\.txt:3: no header line"):
        read_sacct(path)


def test_json_without_an_end_array_or_peak(tmp_path: Path) -> None:
    content = document(new=True)
    job = content["jobs"][0]
    job["array"], job["het"] = (
        {"job_id": 0},
        {"job_id": 12, "job_offset": {"set": True, "number": 0}},
    )
    job["time"] |= {"end": 0}
    job["state"]["current"] = ["COMPLETING", "RUNNING"]
    no_peak = {"tres": {"requested": {"max": [{"type": "mem", "count": 2**64 - 2}]}}}
    job["steps"] = [no_peak, {"step": {"id": "12+0.batch"}, "state": ["RUNNING"]}]
    jobs = read_sacct(export(tmp_path, json.dumps(content)))
    assert set(jobs) == {"12+0", "12", "13"}
    ended = jobs["12"]
    assert (ended.state, ended.elapsed_s, ended.max_rss_mb) == ("COMPLETING", None, None)
    assert (ended.nodes, ended.queue_s) == (2, 60.0)
