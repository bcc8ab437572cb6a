"""The paper's first layers as one: its numbers beside layers in float64, its building, its absence.

It is built once per session, into a cache that all workers share.
"""

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tests.dataset.nasty import plain_folder
from weather_hpc.errors import FailedError
from weather_hpc.models import fused, fused_build
from weather_hpc.models.fused import FusedNetwork, fuse
from weather_hpc.models.paper_cnn import paper_cnn
from weather_hpc.preprocess.__main__ import main as preprocess
from weather_hpc.runs.record import read_record
from weather_hpc.study.networks import NETWORKS
from weather_hpc.train.__main__ import main as train
from weather_hpc.train.layers import SyncBatchNorm2d
from weather_hpc.train.loader import network_input

CLASSES = 11


def drawn(side: int = 256) -> nn.Sequential:
    """The network with weights unlike fresh ones, so that no term of a gradient is nought."""
    torch.manual_seed(0)
    network = paper_cnn(CLASSES, side)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        cast(torch.Tensor, first_norm(network).running_mean).normal_()
    cast(nn.Dropout, network.dropout).p = 0.0
    return network


def first_norm(network: nn.Sequential) -> nn.BatchNorm2d:
    return cast(nn.BatchNorm2d, network.norm1)


def layer_of(network: nn.Module, name: str) -> nn.Module:
    return network.get_submodule(name)


def gradient_of(network: nn.Module, name: str) -> torch.Tensor:
    gradient = network.get_parameter(name).grad
    assert gradient is not None
    return gradient


def pictures(count: int, side: int = 256) -> torch.Tensor:
    """Noise on a slope: neighbours are alike, and the rims are unlike each other."""
    noise = torch.randint(0, 100, (count, side, side, 3))
    slope = torch.linspace(0, 150, side).long()
    return (noise + slope[None, :, None, None] // 2 + slope[None, None, :, None] // 2).to(
        torch.uint8
    )


def fused_copy(network: nn.Sequential) -> FusedNetwork:
    fast, status = fuse(copy.deepcopy(network))
    assert status == "on"
    assert isinstance(fast, FusedNetwork)
    return fast


