"""The MONAI bundle: its network is ours, and MONAI's own checks pass."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from dpcenet.data.phantom.phantom import write_phantoms
from dpcenet.inference.predictor import Predictor
from dpcenet.methods.incontext.model import InContext, NetworkOptions
from dpcenet.segmentation.monai_bundle import PairNetwork, segment_file, write_bundle
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.volumes.io import read_volume

# What the published schema (meta_schema_20240725.json) asks for.
REQUIRED = [
    *("schema", "version", "monai_version", "pytorch_version", "numpy_version"),
    *("required_packages_version", "task", "description", "authors", "copyright"),
    "network_data_format",
]


@pytest.fixture(scope="module")
def network() -> InContext:
    torch.manual_seed(0)
    made = InContext(NetworkOptions(size=32, widths=(8, 8, 16, 16))).eval()
    for each in made.parameters():  # some start at 0, which would hide a mistake
        torch.nn.init.normal_(each, std=0.2)
    return made


@pytest.fixture(scope="module")
def bundle(network: InContext, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(network, folder)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    (scan, labels), (query, _) = write_phantoms(
        tmp_path_factory.mktemp("scans"), 2, shape=(4, 32, 32), spacing=(20.0, 9.0, 9.0)
    )
    drawn = nibabel.load(labels)
    one = (np.asarray(drawn.dataobj) == 1).astype(np.uint8)  # one label: a quarter of the time
    nibabel.save(nibabel.Nifti1Image(one, drawn.affine), labels)
    return {"query": str(query), "support_image": str(scan), "support_mask": str(labels)}


def opened(bundle: Path) -> PairNetwork:
    """The network as the config describes it."""
    config = json.loads((bundle / "configs" / "inference.json").read_text())["network_def"]
    weights = str(bundle / "models" / "model.safetensors")
    return PairNetwork(weights, config["size"], config["widths"]).eval()


@torch.no_grad()
def test_each_pair_is_segmented_by_its_own_labels(network: InContext, bundle: Path) -> None:
    slices = torch.randn(3, 3, 48, 48)
    slices[:, 2] = (slices[:, 2] > 0.5).float()
    found = opened(bundle)(slices)
    for row, of_pair in zip(slices, found, strict=True):
        query, support = (network.encode(row[None, [n]]) for n in (0, 1))
        wanted = network.match(support, row[[2]], query).log_probs.exp()
        torch.testing.assert_close(of_pair[None], wanted, atol=1e-5, rtol=1e-4)


def test_a_scan_is_segmented_as_the_command_does(
    network: InContext, bundle: Path, files: dict[str, str], tmp_path: Path
) -> None:
    path = segment_file(opened(bundle), **files, output=str(tmp_path / "mask.nii.gz"))
    segmenter = Segmenter(Predictor(network), None)
    support = segmenter.support(files["support_image"], files["support_mask"])
    wanted = segmenter.segment(files["query"], support)
    found = read_volume(Path(path)).volume
    assert np.array_equal(found.data, wanted.data) and np.allclose(found.affine, wanted.affine)


@pytest.mark.filterwarnings("ignore")  # MONAI's about itself
def test_monai_itself_verifies_and_runs_it(
    bundle: Path, files: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("monai", reason="MONAI is not installed")
    pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    from monai.bundle import run, verify_metadata, verify_net_in_out

    meta, config = (str(bundle / "configs" / f"{name}.json") for name in ("metadata", "inference"))
    schema = tmp_path / "schema.json"  # where it lies there, MONAI does not download it
    schema.write_text(json.dumps({"type": "object", "required": REQUIRED}))
    verify_metadata(meta_file=meta, filepath=str(schema))
    verify_net_in_out(
        "network_def",
        meta_file=meta,
        config_file=config,
        device="cpu",
        bundle_root=str(bundle),
    )
    output = str(tmp_path / "mask.nii.gz")
    run(config_file=config, meta_file=meta, bundle_root=str(bundle), output=output, **files)
    assert read_volume(Path(output)).volume.data.shape == (4, 32, 32)
