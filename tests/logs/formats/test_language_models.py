"""Logs of Hugging Face, fairseq, Megatron, nanoGPT, llm.c and DeepSpeed."""

# ruff: noqa: E501, ISC004 - lines as they are printed

from pathlib import Path

import pytest

from tests.logs.formats.cases import Case, check, named

NO_TOTAL = frozenset({"missing_total"})

INFO = "[INFO|trainer.py:1750] 2023-06-01 10:00:00,123 >>"
TRAINER = [
    f"{INFO} ***** Running training *****",
    f"{INFO}   Num examples = 3,668",
    f"{INFO}   Num Epochs = 3",
    f"{INFO}   Instantaneous batch size per device = 16",
    f"{INFO}   Total train batch size (w. parallel, distributed & accumulation) = 64",
    f"{INFO}   Gradient Accumulation steps = 1",
    f"{INFO}   Total optimization steps = 174",
    "{'loss': 0.6123, 'grad_norm': 2.1, 'learning_rate': 3.2e-05, 'epoch': 0.86}",
    f"{INFO} ***** Running Evaluation *****",
    f"{INFO}   Num examples = 408",
    f"{INFO}   Batch size = 8",
    "{'eval_loss': 0.4412, 'eval_accuracy': 0.8137, 'eval_runtime': 1.2, 'epoch': 1.0}",
    "{'loss': 0.2123, 'grad_norm': 2.1, 'learning_rate': 1.2e-05, 'epoch': 2.59}",
    "{'eval_loss': 0.4012, 'eval_accuracy': 0.8628, 'eval_runtime': 1.2, 'epoch': 3.0}",
]
TRAINER_END = [
    "",
    "Training completed. Do not forget to share your model on huggingface.co/models =)",
    "{'train_runtime': 61.2345, 'train_samples_per_second': 179.7, 'train_steps_per_second': 2.84, "
    "'train_loss': 0.4011, 'epoch': 3.0}",
    "***** train metrics *****",
    "  epoch                    =        3.0",
    "  train_loss               =     0.4011",
    "  train_runtime            = 0:01:01.23",
    "  train_samples            =       3668",
    "  train_samples_per_second =      179.7",
    "***** eval metrics *****",
    "  epoch                   =        3.0",
    "  eval_accuracy           =     0.8628",
    "  eval_runtime            = 0:00:01.20",
]
TRAINED = {
    "time_s": 61.2345, "epochs": 3, "epochs_done": 3, "train_loss": 0.4011, "images": 3668,
    "test_loss": 0.4012, "test_accuracy": 0.8628, "images_per_s": 179.7, "batch_size_global": 64,
    "batch_size_per_device": 16, "train_accuracy": None, "steps": None, "workers": 4,
}  # fmt: skip
QUOTED = [
    "{'loss': '0.6123', 'grad_norm': '2.1', 'learning_rate': '3.2e-05', 'epoch': '0.5'}",
    "{'eval_loss': '0.44', 'eval_accuracy': '0.81', 'eval_runtime': '1.2', 'epoch': '1'}",
    "{'train_runtime': '61.23', 'train_samples_per_second': '60.1', 'train_steps_per_second': '2', "
    "'train_loss': '0.5', 'epoch': '1'}",
]
MODDED = [
    "step:0/20 val_loss:10.8258 train_time:0ms step_avg:0.04ms",
    *(f"step:{n}/20 train_time:{n * 150}ms step_avg:150.00ms" for n in range(1, 20)),
    "step:20/20 train_time:3000ms step_avg:150.00ms",
    "step:20/20 val_loss:3.2791 train_time:3500ms step_avg:175.00ms",
]
MODDED_NANOGPT = {
    "whole": Case(MODDED, {"time_s": 3.5, "steps": 20, "test_loss": 3.2791}),
    "cut": Case(
        MODDED[:15], {"steps": 14, "time_s": None}, "no total in the log, 14 of 20 steps",
        errors=NO_TOTAL | {"incomplete_epochs"},
    ),
}  # fmt: skip

