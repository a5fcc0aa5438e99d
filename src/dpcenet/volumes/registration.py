"""Registration of two scans in 3-D, the way to carry labels over that needs no network.

Rigid, then affine, then B-spline, each by mutual information from coarse to fine. It is what a
person would otherwise do with one labelled scan, so the tables have it as the row `register`.

Source: Mattes et al., 2003 (mutual information of sampled voxels); the three steps are elastix's
usual ones (Klein et al., 2010). The work is done by SimpleITK.
"""

# SimpleITK has no annotations:
# mypy: disable-error-code="no-untyped-call,no-any-return,attr-defined"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

Scan = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RegistrationOptions:
    """How two scans are registered.

    Attributes:
        pixel_mm: pixels are averaged until they are about as large; slices stay as they are.
        grid_mm: distance of the control points of the B-spline.
        samples: share of the voxels that the mutual information is computed from.
        rigid_iterations, affine_iterations, spline_iterations: most iterations at each resolution.
        seed: of the choice of the voxels.
        threads: of SimpleITK.
    """

    pixel_mm: float = 2.5
    grid_mm: float = 60.0
    samples: float = 0.2
    rigid_iterations: int = 200
    affine_iterations: int = 200
    spline_iterations: int = 60
    seed: int = 1
    threads: int = 1


def carry_labels(
    labels: npt.NDArray[np.integer],
    moving: Scan,
    fixed: Scan,
    spacings: tuple[Sequence[float], Sequence[float]],
    options: RegistrationOptions | None = None,
) -> npt.NDArray[np.int16]:
    """The labels of one scan, carried onto another by registering the scans.

    Args:
        labels: (Z, H, W), label values of `moving`; 0 is no label.
        moving: (Z, H, W), the labelled scan.
        fixed: (Z', H', W'), the scan without labels.
        spacings: mm (z, y, x) of `moving` and of `fixed`.
        options: how; the same options, scans and threads give the same labels.

    Returns:
        (Z', H', W') int16, the labels on the grid of `fixed`. Each label is resampled by linear
        interpolation, and a voxel takes the label that has most of it, where that is over half.
    """
    options = options or RegistrationOptions()
    source, target = _image(moving, spacings[0]), _image(fixed, spacings[1])
    transform = register(
        _coarser(source, options.pixel_mm), _coarser(target, options.pixel_mm), options
    )
    found = np.zeros(fixed.shape, dtype=np.int16)
    most = np.full(fixed.shape, 0.5, dtype=np.float32)
    for value in np.unique(labels[labels != 0]):
        mask = _image((labels == value).astype(np.float32), spacings[0])
        share = sitk.GetArrayFromImage(sitk.Resample(mask, target, transform, sitk.sitkLinear, 0.0))
        found[share > most] = value
        most = np.maximum(most, share)
    return found


def register(moving: sitk.Image, fixed: sitk.Image, options: RegistrationOptions) -> sitk.Transform:
    """The transform of points of `fixed` to points of `moving`."""
    geometry = sitk.CenteredTransformInitializerFilter.GEOMETRY
    rigid = sitk.Euler3DTransform(
        sitk.CenteredTransformInitializer(fixed, moving, sitk.Euler3DTransform(), geometry)
    )
    _fit(rigid, moving, fixed, options.rigid_iterations, options)
    affine = sitk.AffineTransform(3)
    affine.SetCenter(rigid.GetCenter())
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    _fit(affine, moving, fixed, options.affine_iterations, options)
    return sitk.CompositeTransform([affine, _spline(moving, fixed, affine, options)])


def _fit(
    transform: sitk.Transform,
    moving: sitk.Image,
    fixed: sitk.Image,
    iterations: int,
    options: RegistrationOptions,
) -> None:
    """Improve a rigid or affine transform."""
    method = _method(options)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=1e-3, numberOfIterations=iterations
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(fixed, moving)


def _spline(
    moving: sitk.Image, fixed: sitk.Image, before: sitk.Transform, options: RegistrationOptions
) -> sitk.Transform:
    """A B-spline that follows the affine transform."""
    extent = [n * mm for n, mm in zip(fixed.GetSize(), fixed.GetSpacing(), strict=True)]
    mesh = [max(1, round(mm / options.grid_mm)) for mm in extent]
    start = sitk.BSplineTransformInitializer(fixed, mesh)
    method = _method(options)
    method.SetMovingInitialTransform(before)
    method.SetInitialTransform(start, inPlace=True)
    method.SetOptimizerAsLBFGSB(numberOfIterations=options.spline_iterations)
    method.Execute(fixed, moving)
    return start


def _method(options: RegistrationOptions) -> sitk.ImageRegistrationMethod:
    """Mutual information of sampled voxels, of images that are less and less blurred (mm)."""
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(options.threads)
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(options.samples, options.seed)
    method.SetInterpolator(sitk.sitkLinear)
    # Slices lie far apart, so images are blurred from level to level, and not thinned out.
    method.SetShrinkFactorsPerLevel([1, 1, 1])
    method.SetSmoothingSigmasPerLevel([8.0, 4.0, 0.0])
    return method


def _coarser(image: sitk.Image, pixel_mm: float) -> sitk.Image:
    """The image with pixels averaged in the plane of its slices."""
    factors = [max(1, round(pixel_mm / mm)) for mm in image.GetSpacing()[:2]]
    return sitk.BinShrink(image, [*factors, 1])


def _image(volume: npt.NDArray[np.float32], spacing: Sequence[float]) -> sitk.Image:
    """A volume (Z, H, W) with its spacing in mm (z, y, x)."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume, dtype=np.float32))
    image.SetSpacing([float(mm) for mm in reversed(spacing)])
    return image
