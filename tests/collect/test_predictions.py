"""Predictions on new images, from the files of their run to the report; damaged files are named."""

import csv
import io
import json
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from tests.records_maker import leave, measured, train_spec
from weather_hpc.collect.pipeline import collect_study
from weather_hpc.collect.predictions import LARGEST_SIDE, read_sheet
from weather_hpc.errors import UserError
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.plan_file import save_plan
from weather_hpc.runs.predictions import Accuracy, PredictionSummary
from weather_hpc.runs.record import RunRecord, Status
from weather_hpc.study.plan import Plan
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.tasks import PredictTask

pytestmark = pytest.mark.usefixtures("undrawn_plots")

EVIL = "<script>alert(1)</script>|_x_"
HEAD = (
    "file,predicted,probability,p_fog,p_rain,second,second_probability,third,third_probability,"
    "low_confidence,true_class,correct"
)
LINES = [
    f"{EVIL}.jpg,fog,0.9,0.9,0.1,rain,0.1,,,False,fog,True",
    "new/b.jpg,rain,0.45,0.4,0.45,fog,0.4,,,True,,",
]


def predict_spec(new_images: str = "/new") -> RunSpec:
    task = PredictTask(new_images=new_images)
    return RunSpec(study="demo", stage=Stage.PREDICT, task=task, data="/images")


def predicted(root: Path, new_images: str = "/new", status: Status = Status.OK) -> RunPaths:
    """A run of stage predict with its files; its sheet has a text that must not be passed on."""
    spec = predict_spec(new_images)
    run = StudyPaths(root).run(spec.run_id)
    record = RunRecord.of(spec, status=status, reason=None if status is Status.OK else "no luck")
    record.write(run.record)
    run.predictions.write_text("\n".join([HEAD, *LINES, ""]))
    all_of_one = Accuracy(images=1, correct=1, accuracy=1.0, low=0.2, high=1.0)
    summary = PredictionSummary(
        images=2, classes={"fog": 1, "rain": 1}, skipped=[], predictions="elsewhere",
        sheets=["/etc/passwd", "2"], checkpoint="c.pt", run="train-1", configuration="train-x",
        test_accuracy=0.5, known_classes=["fog", EVIL], low_confidence=0.5,
        low_confidence_images=1, accuracy=all_of_one, accuracy_by_class={"fog": all_of_one},
        unknown_folders={EVIL: 1},
    )  # fmt: skip
    run.prediction_summary.write_text(json.dumps(summary.model_dump()))
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "smuggled")
    Image.new("RGB", (40, 30), "red").save(run.sheet(1), pnginfo=text)
    return run


@pytest.fixture
def study(tmp_path: Path) -> StudyPaths:
    leave(tmp_path, measured(train_spec("single", 1), 8.0))
    return StudyPaths(tmp_path)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_marks_of_unlike_images_are_read(study: StudyPaths) -> None:
    run = predicted(study.root)
    ends = (",unlike_training,uncalibrated_probability", ",True,0.8", ",,0.44")
    more = [line + end for line, end in zip([HEAD, *LINES], ends, strict=True)]
    run.predictions.write_text("\n".join([*more, ""]))
    collect_study(study.root)
    first, second = table(study.tables / "predictions.csv")
    assert (first["unlike_training"], first["uncalibrated_probability"]) == ("True", "0.8")
    assert (second["unlike_training"], second["uncalibrated_probability"]) == ("", "0.44")


def test_predictions_are_in_every_form_of_the_report(study: StudyPaths) -> None:
    run = predicted(study.root)
    summary = collect_study(study.root)
    assert summary["rejected"] == 0
    assert "predictions_unreadable" not in study.audit.read_text()
    evil, other = table(study.tables / "predictions.csv")
    assert evil["file"] == f"{EVIL}.jpg"
    assert (evil["probability"], evil["low_confidence"], evil["correct"]) == (
        "0.9",
        "False",
        "True",
    )
    assert (other["true_class"], other["third"], other["run_id"]) == ("", "", run.root.name)
    classes = table(study.tables / "prediction_accuracy.csv")
    assert [(line["true_class"], line["accuracy_low"]) for line in classes] == [
        ("fog", "0.2"), ("all", "0.2"),
    ]  # fmt: skip

    page = study.report.read_text()
    section = page.partition('<h2 id="predictions"')[2].partition("</section>")[0]
    assert "Predictions on new images" in section
    assert '<img src="data:image/png;base64,' in section
    assert "<script>" not in section
    for sentence in (
        "2 images in /new, classified by run train-1, whose configuration train-x has the highest",
        "1 prediction of low confidence (probability of the predicted class below 0.5)",
        "Accuracy 100.0% (1 of 1 images, 95 % interval 20.0% to 100.0%)",
        "which is no class that the network knows",
        f"the first of 2 sheets; all are in runs/{run.root.name}",
    ):
        assert sentence in section
    assert "](plots/predictions.png)" in study.report_markdown.read_text()
    assert "{plots/predictions.png}" in study.report_latex.read_text()
    sections = {s["name"]: s for s in json.loads(study.report_json.read_text())["sections"]}
    assert sections["predictions"]["pictures"][0]["file"] == "plots/predictions.png"
    assert [t["name"] for t in sections["predictions"]["tables"]] == [
        "prediction_accuracy", "predictions",
    ]  # fmt: skip
    copied = (study.plots / "predictions.png").read_bytes()
    assert b"smuggled" not in copied
    with Image.open(io.BytesIO(copied)) as image:
        assert (image.size, image.getpixel((1, 1))) == ((40, 30), (255, 0, 0))