WORDS = [
    line
    for e in (1, 2)
    for line in (
        f"| epoch   {e} |   200/ 2983 batches | lr 20.00 | ms/batch 12.34 | loss  7.63 | ppl  2050.57",
        "-" * 89,
        f"| end of epoch   {e} | time: 37.2{e}s | valid loss  5.7{e} | valid ppl   323.76",
    )
]
WORD_LANGUAGE_MODEL = {
    "no number of epochs": Case(
        [*WORDS, "| End of training | test loss  5.12 | test ppl   167.34"],
        {"epochs_done": 2, "test_loss": 5.12, "train_loss": None}, "name {epochs} in --pattern",
        errors=NO_TOTAL,
    ),
    "timed": Case([*WORDS, "real    1m31.2s"], {"epochs_done": 2, "time_s": 91.2}),
}  # fmt: skip
HUGGING_FACE = {
    "whole": Case([*TRAINER, *TRAINER_END], TRAINED, name="ddp_4gpu_bs16.log"),
    "cut": Case(
        TRAINER[:-1], {"epochs_done": 2, "test_accuracy": 0.8137, "train_loss": None},
        reason="no total in the log, 2 of 3 epochs; its last values: '{'loss': 0.2123", errors=NO_TOTAL | {"incomplete_epochs"},
        name="ddp_4gpu_bs16.log",
    ),
    "values as text": Case(
        QUOTED, {"time_s": 61.23, "epochs_done": 1, "train_loss": 0.5, "test_accuracy": 0.81},
    ),
    "slowest rank": Case(
        [f"{rank}: {line.replace('61.23', f'6{rank}.23')}" for line in QUOTED for rank in range(4)],
        {"time_s": 63.23, "epochs_done": 1, "world_size_actual": 4},
        errors=NO_TOTAL,  # the ranks' totals disagree
    ),
    "within a bar": Case(
        ["100%|##########| 58/58 [01:01<00:00,  2.84it/s]" + line for line in QUOTED],
        {"time_s": 61.23, "train_loss": 0.5},
    ),
    "stopped by a number of steps": Case(
        ["{'train_runtime': 61.2, 'train_samples_per_second': 10.5, 'train_loss': 0.5, 'epoch': 0.31}"],
        {"time_s": 61.2, "epochs_done": 0}, reason="a total but no epoch",
    ),
    "JSON": Case(
        ['{"loss": 0.61, "learning_rate": 5e-05, "epoch": 0.5, "step": 500}',
         '{"eval_loss": 0.44, "eval_acc": 0.81, "epoch": 2.0, "step": 2000}',
         '{"train_runtime": 91.2, "train_samples_per_second": 10.5, "epoch": 2.0, "step": 2000}'],
        {"time_s": 91.2, "epochs_done": 2, "test_accuracy": 0.81},
    ),
    "the end alone": Case(
        TRAINER_END[3:],
        {"time_s": 61.23, "epochs_done": 3, "train_loss": None, "images_per_s": 179.7, "images": 3668},
    ),
    "accelerate": Case(
        ["epoch 0: {'accuracy': 0.8014, 'f1': 0.86}", "epoch 1: {'accuracy': 0.8333, 'f1': 0.88}",
         "real\t1m31.2s"],
        {"time_s": 91.2, "epochs_done": 2, "test_accuracy": 0.8333, "train_accuracy": None},
    ),
    "under DeepSpeed": Case(
        [*(f"[2023-06-01 10:00:0{i},985] [INFO] [logging.py:69:log_dist] [Rank 0] step={i}0, "
           "skipped=2, lr=[5e-05], mom=[[0.9, 0.999]]" for i in range(1, 10)), *QUOTED],
        {"time_s": 61.23, "epochs_done": 1},
    ),
    "total of the script": Case(
        [*TRAINER, "Total training time: 63.1 s"], {"time_s": 63.1, "epochs_done": 3},
        name="ddp_4gpu_bs16.log",
    ),
}  # fmt: skip

UPDATES = "wps 12876 | ups 4.9 | wpb 2578 | bsz 108 | num_updates {u} | lr 0.0002 | gnorm 1.2"
STAMP = "2021-01-05 21:54:56 | INFO | "


def _fairseq(*lines: str) -> list[str]:
    return [
        line.format(e=e, u=2737 * e, loss=10 - e, valid=10.5 - e, wall=600 * e)
        for e in (1, 2, 3)
        for line in lines
    ]


