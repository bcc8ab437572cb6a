"""The section on the images."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from weather_hpc.analysis.baselines import work
from weather_hpc.analysis.table import Table
from weather_hpc.dataset.store import Store
from weather_hpc.dataset.stored_images import summary_of
from weather_hpc.errors import UserError
from weather_hpc.report.class_bars import class_bars
from weather_hpc.report.collected import Collected, run_folders
from weather_hpc.report.section import ReportSection
from weather_hpc.runs.images_summary import ImagesSummary, Reason, Sides
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Stage
from weather_hpc.text import clean, counted, storage

NAME, TITLE = "data", "Data"
MOST_STORES = 4
"""Different stores of which the images are shown."""
_MOST_TRIED = 20
"""Run folders in which the summary of one store is looked for."""


def data_section(collected: Collected) -> ReportSection:
    """Which images were measured, and whether all runs had the same."""
    rows = collected.comparison.rows
    found = list(_summaries(rows))
    if not found:
        return ReportSection(NAME, TITLE)
    checksums = list(_checksums(rows))
    if len(found) == 1:
        return _part(found[0], NAME, TITLE, "", checksums)
    parts = [
        _part(summary, f"{NAME}-{place}", _title(summary), f"_{place}", [])
        for place, summary in enumerate(found, start=1)
    ]
    return ReportSection(NAME, TITLE, sentences=checksums, parts=parts)


def _summaries(rows: Sequence[Row]) -> Iterator[ImagesSummary]:
    """The images of each store that was packed, at most MOST_STORES."""
    packed: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.stage in (Stage.PREPARE, Stage.PREPROCESS) and row.store_checksum:
            packed[row.store_checksum].append(row)
    left = MOST_STORES
    for checksum, of in packed.items():
        summary = left and _summary(of[:_MOST_TRIED], checksum)
        if summary:
            left -= 1
            yield summary


def _summary(rows: Sequence[Row], checksum: str) -> ImagesSummary | None:
    """What one of the runs left; of an earlier version's, what the store tells that is still
    there."""
    folders = [files for _, files in run_folders(rows)]
    for files in folders:
        if files.images.is_file():
            try:
                return ImagesSummary.read(files.images)
            except UserError:
                continue
    for results in dict.fromkeys(_results(files) for files in folders):
        if store := _store(StudyPaths(results).stores, checksum):
            return store
    return None


def _results(files: RunPaths) -> Path:
    return files.root.parent.parent


def _store(stores: Path, checksum: str) -> ImagesSummary | None:
    for folder in sorted(stores.iterdir()) if stores.is_dir() else ():
        try:
            store = Store.open(folder)
            if store.checksum == checksum:
                return summary_of(store)
        except (UserError, OSError):
            continue
    return None


def _checksums(rows: Sequence[Row]) -> Iterator[str]:
    """Whether runs that were to pack the same images packed the same pixels."""
    found: dict[object, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.stage == Stage.PREPROCESS and row.store_checksum:
            found[row.data, row.decoder, row.color, work(row)][row.store_checksum].append(row)
    runs = sum(len(each) for by_sum in found.values() for each in by_sum.values())
    for by_sum in (each for each in found.values() if len(each) > 1):
        which = "; ".join(
            f"{checksum[:12]} by {counted(len(each), 'run')} such as {each[0].run_id}"
            for checksum, each in by_sum.items()
        )
        yield f"Runs that were to pack the same images packed different pixels: {which}."
    if runs > 1 and all(len(each) == 1 for each in found.values()):
        backends = len({row.backend for row in rows if row.stage == Stage.PREPROCESS})
        by = f" by {backends} backends" if backends > 1 else ""
        yield f"All {runs} preprocessing runs{by} packed the same pixels, to the bit."


def _title(summary: ImagesSummary) -> str:
    side = summary.image_size_px
    return f"{counted(summary.images, 'image')} at {side} × {side} pixels ({summary.checksum[:8]})"


def _part(
    summary: ImagesSummary, name: str, title: str, suffix: str, first: Sequence[str]
) -> ReportSection:
    """All about one store."""
    tables = [_class_table(summary, f"images_by_class{suffix}")]
    if summary.quarantined or summary.damaged:
        tables.append(_quarantine_table(summary, f"quarantine{suffix}"))
    return ReportSection(
        name,
        title,
        facts=list(_facts(summary)),
        sentences=[*first, *_balance(summary), *_left_out(summary)],
        plots=[class_bars(summary, f"images_by_class{suffix}")],
        tables=tables,
    )


def _facts(summary: ImagesSummary) -> Iterator[tuple[str, str]]:
    side = summary.image_size_px
    split = f"{summary.train:,} to train with, {summary.test:,} held out"
    yield "Images", f"{summary.images:,} in {len(summary.classes)} classes: {split}"
    if summary.width and summary.height:
        width, height = _range(summary.width), _range(summary.height)
        yield "Original size", f"width {width}, height {height} pixels (median)"
    if summary.formats:
        yield "Formats", ", ".join(f"{n:,} {clean(each)}" for each, n in summary.formats.items())
    if summary.size_bytes is not None:
        yield "Size of the files", storage(summary.size_bytes)
    yield "Stored at", f"{side} × {side} pixels"
    yield "Decoded", clean(summary.decoder)
    yield "Quarantined", counted(_files(summary.quarantined), "file")
    if summary.damaged:
        yield "Damaged, kept", counted(_files(summary.damaged), "image")
    yield "Duplicates", counted(summary.duplicates, "image")
    if summary.data:
        yield "Image folder", clean(summary.data)
    yield "SHA-256 of the pixels", summary.checksum


def _range(sides: Sides) -> str:
    if sides.low == sides.high:
        return f"{sides.low:g}"
    return f"{sides.low:g} to {sides.high:g} ({sides.median:g})"


def _files(reasons: Sequence[Reason]) -> int:
    return sum(reason.files for reason in reasons)


def _balance(summary: ImagesSummary) -> Iterator[str]:
    """How evenly images are spread over classes."""
    counts = sorted((count.images, name) for name, count in summary.classes.items())
    if len(counts) < 2:
        return
    (least, smallest), (most, largest) = counts[0], counts[-1]
    if least == most:
        yield f"Every class has {counted(least, 'image')}."
        return
    ratio = f"{most / least:.1f} times as many as" if least else "but none are in"
    yield (
        f"The largest class, {clean(largest)}, has {counted(most, 'image')}, {ratio} the smallest, "
        f"{clean(smallest)}" + (f" ({least})." if least else ".")
    )


def _left_out(summary: ImagesSummary) -> Iterator[str]:
    """Why files were left out, and which damaged images were not."""
    if files := _files(summary.quarantined):
        of = files + summary.images
        most = summary.quarantined[0]
        yield (
            f"{counted(files, 'file')} of {of:,} ({100 * files / of:.1f} %) were left out, "
            f"{'most' if len(summary.quarantined) > 1 else 'all'} for one reason "
            f"({most.files}: {clean(most.reason)})."
        )
    if summary.damaged:
        yield f"{counted(_files(summary.damaged), 'damaged image')} were kept, as asked for."
    if summary.duplicates:
        yield f"{counted(summary.duplicates, 'image')} repeat the content of another of its class."


def _class_table(summary: ImagesSummary, name: str) -> Table:
    rows = [
        {
            "class": clean(each),
            "images": count.images,
            "train": count.train,
            "test": count.test,
            "share": count.images / summary.images if summary.images else None,
        }
        for each, count in summary.classes.items()
    ]
    return Table(
        name,
        "Images by class",
        "Usable images; train: to train with, test: held out, share: of all images.",
        ["class", "images", "train", "test", "share"],
        rows,
    )


def _quarantine_table(summary: ImagesSummary, name: str) -> Table:
    rows = [
        {"what": what, "reason": clean(r.reason), "files": r.files, "example": clean(r.example)}
        for what, reasons in (("left out", summary.quarantined), ("kept", summary.damaged))
        for r in reasons
    ]
    return Table(
        name,
        "Files that were left out or are damaged",
        "By reason: reasons that differ in names and numbers only count as one.",
        ["what", "reason", "files", "example"],
        rows,
    )
