"""Weight files: what fits, what is refused, and a download that never leaves a wrong file."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dpcenet.errors import WeightsError
from dpcenet.nn.weights import (
    OFFICIAL,
    OfficialFile,
    download,
    load_weights,
    read_tensors,
    sha256_of,
)


def network() -> nn.Sequential:
    """Names: 0.weight, 0.bias, 1.weight, 1.bias, 1.running_mean/var, 1.num_batches_tracked."""
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))


def tensors() -> dict[str, Tensor]:
    """Numbers for `network` that float16 holds exactly, without the step counter."""
    shapes = {"0.weight": (2, 1, 1, 1)} | dict.fromkeys(
        ("0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"), (2,)
    )
    return {name: torch.full(shape, 0.5 + i) for i, (name, shape) in enumerate(shapes.items())}


def saved(folder: Path, content: dict[str, Tensor], name: str = "file.safetensors") -> Path:
    path = folder / name
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize("name", ["file.safetensors", "file.pth", "file.pt"])
def test_half_precision_becomes_single(tmp_path: Path, name: str) -> None:
    half = {key: tensor.half() for key, tensor in tensors().items()}
    module = network()
    report = load_weights(module, saved(tmp_path, half, name))
    assert report.ignored == report.kept == ()
    for key, tensor in tensors().items():
        assert module.state_dict()[key].dtype == torch.float32
        assert torch.equal(module.state_dict()[key], tensor)


def test_prefix_rename_ignore_and_keep(tmp_path: Path) -> None:
    content = {f"backbone.{name}": tensor for name, tensor in tensors().items()}
    content["backbone.stem.weight"] = content.pop("backbone.0.weight")
    del content["backbone.0.bias"]
    content["classifier.weight"] = torch.zeros(3)
    module = network()
    bias = module[0].bias.detach().clone()
    report = load_weights(
        module,
        saved(tmp_path, content),
        prefix="backbone.",
        rename={"stem.weight": "0.weight"},
        ignore=("classifier.",),
        keep=("0.bias",),
    )
    assert report.ignored == ("classifier.weight",) and report.kept == ("0.bias",)
    assert torch.equal(module[0].weight, tensors()["0.weight"])
    assert torch.equal(module[0].bias, bias)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.weight": None}, r"1 missing in the file \(0\.weight\)"),
        ({"2.weight": torch.zeros(1)}, r"1 not in the network \(2\.weight\)"),
        ({"0.bias": torch.zeros(3)}, r"another shape or kind \(0\.bias: \(3,\) .* of \(2,\)"),
        ({"0.bias": torch.zeros(2, dtype=torch.int8)}, r"another shape or kind \(0\.bias: .*int8"),
        ({"0.bias": torch.tensor([0.0, torch.nan])}, r"not finite \(0\.bias\)"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    tmp_path: Path, change: dict[str, Tensor | None], message: str
) -> None:
    content = {k: v for k, v in (tensors() | change).items() if v is not None}
    module = network()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(WeightsError, match=message):
        load_weights(module, saved(tmp_path, content))
    assert all(torch.equal(t, before[name]) for name, t in module.state_dict().items())


def test_a_wrong_prefix_does_not_pass_silently(tmp_path: Path) -> None:
    content = {f"module.{name}": tensor for name, tensor in tensors().items()}
    with pytest.raises(WeightsError, match=r"6 missing in the file .*; 6 not in the network"):
        load_weights(network(), saved(tmp_path, content), prefix="backbone.")


def test_two_tensors_for_one_name(tmp_path: Path) -> None:
    content = tensors() | {"backbone.0.bias": torch.zeros(2)}
    with pytest.raises(WeightsError, match=r"two tensors are named '0\.bias'"):
        load_weights(network(), saved(tmp_path, content), prefix="backbone.")


def test_long_lists_of_names_are_cut(tmp_path: Path) -> None:
    extra = {f"x{i:02}": torch.zeros(1) for i in range(30)}
    with pytest.raises(WeightsError, match=r"30 not in the network \(x00, .*x07 and 22 more\)"):
        load_weights(network(), saved(tmp_path, tensors() | extra))


class Payload:
    """Pickles to a call; loading it must not make that call."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.target,)  # type: ignore[return-value]


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    torch.save({"0.bias": Payload(victim)}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth"):
        read_tensors(tmp_path / "evil.pth")
    assert not victim.exists()


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pth", "empty.safetensors", "empty.pth"])
def test_damaged_files(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, tensors(), name)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] if name.startswith("cut") else b"")
    with pytest.raises(WeightsError, match="damaged"):
        read_tensors(path)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"a": 1}, {}])
def test_a_file_of_something_else(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="expected named tensors"):
        read_tensors(tmp_path / "other.pth")


def test_no_file_and_another_type(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        read_tensors(tmp_path / "absent.pth")
    (tmp_path / "x.bin").touch()
    with pytest.raises(WeightsError, match="ending in"):
        read_tensors(tmp_path / "x.bin")


def test_official_names_carry_their_hash() -> None:
    for source in OFFICIAL.values():
        assert source.url.endswith(f"-{source.sha256_prefix}.pth")
        assert len(source.sha256_prefix) == 8 and source.licence


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A web server on this computer with one file, `net.pth`; gives its address."""
    folder.mkdir()
    (folder / "net.pth").write_bytes(b"weights" * 1_000_000)
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with served(tmp_path / "served") as address:
        yield address


RIGHT = hashlib.sha256(b"weights" * 1_000_000).hexdigest()


def offer(monkeypatch: pytest.MonkeyPatch, url: str, prefix: str) -> None:
    monkeypatch.setitem(OFFICIAL, "net", OfficialFile(url, prefix, "public domain"))


def test_download(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, f"{server}/net.pth", RIGHT[:8])
    folder = tmp_path / "new" / "folder"
    path = download("net", folder)
    assert path == folder / "net.pth" and sha256_of(path) == RIGHT
    assert list(folder.iterdir()) == [path]


def test_right_file_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.pth").write_bytes(b"weights" * 1_000_000)
    offer(monkeypatch, "http://127.0.0.1:1/net.pth", RIGHT[:8])
    assert download("net", tmp_path) == tmp_path / "net.pth"


@pytest.mark.parametrize("there", [False, True])
def test_wrong_hash_leaves_nothing_new(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    offer(monkeypatch, f"{server}/net.pth", "00000000")
    folder = tmp_path / "folder"
    folder.mkdir()
    if there:
        (folder / "net.pth").write_bytes(b"older")
    with pytest.raises(WeightsError, match=r"invalid hash value .*00000000"):
        download("net", folder)
    assert [path.read_bytes() for path in folder.iterdir()] == ([b"older"] if there else [])


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", None])
def test_no_connection_or_no_such_file(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    offer(monkeypatch, f"{address or server}/absent.pth", RIGHT[:8])
    with pytest.raises(WeightsError, match="download failed"):
        download("net", tmp_path / "folder")
    assert list((tmp_path / "folder").iterdir()) == []


def test_connection_that_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(handler: QuietHandler, source: IO[bytes], target: IO[bytes]) -> None:
        target.write(source.read(1000))

    monkeypatch.setattr(QuietHandler, "copyfile", half)
    folder = tmp_path / "folder"
    with served(tmp_path / "served") as address:
        offer(monkeypatch, f"{address}/net.pth", RIGHT[:8])
        with pytest.raises(WeightsError, match="damaged or replaced"):
            download("net", folder)
    assert list(folder.iterdir()) == []


def test_unknown_official_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no official weights named 'resnet9000'"):
        download("resnet9000", tmp_path)