FAIRSEQ = {
    "0.6": Case(
        ["| training on 4 GPUs", "| max tokens per GPU = 4000 and max sentences per GPU = None",
         *_fairseq("| epoch 00{e}:   1000 / 2737 loss=9.9, nll_loss=5.0, ppl=236.58, wall=261",
                   "| epoch 00{e} | loss {loss} | nll_loss 5.1 | " + UPDATES + " | wall {wall} | train_wall 540",
                   "| epoch 00{e} | valid on 'valid' subset | valid_loss {valid} | valid_ppl 37.61"),
         "| done training in 1822.4 seconds"],
        {"time_s": 1822.4, "epochs_done": 3, "train_loss": 7.0, "test_loss": 7.5, "workers": 4},
    ),
    "0.10 with a classifier": Case(
        [STAMP + "fairseq_cli.train | training on 4 devices (GPUs/TPUs)",
         *_fairseq(STAMP + "fairseq.trainer | begin training epoch {e}",
                   STAMP + "train_inner | epoch 00{e}:    100 / 2737 loss=9.9, nll_loss=0.1, accuracy=50",
                   STAMP + "valid | epoch 00{e} | valid on 'valid' subset | loss {valid} | nll_loss 0.1 | accuracy 88.5 | wps 6000",
                   STAMP + "train | epoch 00{e} | loss {loss} | nll_loss 5.1 | accuracy 61.2 | " + UPDATES + " | train_wall 580 | gb_free 9.1 | wall {wall}"),
         STAMP + "fairseq_cli.train | done training in 1822.4 seconds"],
        {"time_s": 1822.4, "epochs_done": 3, "train_loss": 7.0, "test_loss": 7.5,
         "train_accuracy": 0.612, "test_accuracy": 0.885, "workers": 4},
    ),
    "JSON": Case(
        [*_fairseq(STAMP + 'train_inner | {{"epoch": {e}, "update": 0.365, "loss": "9.9", "wall": "261"}}',
                   STAMP + 'train | {{"epoch": {e}, "train_loss": "{loss}", "train_nll_loss": "7.5", "train_train_wall": "580", "train_wall": "{wall}"}}',
                   STAMP + 'valid | {{"epoch": {e}, "valid_loss": "{valid}", "valid_num_updates": "643"}}'),
         STAMP + "fairseq_cli.train | done training in 1822.4 seconds"],
        {"time_s": 1822.4, "epochs_done": 3, "train_loss": 7.0, "test_loss": 7.5},
    ),
    "cut": Case(
        _fairseq("0: " + STAMP + "train_inner | epoch 00{e}:    100 / 2737 loss=9.9, nll_loss=0.1",
                 "0: " + STAMP + "train | epoch 00{e} | loss {loss} | " + UPDATES + " | train_wall 580 | wall {wall}")[:-1],
        {"time_s": None, "epochs_done": 2, "train_loss": 8.0}, errors=NO_TOTAL,
        reason="no total in the log; its last values: '0: 2021-01-05",
    ),
    "stopped within an epoch that was tested in its middle": Case(
        ["| epoch 001 | loss 9.1 | nll_loss 5.1 | wall 600 | train_wall 540",
         "| epoch 002 | valid on 'valid' subset | valid_loss 8.1 | valid_ppl 118.06 | num_updates 600",
         "| epoch 002:    650 / 1891 loss=7.9, nll_loss=10.1, wall=1263"],
        {"epochs_done": 1, "train_loss": 9.1, "test_loss": 8.1}, errors=NO_TOTAL,
        reason="its last values: '| epoch 001 | loss 9.1",
    ),
}  # fmt: skip

ITERATION = (
    " iteration {i:8}/    1000 | consumed samples: {s:12} | elapsed time per iteration (ms): 400.0 | "
    "learning rate: 1.342E-04 | global batch size:    64 | lm loss: 8.500000E+00 | loss scale: 1.0 |"
)
ITERATIONS = [ITERATION.format(i=i, s=64 * i) for i in range(100, 1001, 100)]
DATED = ["[before the start of training step] datetime: 2021-06-01 12:00:00 ", *ITERATIONS,
         "[after training is done] datetime: 2021-06-01 12:07:11 "]  # fmt: skip
MEGATRON = {
    "with dates": Case(
        ["using world size: 4, data-parallel-size: 4, tensor-model-parallel size: 1", *DATED,
         " validation loss at iteration 1000 | lm loss value: 3.921E+00 | lm loss PPL: 5.0E+01 |"],
        {"time_s": 431.0, "steps": 1000, "images_per_s": 160.0, "batch_size_global": 64,
         "test_loss": 3.921, "train_loss": None, "epochs_done": None},
    ),
    "newer": Case(
        [f"3: [2024-04-06 03:02:12] {line.strip()}" for line in ITERATIONS],
        {"steps": 1000, "images_per_s": 160.0, "world_size_actual": None}, errors=NO_TOTAL,
        reason="no total in the log; its last values: '3: [2024-04-06 03:02:12] iteration 1000/",
    ),
    "Megatron-DeepSpeed": Case(
        [*(f" iteration {i}/ 1000 | consumed samples: {64 * i} | consumed tokens: 99 | elapsed time per "
           "iteration (s): 0.40 | global batch size: 64 | lm loss: 8.5E+00 | samples per second: 150.5 "
           "| TFLOPs: 45.1 |" for i in range(100, 1001, 100)), "real\t10m0.0s"],
        {"time_s": 600.0, "steps": 1000, "images_per_s": 150.5},
    ),
    "started again": Case(
        DATED[:6] + [line.replace(" 12:", " 15:") for line in DATED], {"time_s": None},
        reason="no total in the log", errors=NO_TOTAL,
    ),
}  # fmt: skip

