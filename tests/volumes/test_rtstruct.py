"""Structure sets: outlines filled where their millimetres lie."""

from __future__ import annotations

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")

from pydicom import Dataset, FileDataset  # noqa: E402
from pydicom.dataset import FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage  # noqa: E402
from scipy.ndimage import binary_dilation  # noqa: E402
from skimage.measure import find_contours  # noqa: E402

from dpcenet.data.datasets.folder import find_cases  # noqa: E402
from dpcenet.data.datasets.spec import read_pair  # noqa: E402
from dpcenet.errors import VolumeError  # noqa: E402
from dpcenet.types import Volume  # noqa: E402
from dpcenet.volumes.dicom.headers import referred_series  # noqa: E402
from dpcenet.volumes.dicom.rtstruct import read_rtstruct  # noqa: E402
from dpcenet.volumes.mask_checks import check_mask  # noqa: E402
from dpcenet.volumes.masks import read_mask  # noqa: E402
from dpcenet.volumes.scan_file import ScanFile, SourceGrid  # noqa: E402
from phantoms import STORED_48, store  # noqa: E402
from raw_layouts import made_case, write_dicom  # noqa: E402


def scan_of(image):
    return ScanFile(image, SourceGrid.of(image))


def item(**values):
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def write_rtstruct(path, structures, outside=(), kind="CLOSED_PLANAR"):
    """A structure set; structures are number → (name, outlines in LPS mm (N, 3))."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = RTStructureSetStorage, "1.2.3.4"
    file.StructureSetROISequence = [
        item(ROINumber=number, ROIName=name) for number, (name, _) in structures.items()
    ]
    file.RTROIObservationsSequence = [
        item(ReferencedROINumber=number, RTROIInterpretedType="EXTERNAL") for number in outside
    ]
    file.ROIContourSequence = [
        item(
            ReferencedROINumber=number,
            ContourSequence=[
                item(
                    ContourGeometricType=kind,
                    NumberOfContourPoints=len(points),
                    ContourData=np.round(points, 4).ravel().tolist(),
                )
                for points in outlines
            ],
        )
        for number, (_, outlines) in structures.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def outlines_of(mask, affine):
    """Outlines of a mask, slice by slice, half way between its voxels and the others: LPS mm."""
    found = []
    for z, plane in enumerate(mask):
        for line in find_contours(np.pad(plane, 1).astype(float), 0.5):
            index = np.c_[np.full(len(line), z), line - 1, np.ones(len(line))]
            found.append((index @ affine.T)[:, :3] * (-1, -1, 1))
    return found


@pytest.mark.parametrize("axes", [None, *STORED_48[::13]])
def test_outlines_of_a_mask_give_the_mask(tmp_path, axes):
    """Oblique, with a hole and with two parts on a slice, on the scan in any array order."""
    image, labels = made_case(values=(1, 2, 3))
    data = labels.data.copy()
    hole = np.argwhere(data == 2).mean(axis=0).round().astype(int)
    data[hole[0], hole[1] - 1 : hole[1] + 2, hole[2] - 1 : hole[2] + 2] = 0
    data[data == 3] = 1  # two balls of one structure
    outlines = {value: outlines_of(data == value, image.affine) for value in (1, 2)}
    path = write_rtstruct(tmp_path / "rs.dcm", {4: ("Leber", outlines[1]), 9: ("b", outlines[2])})
    scan = scan_of(image if axes is None else store(image, axes))
    found = read_mask(path, scan)
    expected = np.select([data == 1, data == 2], [4, 9], 0)
    ours = check_mask(found.volume, image, "rs")
    np.testing.assert_array_equal(ours, expected)
    assert found.facts.labels.names == {4: "Leber", 9: "b"}


def test_a_square_by_hand(tmp_path):
    """Pixel centres inside 0.6…3.4 rows and 1.6…4.4 columns: rows 1-3, columns 2-4."""
    affine = np.array([[0, 0, -2.0, 0], [0, -3.0, 0, 0], [5.0, 0, 0, 0], [0, 0, 0, 1]])
    image = Volume(np.zeros((2, 8, 9)), affine)
    corners = [(1, 0.6, 1.6), (1, 3.4, 1.6), (1, 3.4, 4.4), (1, 0.6, 4.4)]
    points = np.array([(affine @ (*corner, 1))[:3] * (-1, -1, 1) for corner in corners])
    path = write_rtstruct(tmp_path / "rs.dcm", {1: ("a", [points])})
    expected = np.zeros((2, 8, 9))
    expected[1, 1:4, 2:5] = 1
    np.testing.assert_array_equal(read_rtstruct(path, scan_of(image)).volume.data, expected)


def test_the_patients_outline_is_left_aside(tmp_path):
    image, labels = made_case(values=(1,))
    body = np.ones(labels.data.shape, bool)
    body[:, :2] = body[:, -2:] = body[:, :, :2] = body[:, :, -2:] = False
    structures = {
        1: ("BODY", outlines_of(body, image.affine)),
        2: ("liver", outlines_of(labels.data == 1, image.affine)),
    }
    path = write_rtstruct(tmp_path / "a.dcm", structures, outside=(1,))
    found = read_rtstruct(path, scan_of(image))
    np.testing.assert_array_equal(found.volume.data, np.where(labels.data == 1, 2, 0))
    assert found.facts.notes == ("the patient's outline (BODY) is left aside",)
    path = write_rtstruct(tmp_path / "b.dcm", structures)
    with pytest.raises(VolumeError, match=r"'BODY' and 'liver' overlap in \d+ voxels"):
        read_rtstruct(path, scan_of(image))


def test_numbers_beyond_255_are_counted_from_1(tmp_path):
    image, labels = made_case(values=(1,))
    outlines = outlines_of(labels.data == 1, image.affine)
    path = write_rtstruct(tmp_path / "a.dcm", {1001: ("liver", outlines)})
    found = read_rtstruct(path, scan_of(image))
    assert found.volume.data.max() == 1 and found.facts.labels.names == {1: "liver"}


def moved(outlines, mm):
    return [points + np.array(mm) for points in outlines]


def test_outlines_of_another_scan_are_refused(tmp_path):
    image, labels = made_case(degrees=(0.0, 0.0, 0.0), values=(1,))
    outlines = outlines_of(labels.data == 1, image.affine)
    for mm, message in (
        ((0, 0, 3.0), "'liver' lies between the slices"),
        ((0, 0, 60.0), "'liver' lies beyond the scan"),
        ((0, 600.0, 0), "'liver' hold no voxel of the scan"),
    ):
        path = write_rtstruct(tmp_path / "a.dcm", {1: ("liver", moved(outlines, mm))})
        with pytest.raises(VolumeError, match=message):
            read_rtstruct(path, scan_of(image))
    turned, _ = made_case(degrees=(0.0, 20.0, 0.0))
    path = write_rtstruct(tmp_path / "a.dcm", {1: ("liver", outlines)})
    with pytest.raises(VolumeError, match=r"between the slices|beyond the scan"):
        read_rtstruct(path, scan_of(turned))


@pytest.mark.filterwarnings("ignore")
def test_outlines_with_an_axis_turned_over_are_refused_with_their_distance(tmp_path):
    """As an exporter writes them that takes rows to run from front to back in every scan."""
    image, labels = made_case()
    upside_down = Volume(image.data, image.affine @ np.diag([1.0, -1.0, 1.0, 1.0]))
    outlines = outlines_of(labels.data == 1, upside_down.affine)
    path = write_rtstruct(tmp_path / "r.dcm", {1: ("liver", outlines)})
    nearest = np.nonzero((labels.data == 1).any(axis=(0, 2)))[0].min() - 0.5
    with pytest.raises(VolumeError, match="axis over, export the mask as NIfTI") as caught:
        read_rtstruct(path, scan_of(image))
    assert f"they lie {nearest * image.spacing[1]:.0f} mm outside it" in str(caught.value)


def test_structure_sets_without_an_outline(tmp_path):
    image, labels = made_case(values=(1,))
    outlines = outlines_of(labels.data == 1, image.affine)
    path = write_rtstruct(tmp_path / "a.dcm", {1: ("points", outlines)}, kind="POINT")
    with pytest.raises(VolumeError, match="no closed outline"):
        read_rtstruct(path, scan_of(image))
    path = write_rtstruct(tmp_path / "b.dcm", {1: ("liver", [outlines[0][:, :2]])})
    file = pydicom.dcmread(path)
    file.ROIContourSequence[0].ContourSequence[0].ContourData = [1.0, 2.0, 3.0, 4.0]
    file.save_as(path)
    with pytest.raises(VolumeError, match=r"b\.dcm: cannot be read \(an outline of 4 numbers"):
        read_rtstruct(path, scan_of(image))


def dilated(mask):
    return binary_dilation(mask, np.ones((1, 3, 3)))


def test_rt_utils_fills_the_same(tmp_path):
    """To a pixel: OpenCV rounds outlines to whole pixels and fills these, border included.

    rt-utils takes slices and pixels for squares.
    """
    rt_utils = pytest.importorskip("rt_utils", reason="rt-utils is not installed")
    from raw_layouts import write_dicom

    still = {"shape": (6, 48, 48), "spacing": (6.0, 1.5, 1.5), "degrees": (0.0, 0.0, 0.0)}
    image, labels = made_case(**still, values=(1, 2))
    for path in write_dicom(image, tmp_path / "scan"):
        file = pydicom.dcmread(path)
        file.PatientID = file.StudyID = file.PatientName = "x"
        file.SliceThickness = 6.0
        file.save_as(path)
    structures = {
        value: (name, outlines_of(labels.data == value, image.affine))
        for value, name in ((1, "one"), (2, "two"))
    }
    path = write_rtstruct(tmp_path / "rs.dcm", structures)
    file = pydicom.dcmread(path)
    uids = {z: f"1.2.3.{z + 1}" for z in range(len(image.data))}
    for each in file.ROIContourSequence:
        for contour in each.ContourSequence:
            place = np.array(contour.ContourData[:3], float) * (-1, -1, 1)
            z = round((np.linalg.inv(image.affine) @ (*place, 1))[0])
            contour.ContourImageSequence = [item(ReferencedSOPInstanceUID=uids[z])]
    study = item(RTReferencedSeriesSequence=[item(ContourImageSequence=[])])
    study.RTReferencedSeriesSequence[0].ContourImageSequence = [
        item(ReferencedSOPInstanceUID=uid) for uid in uids.values()
    ]
    frame = item(RTReferencedStudySequence=[study], FrameOfReferenceUID="1.2.3.98")
    file.ReferencedFrameOfReferenceSequence = [frame]
    file.save_as(path)
    theirs = rt_utils.RTStructBuilder.create_from(str(tmp_path / "scan"), str(path))
    ours = read_rtstruct(path, scan_of(image)).volume.data
    for value, (name, _) in structures.items():
        mask = np.moveaxis(theirs.get_roi_mask_by_name(name), -1, 0)
        mine = ours == value
        assert not (mask & ~dilated(mine)).any() and not (mine & ~dilated(mask)).any()


def test_the_series_that_a_structure_set_refers_to(tmp_path):
    image, labels = made_case()
    write_dicom(image, tmp_path / "P1/CT")
    outlines = outlines_of(labels.data == 1, image.affine)
    path = write_rtstruct(tmp_path / "P1/RS/rs.dcm", {1: ("Liver", outlines)})
    assert referred_series(path) == ""
    file = pydicom.dcmread(path)
    uid = pydicom.dcmread(next((tmp_path / "P1/CT").iterdir())).SeriesInstanceUID
    study = item(RTReferencedSeriesSequence=[item(SeriesInstanceUID=uid)])
    frame = item(FrameOfReferenceUID="1.2", RTReferencedStudySequence=[study])
    file.ReferencedFrameOfReferenceSequence = [frame]
    file.save_as(path)
    assert referred_series(path) == uid
    (case,) = find_cases(tmp_path).cases
    assert (case.name, case.label) == ("P1_CT", path)
    raw = read_pair(case)
    np.testing.assert_array_equal(raw.labels.data, labels.data == 1)
    assert raw.names == {1: "Liver"}
    assert referred_series(tmp_path / "P1") == ""
