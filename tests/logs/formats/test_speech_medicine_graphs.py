"""Logs of SpeechBrain, nnU-Net, DGL, PyTorch Geometric and OGB."""

# ruff: noqa: E501 - lines as they are printed

from pathlib import Path

import pytest

from tests.logs.formats.cases import Case, check, named

NO_TOTAL = frozenset({"missing_total"})


def _epochs(*lines: str, first: int = 1, count: int = 3) -> list[str]:
    return [
        line.format(
            e=e, loss=f"{2 - e / 10:.2f}", acc=f"{0.5 + e / 100:.4f}", percent=f"{50 + e}.25"
        )
        for e in range(first, first + count)
        for line in lines
    ]


LOGGER = "speechbrain.utils.train_logger - "
SPEECHBRAIN = {
    "console": Case(
        [*_epochs("speechbrain.utils.epoch_loop - Going into epoch {e}",
                  "100%|####| 462/462 [02:24<00:00,  3.20it/s, train_loss=2.88]",
                  LOGGER + "epoch: {e}, lr: 3.00e-04, wave2vec_lr: 4.30e-06 - train loss: {loss}, train acc: {acc}, train ctc_loss: 1.2e-01 - valid loss: 2.57, "
                  "valid PER: 1.56e+02"),
         LOGGER + "Epoch loaded: 2 - test loss: 2.7, test PER: 12.1", "Total time: 451.2 s"],
        {"time_s": 451.2, "epochs_done": 3, "train_loss": 1.7, "train_accuracy": 0.53, "test_loss": 2.57},
    ),
    "log file": Case(
        _epochs("epoch: {e}, lr: 3.59e-05, steps: 1797, optimizer: Adam - train loss: {loss} - valid "
                "loss: 2.09e+02, valid ACC: {acc}"),
        {"epochs_done": 3, "train_loss": 1.7, "test_loss": 209.0, "test_accuracy": 0.53}, errors=NO_TOTAL,
        reason="its last values: 'epoch: 3, lr: 3.59e-05",
    ),
    "dates, cut": Case(
        _epochs("2023-06-09 22:28:29,533 - speechbrain.utils.epoch_loop - INFO - Going into epoch {e}",
                "2023-06-09 22:28:28,650 - speechbrain.utils.train_logger - INFO - Epoch: {e}, lr: 5.03e-05 "
                "- train loss: {loss} - valid loss: 7.56e-01, valid error: 3.98e-01")[:-1],
        {"epochs_done": 2, "train_loss": 1.8}, errors=NO_TOTAL,
        reason="no total in the log; its last values: '2023-06-09 22:28:28,650",
    ),
}  # fmt: skip

V1 = ["Please cite the following paper when using nnUNet:", *_epochs(
    "2022-10-17 18:18:55.618151: ", "epoch:  {e} ", "2022-10-17 18:22:08.584400: train loss : -{loss} ",
    "2022-10-17 18:23:12.176860: validation loss: -0.6583 ",
    "2022-10-17 18:23:12.178313: Average global foreground Dice: [0.8089] ",
    "2022-10-17 18:23:12.802834: lr: 0.006156 ",
    "2022-10-17 18:23:12.803058: This epoch took 257.5 s", " ", first=0)]  # fmt: skip
V2 = ["I am local rank 0. 4 GPUs are available. The world size is 4.Setting device to cuda:0",
      "worker 0 batch_size 2", "worker 1 batch_size 2", *_epochs(
    "2024-04-26 09:39:10.910043: Epoch {e}", "2024-04-26 09:39:10.914042: Current learning rate: 0.01",
    "using pin_memory on device 0", "2024-04-26 09:41:39.493872: train_loss -{loss}",
    "2024-04-26 09:41:39.498914: val_loss -0.4628", "2024-04-26 09:41:39.501914: Pseudo dice [0.0, 0.1]",
    "2024-04-26 09:41:39.505914: Epoch time: 148.5 s",
    "2024-04-26 09:41:39.507914: Yayy! New best EMA pseudo Dice: 0.0", first=0)]  # fmt: skip
NNUNET = {
    "1": Case([*V1, "real\t13m0s"], {"time_s": 780.0, "epochs_done": 3, "train_loss": -1.8, "test_loss": -0.6583}),
    "2": Case(
        [*V2, "2024-04-26 09:49:40.0: Training done.", "real\t8m0s"],
        {"time_s": 480.0, "epochs_done": 3, "train_loss": -1.8, "test_loss": -0.4628, "workers": 4,
         "batch_size_per_device": 2},
        name="ddp_4gpu_bs2.log",
    ),
    "2, cut": Case(
        V2[:-4], {"time_s": None, "epochs_done": 3, "test_loss": -0.4628}, errors=NO_TOTAL,
        reason="nnU-Net prints each epoch's time and no total", name="ddp_4gpu_bs2.log",
    ),
}  # fmt: skip

