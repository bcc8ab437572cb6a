"""Logs of MLPerf, NVIDIA's DLLogger and tf_cnn_benchmarks."""

# ruff: noqa: E501 - lines as they are printed

from pathlib import Path

import pytest

from tests.logs.formats.cases import Case, check, named

NO_TOTAL = frozenset({"missing_total"})


def _mllog(time_ms: int, key: str, value: str, **metadata: object) -> str:
    more = "".join(f', "{name}": {value}' for name, value in metadata.items())
    return (
        f':::MLLOG {{"namespace": "", "time_ms": {time_ms}, "event_type": "POINT_IN_TIME", '
        f'"key": "{key}", "value": {value}, "metadata": {{"file": "train.py", "lineno": 9{more}}}}}'
    )


START = 1621234250000
MLLOG = [
    _mllog(START - 90000, "submission_benchmark", '"resnet"'),
    _mllog(START - 80000, "global_batch_size", "3264"),
    _mllog(START - 70000, "train_samples", "1281167"),
    _mllog(START - 60000, "init_stop", "null"),
    _mllog(START, "run_start", "null"),
    _mllog(START + 300000, "eval_accuracy", "0.43", epoch_num=4),
    _mllog(START + 600000, "eval_accuracy", "0.7591", epoch_num=8),
]
STOP = _mllog(START + 700500, "run_stop", "null", status='"success"')
RUN = {"time_s": 700.5, "test_accuracy": 0.7591, "batch_size_global": 3264, "epochs_done": 8,
       "images": 1281167}  # fmt: skip
MLPERF = {
    "whole": Case([*MLLOG, STOP], RUN),
    "without spaces, by a rank": Case(
        ["0: " + line.replace('": ', '":').replace(', "', ',"') for line in [*MLLOG, STOP]], RUN,
    ),
    "aborted": Case(
        [*MLLOG, STOP.replace("success", "aborted")],
        {"time_s": None, "status": "failed"}, reason='"status": "aborted"', errors=NO_TOTAL,
    ),
    "cut": Case(
        MLLOG, {"time_s": None, "test_accuracy": 0.7591, "epochs_done": 8}, errors=NO_TOTAL,
        reason="no total in the log; its last values: ':::MLLOG",
    ),
    "epochs in samples": Case(
        [_mllog(START, "run_start", "null"),
         _mllog(START + 9000, "eval_accuracy", "0.712", epoch_num=2500000), STOP],
        {"time_s": 700.5, "test_accuracy": 0.712, "epochs_done": None},
        reason="a total but no epoch",
    ),
    "BLEU is no accuracy": Case(
        [_mllog(START, "run_start", "null"),
         _mllog(START + 9000, "eval_accuracy", "25.31", epoch_num=2), STOP],
        {"time_s": 700.5, "test_accuracy": None}, reason="a total but no epoch",
    ),
    "0.6": Case(
        [':::MLL 1558578812.125 run_start: {"value": null, "metadata": {"lineno": 12}}',
         ':::MLL 1558578850.5 eval_accuracy: {"value": 0.43, "metadata": {"epoch_num": 4}}',
         ':::MLL 1558578912.250 run_stop: {"value": null, "metadata": {"status": "success"}}'],
        {"time_s": 100.125, "test_accuracy": 0.43, "epochs_done": 4},
    ),
    "0.5": Case(
        [":::MLPv0.5.0 resnet 1541635020.125 (train.py:12) run_start",
         ':::MLPv0.5.0 resnet 1541635040.5 (train.py:90) eval_accuracy: {"epoch": 3, "value": 0.43}',
         ':::MLPv0.5.0 resnet 1541635120.250 (train.py:99) run_stop: {"success": true}'],
        {"time_s": 100.125, "test_accuracy": 0.43}, reason="a total but no epoch",
    ),
    "two runs": Case(
        [*MLLOG, STOP, *(line.replace("1621", "1622") for line in [*MLLOG, STOP])],
        {"time_s": None}, reason="several runs in one file: 2 starts and 2 ends", errors=NO_TOTAL,
    ),
}  # fmt: skip