@pytest.mark.parametrize("failed", [False, True])
def test_without_predictions_there_is_no_section(study: StudyPaths, failed: bool) -> None:
    if failed:
        predicted(study.root, status=Status.FAILED)
    summary = collect_study(study.root)
    assert summary["rejected"] == failed
    assert "Predictions on new images" not in study.report.read_text()
    assert not (study.tables / "predictions.csv").exists()


def test_of_several_runs_the_one_that_the_plan_names_is_shown(study: StudyPaths) -> None:
    predicted(study.root, "/first")
    predicted(study.root, "/second")
    collect_study(study.root)
    assert len(table(study.tables / "predictions.csv")) == 4
    train = train_spec("single", 1)
    save_plan(study, Plan("demo", "/images", None, (train,), predict_spec("/first")))
    collect_study(study.root)
    found = {line["run_id"] for line in table(study.tables / "predictions.csv")}
    assert found == {predict_spec("/first").run_id}


def damaged(run: RunPaths, file: str, content: bytes | None) -> None:
    path = run.root / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("summary.json", None, "No such file"),
        ("summary.json", b"{", "not JSON"),
        ("summary.json", b"[]", "valid dictionary"),
        ("summary.json", b'{"images": -1}', "images"),
        ("predictions.csv", None, "No such file"),
        ("predictions.csv", b"", "has no column file"),
        ("predictions.csv", f"{HEAD}\n{LINES[0]}\n".encode(), "1 images, but summary.json says 2"),
        ("predictions.csv", f"{HEAD}\na\n{LINES[0]}\n".encode(), "line 2"),
        ("predictions.csv", f"{HEAD}\n{LINES[0].replace('0.9', '9')}\n".encode(), "9 is not a pro"),
        ("predictions.csv", f"{HEAD}\n{LINES[0].replace('0.9', 'nan')}\n".encode(), "nan is not a"),
        ("predictions.csv", f"{HEAD}\n{LINES[0].replace('False', 'x')}\n".encode(), "x is neither"),
        ("predictions.csv", f"{HEAD}\n{'x' * 200_000},\n".encode(), "not CSV"),
        ("predictions.csv", b"\xff\x00\n\x00", "has no column"),
    ],
)
def test_a_damaged_file_is_a_finding(
    study: StudyPaths, file: str, content: bytes | None, message: str
) -> None:
    run = predicted(study.root)
    damaged(run, file, content)
    collect_study(study.root)
    (finding,) = (f for f in table(study.audit) if f["code"] == "predictions_unreadable")
    assert finding["source"] == run.root.name
    assert message in finding["message"]
    assert "Predictions on new images" not in study.report.read_text()


def test_of_a_damaged_sheet_the_table_remains(study: StudyPaths) -> None:
    run = predicted(study.root)
    whole = run.sheet(1).read_bytes()
    damaged(run, "sheet-1.png", whole[: len(whole) - 30])
    collect_study(study.root)
    (finding,) = (f for f in table(study.audit) if f["code"] == "predictions_unreadable")
    assert "sheet-1.png: cannot be read as PNG" in finding["message"]
    assert len(table(study.tables / "predictions.csv")) == 2
    assert "<img" not in study.report.read_text()


def png(mode: str, size: tuple[int, int], form: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.new(mode, size).save(data, form)
    return data.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png("RGB", (9, 9), "GIF"), "cannot be read as PNG"),
        (png("L", (LARGEST_SIDE + 1, 1)), "pixels, expected at most"),
        (b"<svg onload='x'/>", "cannot be read as PNG"),
        (b"", "cannot be read as PNG"),
        (bytes(17 * 2**20), "bytes, expected at most"),
    ],
)
def test_only_a_png_of_the_size_of_a_sheet_is_taken(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "sheet-1.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_sheet(path)


def test_a_sheet_with_few_colours_is_taken_too(tmp_path: Path) -> None:
    path = tmp_path / "sheet-1.png"
    path.write_bytes(png("P", (9, 9)))
    with Image.open(io.BytesIO(read_sheet(path))) as image:
        assert (image.mode, image.size) == ("RGB", (9, 9))
