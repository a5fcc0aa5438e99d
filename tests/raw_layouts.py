"""Made scans, oblique and anisotropic, written in the layout of each data set."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from pydicom import FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from scipy.spatial.transform import Rotation

from dpcenet.types import Volume

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
SHAPE = (6, 48, 40)


def positions(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """RAS mm of every voxel, (*shape, 3)."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def made_affine(
    spacing: tuple[float, float, float], degrees: tuple[float, float, float]
) -> np.ndarray:
    """Axial slices from feet to head, rows to the back, columns to the left; then turned."""
    axes = np.array([[0.0, 0, 1], [0, -1, 0], [-1, 0, 0]]).T
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    affine[:3, :3] = turn @ axes * np.array(spacing)
    affine[:3, 3] = (31.0, -17.0, 203.0)
    return affine


def made_case(
    seed: int = 0,
    shape: tuple[int, int, int] = SHAPE,
    spacing: tuple[float, float, float] = (6.0, 1.4, 1.6),
    degrees: tuple[float, float, float] = (6.0, -9.0, 14.0),
    values: tuple[int, ...] = (1, 2, 3, 4),
) -> tuple[Volume, Volume]:
    """An image with a body, and labels: balls at places that differ along every axis."""
    random = np.random.default_rng(seed)
    affine = made_affine(spacing, degrees)
    at = positions(shape, affine)
    extent = affine[:3, :3] * (np.array(shape) - 1)
    centres = [(0.35, 0.3, 0.3), (0.6, 0.66, 0.25), (0.5, 0.3, 0.72), (0.7, 0.7, 0.7)]
    labels = np.zeros(shape, np.uint16)
    image = 200 + 20 * np.sin(at[..., 0] / 9) + random.normal(0, 4, shape)
    radius = 0.13 * min(shape[1] * spacing[1], shape[2] * spacing[2])
    for number, value in enumerate(values):
        centre = affine[:3, 3] + extent @ np.array(centres[number % 4])
        ball = np.linalg.norm(at - centre, axis=-1) < radius
        labels[ball] = value
        image[ball] += 80 * (number + 1)
    image[:, :3] = image[:, -3:] = 0  # air
    return Volume(image.round().astype(np.int16), affine), Volume(labels, affine)


def centroid(labels: Volume, value: int) -> np.ndarray:
    """Centre of a label in RAS mm."""
    return positions(labels.data.shape, labels.affine)[labels.data == value].mean(axis=0)


def write_nifti(volume: Volume, path: Path) -> Path:
    """By nibabel, so that reader and writer are not from one hand."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.ascontiguousarray(volume.data.transpose(2, 1, 0))
    nibabel.save(nibabel.Nifti1Image(data, volume.affine[:, [2, 1, 0, 3]]), path)
    return path


def write_dicom(volume: Volume, folder: Path, order: list[int] | None = None) -> list[Path]:
    """One file for each slice; file k holds slice order[k]."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    order = list(range(len(volume.data))) if order is None else order
    for number, z in enumerate(order):
        path = folder / f"IMG-0004-{number + 1:05d}.dcm"
        dicom_slice(volume, z, number).save_as(path, enforce_file_format=True)
        files.append(path)
    return files


def dicom_slice(volume: Volume, z: int, number: int) -> FileDataset:
    """Slice z of a volume as an uncompressed MR image."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    file.StudyInstanceUID, file.SeriesInstanceUID = "1.2.3.99", "1.2.3.100"
    file.FrameOfReferenceUID = "1.2.3.98"
    file.Modality, file.InstanceNumber = "MR", number + 1
    lps = RAS_TO_LPS @ volume.affine[:3]
    _, between_rows, between_columns = volume.spacing
    file.ImagePositionPatient = (lps[:, 3] + lps[:, 0] * z).round(9).tolist()
    row, column = lps[:, 2] / between_columns, lps[:, 1] / between_rows
    file.ImageOrientationPatient = [*row.round(12).tolist(), *column.round(12).tolist()]
    file.PixelSpacing = [float(between_rows), float(between_columns)]
    file.Rows, file.Columns = volume.data.shape[1:]
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
    file.PixelRepresentation = 1
    file.PixelData = np.ascontiguousarray(volume.data[z], np.int16).tobytes()
    return file


GREYS = np.array([0, 63, 126, 189, 252], np.uint8)


def write_chaos(folder: Path, patient: int, image: Volume, labels: Volume) -> Path:
    """MR/<patient>/T2SPIR as CHAOS has it; files run from head to feet, as its scans do."""
    series = folder / "Train_Sets" / "MR" / str(patient) / "T2SPIR"
    order = list(reversed(range(len(image.data))))
    files = write_dicom(image, series / "DICOM_anon", order)
    (series / "Ground").mkdir()
    for path, z in zip(files, order, strict=True):
        grey = GREYS[labels.data[z]]
        Image.fromarray(grey).save(series / "Ground" / f"{path.stem}.png")
    return series


def write_acdc(folder: Path, patient: int, image: Volume, labels: Volume, es: int = 12) -> Path:
    """A patient folder with the same scan as both frames."""
    name = f"patient{patient:03d}"
    place = folder / "training" / name
    for frame in (1, es):
        write_nifti(image, place / f"{name}_frame{frame:02d}.nii.gz")
        write_nifti(labels, place / f"{name}_frame{frame:02d}_gt.nii.gz")
    (place / "Info.cfg").write_text(f"ED: 1\nES: {es}\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\n")
    return place


def write_msd(folder: Path, cases: list[tuple[Volume, Volume]], names: dict[int, str]) -> Path:
    """A Decathlon task, with a macOS file that is no scan."""
    pairs = []
    for number, (image, labels) in enumerate(cases):
        name = f"spleen_{number}.nii.gz"
        write_nifti(image, folder / "imagesTr" / name)
        write_nifti(labels, folder / "labelsTr" / name)
        (folder / "imagesTr" / f"._{name}").write_bytes(b"no scan")
        pairs.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    labels_of = {"0": "background", **{str(value): name for value, name in names.items()}}
    facts = {"modality": {"0": "CT"}, "labels": labels_of, "training": pairs, "test": []}
    (folder / "dataset.json").write_text(json.dumps(facts))
    return folder


def write_nnunet(folder: Path, cases: list[tuple[Volume, Volume]], names: dict[int, str]) -> Path:
    """nnU-Net's raw layout; the last case is a test scan."""
    for number, (image, labels) in enumerate(cases):
        part = "Ts" if number == len(cases) - 1 else "Tr"
        write_nifti(image, folder / f"images{part}" / f"case_{number:03d}_0000.nii.gz")
        if part == "Tr":
            write_nifti(labels, folder / "labelsTr" / f"case_{number:03d}.nii.gz")
    facts = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, **{name: value for value, name in names.items()}},
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(facts))
    return folder
