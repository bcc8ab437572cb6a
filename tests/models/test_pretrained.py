"""Weights from a file: what is taken over, what is refused. The files are made here, not had."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from weather_hpc.errors import UserError
from weather_hpc.models.pretrained import build_for_weights, load_pretrained
from weather_hpc.models.registry import build_model, import_timm, import_torchvision

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def torchvisions(name: str) -> nn.Module:
    """The network ``name`` as torchvision publishes it, for ImageNet's classes."""
    torch.manual_seed(1)
    network: nn.Module = import_torchvision().models.get_model(name, weights=None)
    return network.eval()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(torchvisions("resnet18").state_dict(), path)
    return path


def load(path: Path | str, name: str = "resnet18", size: int = 64) -> nn.Module:
    torch.manual_seed(0)
    network = build_for_weights(name, 5, size, str(path))
    load_pretrained(network, name, str(path), size)
    return network.eval()


def test_all_but_the_head_is_taken_over(published: Path) -> None:
    ours, theirs = load(published).state_dict(), torch.load(published)
    assert ours.keys() == theirs.keys()
    head = {"fc.weight", "fc.bias"}
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs.keys() - head)
    assert ours["fc.weight"].shape == (5, 512)


def test_it_sees_images_as_torchvision_normalises_them(published: Path) -> None:
    """The same features for one picture, given in -1..1 here and by mean and deviation there."""
    picture = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    normalise = import_torchvision().transforms.v2.Normalize(MEAN, STD)
    ours, theirs = load(published), torchvisions("resnet18")
    ours.fc = theirs.fc = nn.Identity()
    with torch.no_grad():
        assert torch.allclose(ours(picture * 2 - 1), theirs(normalise(picture)), atol=1e-4)


def test_googlenet_was_taught_on_our_own_range(tmp_path: Path) -> None:
    """Its published file holds auxiliary heads, which ours has not."""
    theirs: nn.Module = import_torchvision().models.get_model(
        "googlenet", weights=None, init_weights=False, transform_input=True
    )
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours, theirs = load(tmp_path / "weights.pth", "googlenet"), theirs.eval()
    ours.fc = theirs.fc = nn.Identity()
    picture = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    normalise = import_torchvision().transforms.v2.Normalize(MEAN, STD)
    with torch.no_grad():
        assert torch.allclose(ours(picture * 2 - 1), theirs(normalise(picture)), atol=1e-4)


def test_old_names_of_densenet_layers_are_understood(tmp_path: Path) -> None:
    theirs = torchvisions("densenet121").state_dict()
    old = {
        key.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): value
        for key, value in theirs.items()
    }
    assert old.keys() != theirs.keys()
    torch.save(old, tmp_path / "weights.pth")
    ours = load(tmp_path / "weights.pth", "densenet121").state_dict()
    key = "features.denseblock1.denselayer1.norm1.weight"
    assert torch.equal(ours[key], theirs[key])


@pytest.mark.parametrize("prefix", ["module.", "model.", "module._orig_mod."])
def test_what_wrappers_put_before_names_is_dropped(
    published: Path, tmp_path: Path, prefix: str
) -> None:
    weights = {prefix + key: value for key, value in torch.load(published).items()}
    torch.save({"state_dict": weights}, tmp_path / "weights.pth")
    key = "layer4.1.conv2.weight"
    assert torch.equal(load(tmp_path / "weights.pth").state_dict()[key], weights[prefix + key])


def test_what_a_wrapper_had_besides_is_named(published: Path, tmp_path: Path) -> None:
    weights = {f"model.{key}": value for key, value in torch.load(published).items()}
    more = {"loss.weight": torch.zeros(2), "loss.bias": torch.zeros(2)}
    torch.save({"state_dict": weights | more}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"the network has no loss\.weight and 1 other$"):
        load(tmp_path / "weights.pth")
    del weights["model.conv1.weight"]
    torch.save({"state_dict": weights}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"does not fit resnet18: it has no conv1\.weight$"):
        load(tmp_path / "weights.pth")


