"""The plugin's two widgets; napari makes them from the annotations."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from napari.layers import Image, Labels
from napari.types import LayerDataTuple
from napari.utils.notifications import show_error

from dpcenet.errors import DpcenetError
from napari_dpcenet.layers import review_layers, segmented_layers


def segment_rest(
    labelled_scan: Image,
    labels: Labels,
    folder: Path = Path(),
    results: Path = Path("masks"),
    fast: bool = False,
) -> Future[list[LayerDataTuple]]:
    """Segment the scans of a folder; the results become layers when all are done.

    The work is done beside napari, so that it can be used meanwhile.
    """
    source = labelled_scan.metadata.get("dpcenet", {}).get("scan") or labelled_scan.source.path

    def layers() -> list[LayerDataTuple]:
        try:
            return segmented_layers(source, labels.data, folder, results, fast)
        except (DpcenetError, OSError) as error:
            show_error(str(error))  # napari shows no error of a future
            return []

    pool = ThreadPoolExecutor(1)
    future = pool.submit(layers)
    pool.shutdown(wait=False)
    return future


def review(results: Path = Path("masks"), most: int = 10) -> list[LayerDataTuple]:
    """Show the results of `dpcenet segment`, the most doubtful ones first."""
    return review_layers(results, most)