TOLERANCE = 16 * torch.finfo(torch.float32).eps
"""Of the sum of what is added up, sizes alone: what float32 may lose where terms cancel out."""


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("side", [256, NETWORKS["paper_cnn"].smallest])
def test_numbers_are_those_of_layers_in_float64(side: int, training: bool) -> None:
    plain = drawn(side).train(training)
    ours, exact = fused_copy(plain), copy.deepcopy(plain).double()
    images = pictures(3, side)
    found = ours._first_layers(images)
    convolved = layer_of(exact, "conv1")(network_input(images).double())
    normalised = layer_of(exact, "norm1")(convolved)
    normalised.retain_grad()
    wanted = layer_of(exact, "pool1")(layer_of(exact, "tanh1")(normalised))
    assert float((found.double() - wanted).detach().abs().max()) <= TOLERANCE
    gradient = torch.randn_like(found) + 0.5
    torch.autograd.backward([found, wanted], [gradient, gradient.double()])
    # What is summed, after batch norm and, times its gain, before it; no pixel is beyond 1. A bias
    # before batch norm has a gradient of nought, so errors are nothing beside gradients themselves.
    norm, given = first_norm(exact), normalised.grad.abs()
    values = ((normalised - norm.bias[:, None, None]) / norm.weight[:, None, None]).detach()
    after = given.sum((0, 2, 3))
    before = (after * normalised.std((0, 2, 3)) / convolved.std((0, 2, 3))).detach()
    summed = {
        "conv1.weight": before[:, None, None, None],
        "conv1.bias": before,
        "norm1.weight": (given * values.abs()).sum((0, 2, 3)),
        "norm1.bias": after,
    }
    for name, scale in summed.items():
        error = gradient_of(ours, name).double() - gradient_of(exact, name)
        assert float((error.abs() / scale).max()) <= TOLERANCE, name
    for name, kept in first_norm(exact).named_buffers():
        own = first_norm(ours).get_buffer(name).to(kept)
        torch.testing.assert_close(own, kept, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_the_whole_network_learns_as_in_float64(training: bool) -> None:
    plain = drawn().train(training)
    ours, exact = fused_copy(plain), copy.deepcopy(plain).double()
    images, labels = pictures(3), torch.tensor([1, 2, 3])
    for network, given in ((ours, images), (exact, network_input(images).double())):
        cross_entropy(network(given), labels).backward()  # type: ignore[no-untyped-call]
    # batch norm over three images makes much of rounding errors
    for layers in ("conv1", "norm1", "conv2", "linear2"):
        names = [name for name, _ in exact.named_parameters() if name.startswith(layers)]
        found, wanted = (
            torch.cat([gradient_of(network, name).double().flatten() for name in names])
            for network in (ours, exact)
        )
        assert float((found - wanted).norm()) <= 1e-3 * float(wanted.norm()), layers


def first_gradients(network: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    network.zero_grad()
    cross_entropy(network(images), torch.arange(len(images))).backward()  # type: ignore[no-untyped-call]
    return [gradient_of(network, name).clone() for name in ("conv1.weight", "norm1.weight")]


def test_steps_use_one_buffer_whatever_their_sizes() -> None:
    network = drawn()
    often = fused_copy(network)
    buffers = []
    for count in (3, 2, 5, 4):
        images = pictures(count)
        expected = first_gradients(fused_copy(network), images)
        for one, other in zip(first_gradients(often, images), expected, strict=True):
            assert torch.equal(one, other)
        buffers.append(often.spare[0].data_ptr())
    assert buffers[0] == buffers[1]
    assert buffers[2] == buffers[3]


def test_forward_passes_before_a_backward_pass_each_keep_their_slopes() -> None:
    network = fused_copy(drawn())
    pair = pictures(2), pictures(2)
    expected = [first_gradients(network, images) for images in pair]
    labels = torch.arange(2)
    lost = [cross_entropy(network(images), labels) for images in pair]
    for loss, gradients in zip(lost, expected, strict=True):
        network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        assert torch.equal(gradient_of(network, "conv1.weight"), gradients[0])


def test_a_second_backward_pass_is_refused() -> None:
    network = fused_copy(drawn())
    loss = network(pictures(2)).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        loss.backward()


def test_batch_statistics_are_exact() -> None:
    images = pictures(2)
    patches = fused._patches(images, fused.Moments())
    unfolded = nn.functional.unfold(network_input(images).double(), 4).permute(1, 0, 2).flatten(1)
    assert patches.count == unfolded.shape[1]
    # the pixels' own float32 is what differs
    torch.testing.assert_close(patches.mean, unfolded.mean(1), rtol=0, atol=1e-7)
    torch.testing.assert_close(patches.covariance, unfolded.cov(correction=0), rtol=1e-6, atol=1e-7)


def test_moments_of_an_image_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(4)
    rows = np.array([7, 3, 9, 5])
    batches = [[0, 1], [1, 2, 3], [3, 2, 0], [0, 2]]
    moments = fused.Moments()
    wanted = [moments.of(images[some], None) for some in batches]
    computed: list[int] = []
    compute = fused.Moments._computed

    def counting(self: fused.Moments, given: torch.Tensor) -> torch.Tensor:
        computed.append(len(given))
        return compute(self, given)

    monkeypatch.setattr(fused.Moments, "_computed", counting)
    monkeypatch.setattr(fused, "MOST_KNOWN", 3)
    for some, expected in zip(batches, wanted, strict=True):
        assert torch.equal(moments.of(images[some], rows[some]), expected)
    assert computed == [2, 2, 1]  # 7 and 3; 9 and 5, which finds no room; 5 again


def test_ranks_tell_each_other_moments_once(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(5)
    one, other = fused.Moments(), fused.Moments()
    one.of(images[:3], np.array([0, 1, 2]))
    other.of(images[2:], np.array([2, 3, 4]))
    both: list[list[torch.Tensor]] = []
    for moments in (one, other):
        sent: list[torch.Tensor] = []
        moments.exchange(lambda own, sent=sent: (sent.append(own), own)[1])  # type: ignore[misc]
        both.append(sent)
    rows, sums = (torch.cat(parts) for parts in zip(*both, strict=True))
    assert rows.tolist() == [0, 1, 2, 2, 3, 4]
    for moments in (one, other):
        answers = iter([rows, sums])
        moments.exchange(lambda own, answers=answers: next(answers))  # type: ignore[misc]
        moments.exchange(lambda own: own)  # nothing new is told
    wanted = fused.Moments().of(images, None)
    monkeypatch.setattr(fused.Moments, "_computed", lambda *_: pytest.fail("computed again"))
    for moments in (one, other):
        assert torch.equal(moments.of(images, np.arange(5)), wanted)


def test_extreme_pixels_and_weights() -> None:
    network = drawn()
    with torch.no_grad():
        first_norm(network).weight.fill_(1e4)  # tanh is -1 or 1 nearly everywhere
    images = (pictures(2) > 75).to(torch.uint8) * 255
    logits = fused_copy(network)(images)
    torch.testing.assert_close(logits, network(network_input(images)), rtol=0, atol=2e-3)
    first_norm(network).weight.data.fill_(float("nan"))
    assert fused_copy(network)(images).isnan().all()


def test_threads_change_nothing() -> None:
    images, network = pictures(3), drawn()
    gradients = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            ours = fused_copy(network)
            pooled = ours._first_layers(images)
            pooled.square().sum().backward()  # type: ignore[no-untyped-call]
            gradients.append(ours.conv1.weight.grad)
    finally:
        torch.set_num_threads(before)
    assert gradients[0] is not None
    assert torch.equal(gradients[0], gradients[1])  # type: ignore[arg-type]


def test_its_state_is_the_plain_network_s_and_floats_go_through() -> None:
    plain, other = drawn().eval(), paper_cnn(CLASSES).eval()
    ours = fused_copy(plain)
    other.load_state_dict(ours.state_dict())
    planes = network_input(pictures(2))
    assert torch.equal(ours(planes), plain(planes))
    assert torch.equal(other(planes), plain(planes))


def test_other_networks_are_left_alone() -> None:
    synchronised = paper_cnn(CLASSES)
    synchronised.norm1 = SyncBatchNorm2d(first_norm(synchronised), torch.clone)
    for network in (synchronised, paper_cnn(CLASSES)[4:], nn.Linear(2, 2)):
        assert fuse(network) == (network, None)


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fused_build.SWITCH, "off")
    network = paper_cnn(CLASSES)
    assert fuse(network) == (network, "off")


def test_without_a_compiler_layers_stay_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    fused_build.kernels.cache_clear()
    network = paper_cnn(CLASSES)
    try:
        same, status = fuse(network)
    finally:
        fused_build.kernels.cache_clear()
    assert status is not None
    assert status.startswith("off: no C++ compiler (c++)")
    assert same is network
    assert network(network_input(pictures(2))).shape == (2, CLASSES)


def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "cxx"
    compiler.write_text("#!/bin/sh\necho 'x: error: no such option' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(FailedError, match=r"cannot build fused\.cpp: x: error: no such option"):
        fused_build.build(tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.so"))


@pytest.mark.parametrize("damage", ["read-only", "another system's"])
def test_a_cache_that_does_not_serve_is_gone_around(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "env LANG=C c++")  # a wrapper, as make takes it
    monkeypatch.setattr(fused_build, "FLAGS", [f.replace("O3", "O0") for f in fused_build.FLAGS])
    cache = tmp_path / "cache"
    if damage == "read-only":
        cache.touch()  # no folder can be made there, not even by root
    else:
        cache.mkdir()
        name = f"fused-{fused_build._fingerprint('env LANG=C c++')}.so"
        (cache / name).write_text("no library of ours")
    monkeypatch.setattr(fused_build, "_cache", lambda: cache)
    fused_build.kernels.cache_clear()
    try:
        assert fused_build.kernels().slopes_of_image(NETWORKS["paper_cnn"].smallest) > 0
    finally:
        fused_build.kernels.cache_clear()


def test_two_processes_build_once(tmp_path: Path) -> None:
    compiler, log = tmp_path / "cxx", tmp_path / "log"
    compiler.write_text(f'#!/bin/sh\necho built >> {log}\nsleep 0.3\necho library > "$9"\n')
    compiler.chmod(0o755)
    assert fused_build.FLAGS[-1] == "-pthread"
    assert len(fused_build.FLAGS) == 7  # so that the output file is the ninth word
    code = (
        "import sys; from pathlib import Path; from weather_hpc.models.fused_build import build;"
        "print(build(Path(sys.argv[1])).read_text())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "cache")]
    environment = os.environ | {"CXX": str(compiler)}
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [child.communicate()[0].strip() for child in both] == ["library", "library"]
    assert log.read_text() == "built\n"


def test_the_record_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, store = plain_folder(tmp_path / "images"), str(tmp_path / "store")
    assert preprocess(["--data", str(images), "--out", store, "--size", "256"]) == 0
    told, losses = [], []
    for run in ("fused", "plain"):
        flags = ["--store", store, "--batch-size", "4", "--epochs", "1", "--images", "8"]
        assert train([*flags, "--run-dir", str(tmp_path / run)]) == 0
        record = read_record(tmp_path / run / "record.json")
        told.append(record.provenance.environment["fused_layers"])
        losses.append(record.quality.train_loss)
        monkeypatch.setenv(fused_build.SWITCH, "off")
    assert told == ["on", "off"]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