NANOGPT = {
    "nanoGPT": Case(
        ["tokens per iteration will be: 491,520",
         "step 0: train loss 10.9, val loss 10.9",
         *(f"iter {i}: loss 8.1, time 460.12ms, mfu 31.00%" for i in range(0, 2001, 10)),
         "step 2000: train loss 1.87, val loss 1.95", "Total time: 931.2 s"],
        {"time_s": 931.2, "steps": 2000, "train_loss": 1.87, "test_loss": 1.95, "images_per_s": None},
    ),
    "llm.c": Case(
        [*(f"step {i:4}/74 | loss 3.208939 (+nanz)| norm 1.4800 (+nanz)| lr 3.00e-04 | 44.57 ms "
           "| -100.0% bf16 MFU | 91886 tok/s" for i in range(1, 75)), "val loss 3.517294",
         "total average iteration time: 44.570000 ms", "real\t0m31.2s"],
        {"time_s": 31.2, "steps": 74, "test_loss": 3.517294},
    ),
    "cut": Case(
        ["step 0: train loss 10.9, val loss 10.9", "iter 0: loss 10.9, time 460.12ms, mfu 31.00%"],
        {"steps": 0}, errors=NO_TOTAL, reason="its last values: 'iter 0: loss 10.9, time 460.12ms",
    ),
}  # fmt: skip

HEAD = "[2023-06-01 10:00:0{i},985] [INFO] "
DEEPSPEED = {
    "epochs of the script": Case(
        [line for e in range(3) for line in (
            *(f"[2023-06-01 10:00:0{i},985] [INFO] [logging.py:69:log_dist] [Rank 0] step={3 * e + i}, "
              "skipped=0, lr=[5e-05], mom=[[0.9, 0.999]]" for i in range(3)),
            f"Epoch {e}, loss: 0.{9 - e}, accuracy: 0.{5 + e}")] + ["Training took 91.2 s"],
        {"time_s": 91.2, "epochs_done": 3, "train_loss": 0.7, "train_accuracy": 0.7},
    ),
    "0.8": Case(
        [HEAD.format(i=i) + line.format(i=i) for i in range(1, 6) for line in (
            "[logging.py:69:log_dist] [Rank 0] step={i}0, skipped=2, lr=[5e-05], mom=[[0.9, 0.999]]",
            "[timer.py:260:stop] epoch=0/micro_step={i}0/global_step={i}0, RunningAvgSamplesPerSec=83.5, "
            "CurrSamplesPerSec=8{i}.5, MemAllocated=0.26GB, MaxMemAllocated=9.02GB")]
        + ["Training took 91.2 s"],
        {"time_s": 91.2, "steps": 50, "images_per_s": 83.5, "world_size_actual": None},
    ),
    "older, cut": Case(
        [HEAD.format(i=i) + line.format(i=i) for i in range(1, 6) for line in (
            "[logging.py:69:log_dist] [Rank 0] step={i}0, skipped=2, lr=[5e-05], mom=[[0.9, 0.999]]",
            "[timer.py:189:stop] 0/{i}0, SamplesPerSec=83.48, MemAllocated=0.26GB")],
        {"steps": 50, "images_per_s": None}, errors=NO_TOTAL, reason="[Rank 0] step=50, skipped=2",
    ),
}  # fmt: skip

CASES = named({
    "Hugging Face": HUGGING_FACE, "fairseq": FAIRSEQ, "Megatron": MEGATRON,
    "nanoGPT": NANOGPT, "DeepSpeed": DEEPSPEED, "modded-nanogpt": MODDED_NANOGPT,
    "word_language_model": WORD_LANGUAGE_MODEL,
})  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_log_gives_its_row(tmp_path: Path, name: str) -> None:
    check(tmp_path, CASES[name])
