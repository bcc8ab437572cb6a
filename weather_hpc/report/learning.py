"""The section on learning."""

from collections.abc import Sequence
from dataclasses import replace

from weather_hpc.analysis.candidates import Candidate
from weather_hpc.errors import UserError
from weather_hpc.report.calibration_plot import calibration_plot, calibration_sentences
from weather_hpc.report.collected import Collected
from weather_hpc.report.confusion import class_table, confused_sentences, confusion_plot
from weather_hpc.report.examples import examples_plot
from weather_hpc.report.learned import Learned, chosen, learned, most_accurate, training_works
from weather_hpc.report.learning_curves import learning_plots
from weather_hpc.report.learning_sentences import learning_sentences
from weather_hpc.report.section import ReportSection
from weather_hpc.report.time_to_accuracy import time_sentences, time_to_accuracy
from weather_hpc.runs.evaluation import Evaluation, read_evaluation
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.row import Row
from weather_hpc.text import clean

NAME, TITLE = "learning", "Learning"


def learning_section(collected: Collected) -> ReportSection:
    """Loss and accuracy by epoch and by time, and the mistakes of the most accurate network."""
    works = training_works(collected.comparison)
    candidates = [candidate for work in works for candidate in work.candidates]
    found = learned(chosen(works))
    best = most_accurate(candidates)
    evaluation, mistakes = None, []
    if best is not None:
        evaluation, part = _mistakes(*best)
        mistakes = [part]
    if not found and not mistakes:
        return ReportSection(NAME, TITLE, optional=not candidates)
    times = time_to_accuracy(found)
    one_epoch = all(candidate.group.settings.epochs == 1 for candidate in candidates)
    curves = [replace(plot, optional=one_epoch) for plot in learning_plots(found)]
    drawn = any(plot.draw is not None for plot in curves)
    return ReportSection(
        NAME,
        TITLE,
        _text(found, len(candidates)) if drawn else "",
        sentences=[*learning_sentences(works, found, evaluation), *time_sentences(times)],
        plots=curves,
        tables=[times] if times.rows else [],
        parts=mistakes,
    )


def _text(found: Sequence[Learned], of: int) -> str:
    which = ""
    if len(found) < of:
        which = (
            f" of {len(found)} of {of} configurations: the fastest, the most accurate, the "
            "cheapest, the baseline, and others as far as there is room"
        )
    marked = "training images, while they train"
    if any(each.test_accuracy is not None for one in found for each in one.at(one.epochs)):
        marked = f"held-out images, after the epoch; dotted: {marked}"
    return (
        f"Medians over the repeats{which}. With markers: {marked}. Shaded: range of the repeats, "
        "which have equal values where they share a seed."
    )


def _mistakes(
    candidate: Candidate, row: Row, files: RunPaths
) -> tuple[Evaluation | None, ReportSection]:
    """The evaluation of one run, and what it says of its mistakes."""
    name, title = "mistakes", "Mistakes of the most accurate network"
    try:
        evaluation = read_evaluation(files.evaluation)
    except UserError as error:
        return None, ReportSection(name, title, sentences=[f"{clean(str(error))}."])
    repeats = len(candidate.group.measured)
    of = f", the most accurate of its {repeats} runs" if repeats > 1 else ""
    classes = class_table(evaluation)
    return evaluation, ReportSection(
        name,
        title,
        f"{candidate.label}, run {row.run_id}{of}. It was chosen by these held-out images, so on "
        "new ones it is likely to be somewhat less accurate.",
        sentences=[*confused_sentences(evaluation), *calibration_sentences(evaluation)],
        plots=[
            confusion_plot(evaluation),
            calibration_plot(evaluation),
            examples_plot(evaluation, files),
        ],
        tables=[classes] if classes.rows else [],
    )
