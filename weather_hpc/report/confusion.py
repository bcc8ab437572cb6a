"""How the held-out images were classified: by true and predicted class."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from weather_hpc.analysis.statistics import wilson_interval
from weather_hpc.analysis.table import Table
from weather_hpc.report.colours import INK, PALETTE
from weather_hpc.report.drawing import DOUBLE_WIDTH, SINGLE_WIDTH, Drawing, plain
from weather_hpc.runs.evaluation import Evaluation
from weather_hpc.text import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME, TITLE = "confusion", "Confusion matrix"
MOST_CLASSES = 30
"""Classes in the matrix: of more, those with the lowest recall."""
MOST_PAIRS = 3
"""Confusions that the sentence names."""
FEWEST_CONFUSED = 2
"""Images from which a confusion is worth naming."""
_RIGHT, _WRONG = PALETTE[0], PALETTE[1]
_STRONGEST = 0.8
"""Opacity of a cell with all images of its row, through which text is read on any page."""
_LABEL = 18
"""Characters of a class."""

COLUMNS = [
    "class", "images", "correct", "recall", "recall_low", "recall_high", "predicted",
    "precision", "precision_low", "precision_high", "most_often_taken_for",
]  # fmt: skip


def class_table(evaluation: Evaluation) -> Table:
    """Recall and precision of each class, the lowest recall first."""
    rows = [_class_row(evaluation, place) for place in range(len(evaluation.classes))]
    rows.sort(key=lambda row: (row["recall"] is None, row["recall"], row["class"]))
    return Table(
        "classes",
        "Recall and precision by class",
        "images: held-out images of the class; recall: the share of them that was classified "
        "right. predicted: images that were classified as it; precision: the share of them that "
        "is of it. Both with their 95 % interval after Wilson (1927). most_often_taken_for: the "
        "wrong class that most of its images were classified as.",
        COLUMNS,
        rows,
    )


def _class_row(evaluation: Evaluation, place: int) -> dict[str, Any]:
    confusion = evaluation.confusion
    images, right = sum(confusion[place]), confusion[place][place]
    predicted = sum(row[place] for row in confusion)
    recall, precision = wilson_interval(right, images), wilson_interval(right, predicted)
    wrong = max(
        ((n, -other) for other, n in enumerate(confusion[place]) if other != place), default=(0, 0)
    )
    taken = f"{clean(evaluation.classes[-wrong[1]])} ({wrong[0]})" if wrong[0] else None
    return {
        "class": clean(evaluation.classes[place]),
        "images": images,
        "correct": right,
        "recall": right / images if images else None,
        "recall_low": recall[0],
        "recall_high": recall[1],
        "predicted": predicted,
        "precision": right / predicted if predicted else None,
        "precision_low": precision[0],
        "precision_high": precision[1],
        "most_often_taken_for": taken,
    }


def confused_sentences(evaluation: Evaluation) -> Iterator[str]:
    """Which classes are taken for which most often, and which are never predicted."""
    names = [clean(name) for name in evaluation.classes]
    pairs = [
        (count, sum(row), names[true], names[other])
        for true, row in enumerate(evaluation.confusion)
        for other, count in enumerate(row)
        if other != true and count >= FEWEST_CONFUSED
    ]
    worst = sorted(pairs, key=lambda pair: (-pair[0], pair[2:]))[:MOST_PAIRS]
    if worst:
        texts = [f"{true} for {other} ({count} of {of})" for count, of, true, other in worst]
        yield f"Most often taken for another class: {', '.join(texts)}."
    never = [
        name
        for place, name in enumerate(names)
        if sum(evaluation.confusion[place]) and not any(r[place] for r in evaluation.confusion)
    ]
    if never:
        some = ", ".join(never[:10]) + (f" and {len(never) - 10} more" if len(never) > 10 else "")
        yield f"Never predicted: {some}."


def confusion_plot(evaluation: Evaluation) -> Drawing:
    """The matrix, in images, coloured by share of the true class."""
    count = len(evaluation.classes)
    with_images = [place for place in range(count) if sum(evaluation.confusion[place])]
    if not with_images:
        return Drawing(NAME, TITLE, "no held-out image was evaluated")
    shown = list(range(count))
    if count > MOST_CLASSES:
        shown = sorted(sorted(with_images, key=lambda p: _recall(evaluation, p))[:MOST_CLASSES])
    wide = len(shown) > 14
    side = 1.6 + 0.36 * len(shown)
    return Drawing(
        NAME,
        TITLE,
        _as_text(evaluation, shown),
        lambda figure: _draw(figure, evaluation, shown),
        (DOUBLE_WIDTH, min(side, 12.0)) if wide else (SINGLE_WIDTH, max(4.2, side)),
        left_out=count - len(shown),
        data=[
            {
                "true_class": clean(evaluation.classes[true]),
                "predicted_class": clean(evaluation.classes[other]),
                "images": evaluation.confusion[true][other],
            }
            for true in shown
            for other in shown
        ],
    )


def _recall(evaluation: Evaluation, place: int) -> float:
    row = evaluation.confusion[place]
    return row[place] / sum(row)


def _draw(figure: "Figure", evaluation: Evaluation, shown: Sequence[int]) -> None:
    from matplotlib.colors import to_rgba

    axes = figure.subplots()
    names = [plain(clean(evaluation.classes[place]), _LABEL) for place in shown]
    size = 9 if len(shown) <= 14 else 7
    for y, true in enumerate(shown):
        row = evaluation.confusion[true]
        whole = sum(row)
        for x, other in enumerate(shown):
            if not row[other]:
                continue
            colour = to_rgba(_RIGHT if x == y else _WRONG, _STRONGEST * row[other] / whole)
            axes.axvspan(
                x - 0.5, x + 0.5, 1 - (y + 1) / len(shown), 1 - y / len(shown),
                facecolor=colour, edgecolor="none",
            )  # fmt: skip
            axes.text(x, y, str(row[other]), ha="center", va="center", fontsize=size, color=INK)
    axes.set_xlim(-0.5, len(shown) - 0.5)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xticks(range(len(shown)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(shown)), names)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(f"{TITLE}, images")


def _as_text(evaluation: Evaluation, shown: Sequence[int]) -> str:
    names = [clean(name) for name in evaluation.classes]
    parts = []
    for true in shown:
        row = evaluation.confusion[true]
        cells = [f"{names[other]} {row[other]}" for other in shown if row[other]]
        parts.append(f"{names[true]}: {', '.join(cells) or 'no images'}")
    return f"Held-out images by true class, then predicted class. {'; '.join(parts)}."
