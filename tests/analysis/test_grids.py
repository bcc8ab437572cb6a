"""Tables in the study's form hold the numbers of the scaling tables, arranged."""

from typing import Any

import pytest

from tests.analysis.rows_maker import ddp, packing, paper, paper_ddp, paper_preprocessing
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.grids import grid_tables
from weather_hpc.analysis.table import Table
from weather_hpc.runs.row import Row


def grids(rows: list[Row]) -> dict[str, Table]:
    return {table.name: table for table in grid_tables(compare(rows))}


def batches(rows: list[Row]) -> dict[str, Table]:
    return {name: table for name, table in grids(rows).items() if name.startswith("grid_")}


def dp(workers: int, batch: int, time_s: float, **values: Any) -> list[Row]:
    return ddp(
        workers, [time_s], strategy="dp", batch_mode="global", batch_size_global=batch,
        batch_size_per_device=batch // workers, **values,
    )  # fmt: skip


def test_batch_sizes_are_rows_and_gpus_columns() -> None:
    table = grids(paper_ddp())["grid_ddp_cuda"]
    assert table.title == "ddp on cuda: batch size by ranks"
    assert table.columns == [
        "batch_size", "time_s_1", "time_s_2", "time_s_3", "time_s_4",
        "speedup_2", "speedup_3", "speedup_4", "efficiency_2", "efficiency_3", "efficiency_4",
        "audit_errors",
    ]  # fmt: skip
    printed = {(line["gpus"], line["batch_size"]): line["time_s"] for line in paper("ddp_rtx3070")}
    for row in table.rows:
        for gpus in range(1, 5):
            assert row[f"time_s_{gpus}"] == float(printed[str(gpus), str(row["batch_size"])])
    first = table.rows[0]
    assert first["batch_size"] == 32
    assert first["speedup_4"] == pytest.approx(92 / 249)
    assert first["efficiency_4"] == pytest.approx(92 / 249 / 4)


def test_the_studys_own_follows_each_table() -> None:
    assert list(grids([*paper_ddp(), *paper_preprocessing()])) == [
        "grid_preprocess", "published_grid_preprocess", "grid_ddp_cuda", "published_grid_ddp_cuda",
    ]  # fmt: skip
    (theirs,) = [
        table
        for name, table in grids([*dp(2, 64, 5.0), *dp(4, 64, 4.0)]).items()
        if name == "published_grid_dp_cuda"
    ]
    printed = [
        (row["study"], row["batch_size"], row["speedup_2"], row["speedup_4"]) for row in theirs.rows
    ]
    assert printed == [
        ("P100", None, 1.197, 0.712), ("RTX 3070", 64, 0.67, 0.56), ("RTX 3070", 128, 0.74, 0.75),
        ("RTX 3070", 256, 0.93, 0.72), ("RTX 3070", 512, 0.94, 0.68),
    ]  # fmt: skip


def test_backends_are_rows_and_workers_columns() -> None:
    table = grids(paper_preprocessing())["grid_preprocess"]
    assert [row["backend"] for row in table.rows] == ["sequential", "multiprocessing", "dask"]
    sequential, processes, dask = table.rows
    assert (sequential["time_s_1"], sequential["time_s_2"]) == (54.66, None)
    assert processes["speedup_8"] == pytest.approx(54.66 / 9.214)
    assert dask["time_s_16"] is None  # never measured


def test_dp_has_the_batch_of_all_devices() -> None:
    (table,) = batches([*dp(2, 64, 5.0), *dp(4, 64, 4.0), *dp(2, 128, 3.0)]).values()
    assert [(r["batch_size"], r["time_s_2"], r["time_s_4"]) for r in table.rows] == [
        (64, 5.0, 4.0), (128, 3.0, None),
    ]  # fmt: skip
    assert "batch_size is that of all devices together" in table.caption
    assert "speedup_2" not in table.columns  # no baseline was measured


def test_other_settings_have_a_column_where_they_differ() -> None:
    rows = [
        row
        for model in ("paper_cnn", "weather_net")
        for n in (1, 2)
        for row in ddp(n, [100.0 / n], model=model)
    ]
    (table,) = batches(rows).values()
    assert table.columns[:2] == ["model", "batch_size"]
    assert [row["model"] for row in table.rows] == ["paper_cnn", "weather_net"]


def test_ranks_on_more_nodes_are_a_row_of_their_own() -> None:
    rows = [
        *ddp(1, [100.0], nodes=1), *ddp(2, [60.0], nodes=1), *ddp(2, [70.0], nodes=2),
    ]  # fmt: skip
    (table,) = batches(rows).values()
    assert [(r["nodes"], r["time_s_1"], r["time_s_2"]) for r in table.rows] == [
        (1, 100.0, 60.0), (2, None, 70.0),
    ]  # fmt: skip


def test_one_configuration_is_no_table() -> None:
    assert grids(ddp(2, [1.0])) == {}
    assert list(batches([*ddp(2, [1.0]), *ddp(2, [1.0], batch_size_per_device=64)])) == [
        "grid_ddp_cuda"
    ]


def test_audit_errors_are_named_with_their_ranks() -> None:
    (table,) = batches([*ddp(1, [2.0]), *ddp(2, [1.0], audit_errors="nan_loss")]).values()
    assert table.rows[0]["audit_errors"] == "2: nan_loss"


def test_a_name_from_a_log_is_no_path() -> None:
    rows = [
        row for n in (1, 2) for row in ddp(n, [1.0 / n], strategy="../../Ring", device="x/../y")
    ]
    assert list(batches(rows)) == ["grid_ring_x_y"]
    more = [row for n in (1, 2) for row in ddp(n, [1.0 / n], strategy="ring", device="x y")]
    assert list(batches([*rows, *more])) == ["grid_ring_x_y", "grid_ring_x_y_2"]


def test_weak_scaling_is_a_row_of_its_own() -> None:
    rows = [
        row
        for scaling in ("strong", "weak")
        for n in (1, 2)
        for row in packing(
            "dask", n, [10.0], scaling=scaling,
            images_asked=100 * (n if scaling == "weak" else 1),
        )
    ]  # fmt: skip
    (table,) = batches(rows).values()
    assert [(row["scaling"], row["speedup_2"]) for row in table.rows] == [
        ("strong", 1.0), ("weak", 2.0),
    ]  # fmt: skip


def test_backends_come_after_what_else_tells_rows_apart() -> None:
    rows = [
        row
        for decoder in ("fast", "exact")
        for backend in ("multiprocessing", "dask")
        for row in packing(backend, 2, [10.0], decoder=decoder)
    ]
    (table,) = batches(rows).values()
    assert table.columns[:2] == ["decoder", "backend"]