DLL = "[1,0]<stdout>:DLL 2021-08-27 03:0{e}:06.383520 - "
EPOCHS = [
    (DLL + line).format(e=e, loss=3 - e, top1=20.5 + e)
    for e in range(3)
    for line in (
        "Epoch: {e} Iteration: 10  train.loss : 9.9  train.total_ips : 100.0 img/s",
        "Epoch: {e} Validation Iteration: 10  val.loss : 9.9  val.top1 : 0.1 %",
        "Epoch: {e}  train.loss : {loss} None train.total_ips : 2850{e}.5 img/s val.top1 : {top1} % val.loss : 2.5 ",
    )
]  # fmt: skip
JSON = [
    f'DLLL {{"timestamp": "1630033206.38", "datetime": "2021-08-27 03:00:06.383520", '
    f'"elapsedtime": "61.2", "type": "LOG", "step": {step}, "data": {data}}}'
    for step, data in (
        ('"PARAMETER"', '{"epochs": 2}'),
        ("[0, 10]", '{"train.loss": 9.9}'),
        ("[0]", '{"train.loss": 2.1, "train.total_ips": 2850.5, "val.top1": 5.25}'),
        ("[1, 10]", '{"train.loss": 9.8}'),
        ("[1]", '{"train.loss": 1.5, "train.total_ips": 2851.5, "val.top1": 25.25}'),
        ("[]", '{"train.total_ips": 2851.0, "val.top1": 25.25}'),
    )
]
DLLOGGER = {
    "console": Case(
        [*EPOCHS, DLL.format(e=5) + "Summary: train.total_ips : 28501.5 img/s val.top1 : 22.5 %",
         "[1,0]<stdout>:Total time: 181.5 s"],
        {"time_s": 181.5, "epochs_done": 3, "train_loss": 1.0, "test_loss": 2.5, "test_accuracy": 0.225,
         "images_per_s": 28501.5, "world_size_actual": None},
    ),
    "console, cut": Case(
        EPOCHS[:-1], {"epochs_done": 2, "train_loss": 2.0}, errors=NO_TOTAL,
        reason="no total in the log; its last values: '[1,0]<stdout>:DLL 2021-08-27 03:01:06",
    ),
    "JSON": Case(
        [*JSON, "real\t2m1.5s"],
        {"time_s": 121.5, "epochs_done": 2, "train_loss": 1.5, "test_accuracy": 0.2525, "images_per_s": 2851.0},
    ),
    "BERT, its own steps": Case(
        ["DLL 2020-05-12 10:00:06.383520 - Training Epoch: 0 Training Iteration: 10  step_loss : 10.2 ",
         "DLL 2020-05-12 10:20:06.383520 -  e2e_train_time : 1234.5 s training_sequences_per_second : 3100.2 sequences/s"],
        {"time_s": 1234.5, "steps": 10, "images_per_s": 3100.2},
    ),
    "BERT": Case(
        ["DLL 2020-05-12 10:00:06.383520 - (0, 10) step_loss : 10.2 learning_rate : 0.0001",
         "DLL 2020-05-12 10:20:06.383520 - () e2e_train_time : 1234.5 training_sequences_per_second : 3100.2 final_loss : 1.52 "],
        {"time_s": 1234.5, "images_per_s": 3100.2, "train_loss": None}, reason="a total but no epoch",
    ),
}  # fmt: skip

HEAD = ["TensorFlow:  1.10", "Model:       resnet101", "Dataset:     imagenet (synthetic)",
        "Batch size:  256 global", "             64.0 per device", "Num batches: 100",
        "Devices:     ['horovod/gpu:0']", "Step\tImg/sec\ttotal_loss"]  # fmt: skip
STEPS = [
    f"{rank}{step}\timages/sec: 147.9 +/- 0.1 (jitter = 0.3)\t9.14{step}"
    for step in (1, *range(10, 101, 10))
    for rank in ("", "", "", "")
]
TOTALS = ["-" * 64, "total images/sec: 588.51", "-" * 64]
TF_CNN = {
    "Horovod": Case(
        [*HEAD, *STEPS, *TOTALS * 4, "real\t1m10.5s"],
        {"time_s": 70.5, "images_per_s": 588.51, "steps": 100, "batch_size_global": 256,
         "batch_size_per_device": 64, "model": "resnet101", "epochs_done": None},
    ),
    "no time": Case(
        [*(f"[1,{i % 4}]<stdout>:{line}" for i, line in enumerate(STEPS)),
         *(f"[1,{rank}]<stdout>:{line}" for rank in range(4) for line in TOTALS)],
        {"images_per_s": 588.51, "steps": 100, "world_size_actual": 4}, errors=NO_TOTAL,
        reason="tf_cnn_benchmarks prints images/s and no time",
    ),
    "cut": Case(
        [*HEAD, *STEPS[:20]], {"steps": 40, "images_per_s": None}, reason="40 images/sec: 147.9",
        errors=NO_TOTAL | {"incomplete_epochs"},
    ),
}  # fmt: skip

CASES = named({"MLPerf": MLPERF, "DLLogger": DLLOGGER, "tf_cnn": TF_CNN})


@pytest.mark.parametrize("name", CASES)
def test_a_log_gives_its_row(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    check(tmp_path, Case(case.lines, case.row, case.reason, "ddp_4gpu_bs64.log", case.errors))
