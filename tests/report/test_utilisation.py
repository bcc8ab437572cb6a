"""The section on utilisation, of a made-up study on GPUs."""

from datetime import datetime
from pathlib import Path

import pytest

from tests.records_maker import leave_all, measured, preprocess_spec, train_spec
from tests.report.gpu_study import FOREIGN, leave_gpu_study
from weather_hpc.analysis.comparison import compare
from weather_hpc.collect.sources import find_sources, read_sources
from weather_hpc.report.chosen_runs import chosen_runs
from weather_hpc.report.collected import Collected
from weather_hpc.report.drawing import render
from weather_hpc.report.section import ReportSection
from weather_hpc.report.usage import usages
from weather_hpc.report.utilisation import utilisation_section
from weather_hpc.runs.paths import StudyPaths


def collected(root: Path) -> Collected:
    readings, _ = read_sources(find_sources([root]))
    return Collected(compare([reading.row for reading in readings]))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Collected:
    root = tmp_path_factory.mktemp("gpus")
    leave_gpu_study(root)
    return collected(root)


@pytest.fixture(scope="module")
def section(study: Collected) -> ReportSection:
    return utilisation_section(study)


def test_a_sentence_for_each_waste_with_what_to_ask_instead(section: ReportSection) -> None:
    gpus, *cpus, memory = section.sentences
    # 3 runs of 45 s on 4 GPUs, 1 % more each
    assert gpus.startswith(
        "ddp on cuda, 4 ranks, batch 32 used 31 % of the 4 GPUs it held: in measured time 0.105 of "
        "0.151 GPU-hours passed without a kernel. ddp on cuda, 2 ranks, batch 32 does the same "
        "work in less time: 18.2 s instead of 45.5 s"
    )
    assert cpus[0] == (
        "ddp on cuda, 4 ranks, batch 32 asked for 16 CPUs and used 4.4, at most 4.4 in any second: "
        "5 would do."
    )
    assert len(cpus) == 3
    assert memory.startswith("Every job asked for 33.6 GB of memory a node; the largest peak was "
                             "2.5 GB: 3.5 GB would do")  # fmt: skip


def test_the_table_has_what_was_used(section: ReportSection) -> None:
    (table,) = section.tables
    four = table.rows[-1]
    assert (four["gpus_asked"], four["gpus_used"]) == (4.0, pytest.approx(1.24))
    assert (four["cpus_asked"], four["cpus_used"]) == (16.0, pytest.approx(4.4))
    assert (four["memory_available_mb"], four["memory_peak_mb"]) == (33_554.432, 2500.0)
    # 200 images in 150 W x 4 x 45.45 s
    assert four["images_per_j"] == pytest.approx(200 / (600 * 45.45))
    assert four["images_per_j_low"] < four["images_per_j"] < four["images_per_j_high"]


def test_the_chosen_runs(study: Collected) -> None:
    chosen = chosen_runs(study.comparison)
    assert [run.title for run in chosen] == [
        "fastest, cheapest: ddp on cuda, 2 ranks, batch 32",
        "baseline, among the most accurate: single on cuda, 1 rank, batch 32",
    ]
    assert [run.row.repeat for run in chosen] == [1, 1]  # those with the median time
    distrusted = chosen_runs(study.comparison, trusted=False)
    assert distrusted[0].roles == ("among the fastest", "among the cheapest")


def test_plots_show_load_phases_and_energy(section: ReportSection) -> None:
    svg = {
        plot.name: render(plot.name, plot.draw or print, plot.size).svg for plot in section.plots
    }
    for words in ("CPUs in use", "other processes", "evaluation or checkpoint", "GPUs, W"):
        assert words in svg["telemetry"]
    assert "4.4 of 16" in svg["used_of_asked"]
    assert "range of the repeats" in svg["images_per_joule"]
    load = section.plots[0].text
    assert f"other processes used {FOREIGN / 100 * 4 / 12:.3g} CPUs" in load
    assert "power of the GPUs, W 310 on average" in load


def test_runs_without_telemetry_say_nothing(tmp_path: Path) -> None:
    records = [measured(train_spec("ddp", 2), 5.0), measured(preprocess_spec("dask", 2), 5.0)]
    leave_all(tmp_path, records)
    section = utilisation_section(collected(tmp_path))
    assert section.is_empty
    assert all(plot.text for plot in section.plots)


def test_gpus_that_nobody_computes_on_are_named(tmp_path: Path) -> None:
    spec = train_spec(
        "single", 1,
        resources={"nodes": 1, "cpus_per_node": 1, "gpus_per_node": 2, "time_limit_min": 30},
    )  # fmt: skip
    leave_all(tmp_path, [measured(spec, 36.0)])
    (text,) = utilisation_section(collected(tmp_path)).sentences
    assert "used 0 % of the 2 GPUs it held: in measured time 0.02 of 0.02 GPU-hours" in text
    assert text.endswith("It computes on CPUs: ask for no GPU.")


def test_of_runs_without_enough_samples_no_other_number_of_cpus_is_advised(tmp_path: Path) -> None:
    leave_gpu_study(tmp_path, repeats=1, samples=3)
    said = [s for s in utilisation_section(collected(tmp_path)).sentences if "CPUs and used" in s]
    assert len(said) == 3
    assert not any("would do" in text for text in said)


def test_a_damaged_run_is_passed_over(tmp_path: Path) -> None:
    records = leave_gpu_study(tmp_path)
    for record in records:
        run = StudyPaths(tmp_path).run(record.run_id)
        run.telemetry.write_text("torn")
        run.events.write_bytes(b"\xff{")
    section = utilisation_section(collected(tmp_path))
    assert section.plots[0].draw is None
    assert len(usages(collected(tmp_path).comparison)) == 3
    assert datetime.fromisoformat(records[0].provenance.started_at or "")