def test_safetensors_are_read(published: Path, tmp_path: Path) -> None:
    save_file(torch.load(published), tmp_path / "weights.safetensors")
    key = "layer4.1.conv2.weight"
    ours = load(tmp_path / "weights.safetensors").state_dict()[key]
    assert torch.equal(ours, torch.load(published)[key])
    (tmp_path / "weights.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(UserError, match="cannot be read as weights"):
        load(tmp_path / "weights.safetensors")


def test_timms_networks_begin_with_weights_of_a_file(tmp_path: Path) -> None:
    name = "timm:resnet10t"
    theirs = import_timm().create_model("resnet10t", pretrained=False).eval()
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    ours = load(tmp_path / "weights.safetensors", name)
    theirs.reset_classifier(0)
    ours.reset_classifier(0)  # type: ignore[operator]
    picture = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    normalise = import_torchvision().transforms.v2.Normalize(MEAN, STD)
    with torch.no_grad():
        assert torch.allclose(ours(picture * 2 - 1), theirs(normalise(picture)), atol=1e-4)
    with pytest.raises(
        UserError, match=r"--model timm:resnet10x: timm .* did you mean 'resnet10t'"
    ):
        build_model("timm:resnet10x", 5, 64)
    with pytest.raises(UserError, match="torch's cache has no weights of timm:resnet10t"):
        build_for_weights(name, 5, 64, "cached")


@pytest.mark.parametrize("wrapped", ["state_dict", "model"])
def test_a_training_scripts_wrapping_is_opened(
    published: Path, tmp_path: Path, wrapped: str
) -> None:
    torch.save({wrapped: torch.load(published), "epoch": 90}, tmp_path / "weights.pth")
    key = "layer4.1.conv2.weight"
    assert torch.equal(load(tmp_path / "weights.pth").state_dict()[key], torch.load(published)[key])


def test_the_cache_is_where_torch_keeps_it(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    with pytest.raises(UserError) as missing:
        load("cached")
    assert f"put resnet18-f37072fd.pth into {tmp_path}/checkpoints (https://" in str(missing.value)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "resnet18-f37072fd.pth").write_bytes(published.read_bytes())
    key = "layer4.1.conv2.weight"
    assert torch.equal(load("cached").state_dict()[key], torch.load(published)[key])


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm",)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no such file"),
        (b"", r"cannot be read as weights \(EOFError\)"),
        (b"not weights", "cannot be read as weights"),
        (Evil(), "cannot be read as weights"),
        ({}, "holds no state_dict"),
        ([1, 2], "holds no state_dict"),
        ({"conv1.weight": 3}, "holds no state_dict"),
        ({"conv1.weight": torch.zeros(2)}, r"does not fit resnet18: conv1.weight has shape \(2,\)"),
        ({"a": torch.zeros(2)}, "does not fit resnet18: it has no conv1.weight"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(UserError, match=f"--weights {path}: {told}"):
        load(path)
    assert not (tmp_path / "harm").exists()


def test_another_networks_weights_are_refused(published: Path, tmp_path: Path) -> None:
    more = torch.load(published) | {"layer5.weight": torch.zeros(1)}
    torch.save(more, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"does not fit resnet18: the network has no layer5.weight"):
        load(tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"does not fit squeezenet1_1: it has no features.0.weight"):
        load(published, "squeezenet1_1")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        load(tmp_path)


def test_our_own_networks_have_no_published_weights(published: Path) -> None:
    with pytest.raises(UserError, match="paper_cnn has no published weights"):
        load(published, "paper_cnn")


def test_without_weights_nothing_is_normalised() -> None:
    picture = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def answer(network: nn.Module) -> torch.Tensor:
        logits: torch.Tensor = network.eval()(picture)
        return logits

    torch.manual_seed(0)
    plain = answer(build_model("resnet18", 5, 64))
    torch.manual_seed(0)
    assert torch.equal(answer(build_for_weights("resnet18", 5, 64, None)), plain)