DGL = {
    "whole graph, from 0": Case(
        [*_epochs("Epoch {e:05d} | Time(s) 0.0034 | Loss {loss} | TrainAcc 0.6 | ValAcc {acc} | ETputs(KTEPS) 2041.77", first=0),
         "", "Test Accuracy 0.8120", "Total time: 4.2 s"],
        {"time_s": 4.2, "epochs_done": 3, "train_loss": 1.8, "train_accuracy": 0.6, "test_accuracy": 0.812},
    ),
    "sampled, newer": Case(
        [*_epochs("Epoch {e:05d} | Loss {loss} | Accuracy {acc} | Time 12.5000", first=0), "Total time: 40.2 s"],
        {"time_s": 40.2, "epochs_done": 3, "train_loss": 1.8, "train_accuracy": None, "test_accuracy": 0.52},
    ),
    "sampled, older": Case(
        [*_epochs("Epoch {e:05d} | Step 00000 | Loss 2.5 | Train Acc 0.1 | Speed (samples/sec) nan | GPU 12.1 MB",
                  "Epoch {e:05d} | Step 00020 | Loss 2.4 | Train Acc 0.2 | Speed (samples/sec) 9123.4 | GPU 12.1 MB",
                  "Epoch Time(s): 12.5000", "Eval Acc {acc}", first=0), "Test Acc: 0.7", "real\t0m41.5s"],
        {"time_s": 41.5, "epochs_done": 3, "train_loss": None, "train_accuracy": None, "test_accuracy": 0.7},
    ),
    "cut": Case(
        _epochs("0: Epoch {e:05d} | Loss {loss} | Accuracy {acc} | Time 12.5", first=0),
        {"time_s": None, "epochs_done": 3}, errors=NO_TOTAL, reason="its last values: '0: Epoch 00002",
    ),
}  # fmt: skip

PYG = {
    "each": Case(
        [*_epochs("Epoch: {e:03d}, Loss: {loss}, Train: {acc}, Val: 0.7, Test: 0.69"),
         "Median time per epoch: 0.0123s", "Total time: 4.2 s"],
        {"time_s": 4.2, "epochs_done": 3, "train_loss": 1.7, "train_accuracy": 0.53, "test_accuracy": 0.69},
    ),
    "each tenth": Case(
        [*(f"Epoch: {e:03d}, Loss: {2 - e / 100:.2f}, Train: 0.8{e // 10}, Val: 0.7, Test: 0.69" for e in (10, 20, 30)),
         "Total time: 4.2 s"],
        {"time_s": 4.2, "train_loss": 1.7, "train_accuracy": 0.83, "test_accuracy": 0.69},
    ),
    "sampled": Case(
        [*_epochs("Epoch {e:02d}: 100%|####| 90941/90941 [00:02<00:00, 35622.37it/s]",
                  "Epoch {e:02d}, Loss: {loss}, Approx. Train: {acc}", "Time 2.56",
                  "Train: 0.5429, Val: 0.5406, Test: 0.4877", first=0), "real\t0m41.5s"],
        {"time_s": 41.5, "epochs_done": 3, "train_loss": 1.8, "train_accuracy": 0.52, "test_accuracy": 0.4877},
    ),
    "OGB": Case(
        [*_epochs("Run: 01, Epoch: {e:02d}, Loss: {loss}, Train: {percent}%, Valid: 70.51% Test: 69.42%"),
         "Run 01:", "Highest Train: 53.25", "real\t0m41.5s"],
        {"time_s": 41.5, "epochs_done": 3, "train_loss": 1.7, "train_accuracy": 0.5325, "test_accuracy": 0.6942},
    ),
    "OGB, several runs": Case(
        [*(line for run in (1, 2) for line in _epochs(
            f"Run: 0{run}, Epoch: {{e:02d}}, Loss: {run}.{{e}}, Train: {{percent}}%, Valid: 70.51% Test: 69.42%")),
         "All runs:", "Highest Train: 53.25 +- 0.1", "real\t0m41.5s"],
        {}, reason="several runs in one file (run 1, 2)", errors=frozenset({"restarted"}),
    ),
    "cut": Case(
        _epochs("Epoch: {e:03d}, Loss: {loss}, Train: {acc}, Val: 0.7, Test: 0.69"),
        {"time_s": None, "epochs_done": 3}, errors=NO_TOTAL, reason="its last values: 'Epoch: 003",
    ),
}  # fmt: skip

CASES = named({"SpeechBrain": SPEECHBRAIN, "nnU-Net": NNUNET, "DGL": DGL, "PyG": PYG})


@pytest.mark.parametrize("name", CASES)
def test_a_log_gives_its_row(tmp_path: Path, name: str) -> None:
    check(tmp_path, CASES[name])
