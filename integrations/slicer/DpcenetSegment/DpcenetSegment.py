"""dpcenet in 3D Slicer: the labels of one scan are carried over to a folder of scans.

The module calls the program `dpcenet` of another Python environment, as torch and Slicer's own
packages need not fit together. For research only; not a medical device.
"""

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

LABELS = "labelled.seg.nrrd"  # the segmentation as Slicer saves it, in the folder of the results


class DpcenetSegment(ScriptedLoadableModule):
    """What Slicer shows of the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "dpcenet: segment the rest"
        self.parent.categories = ["Segmentation"]
        self.parent.dependencies = []
        self.parent.contributors = ["The dpcenet developers"]
        self.parent.helpText = (
            "Label one scan, choose a folder of others, and let dpcenet segment them. "
            "For research only; not a medical device."
        )
        self.parent.acknowledgementText = ""


class DpcenetSegmentWidget(ScriptedLoadableModuleWidget):
    """The panel; everything that it does is in the logic."""

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/DpcenetSegment.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = DpcenetSegmentLogic()
        self.ui.programEdit.currentPath = "dpcenet"
        self.ui.segmentButton.connect("clicked(bool)", self.on_segment)
        self.ui.loadButton.connect("clicked(bool)", self.on_load)

    def on_segment(self):
        with slicer.util.tryWithErrorDisplay("dpcenet could not segment.", waitCursor=True):
            results = Path(self.ui.resultsButton.directory)
            image, labels = self.logic.save_labelled(
                self.ui.volumeSelector.currentNode(),
                self.ui.segmentationSelector.currentNode(),
                results,
            )
            command = self.logic.command(
                self.ui.programEdit.currentPath,
                Path(self.ui.folderButton.directory),
                image,
                labels,
                results,
                self.ui.fastBox.checked,
            )
            self.logic.run(command, self.on_progress)
            self.on_load()

    def on_load(self):
        with slicer.util.tryWithErrorDisplay("The results cannot be loaded.", waitCursor=True):
            self.logic.load(Path(self.ui.resultsButton.directory))

    def on_progress(self, event):
        if event["event"] == "progress":
            self.ui.progressBar.maximum = event["total"]
            self.ui.progressBar.value = event["done"]
        self.ui.messageLabel.text = event.get("text") or event.get("note", "")
        slicer.app.processEvents()  # so that the panel is drawn while the program works


class DpcenetSegmentLogic(ScriptedLoadableModuleLogic):
    """Saving, running and loading, without the panel."""

    def save_labelled(self, volume, segmentation, results: Path) -> tuple[Path, Path]:
        """The file of the labelled scan, and its segmentation saved beside the results."""
        if volume is None or segmentation is None:
            raise ValueError("choose the labelled scan and its segmentation")
        stored = volume.GetStorageNode()
        image = Path(stored.GetFullNameFromFileName()) if stored else None
        if image is None or not image.exists():
            raise ValueError("the labelled scan has no file; save it first")
        results.mkdir(parents=True, exist_ok=True)
        labels = results / LABELS
        if not slicer.util.saveNode(segmentation, str(labels)):
            raise ValueError(f"{labels}: cannot be written")
        return image, labels

    def command(
        self, program: str, folder: Path, image: Path, labels: Path, results: Path, fast: bool
    ) -> list[str]:
        """The command line."""
        given = ["--support-image", str(image), "--support-mask", str(labels)]
        # In this format Slicer finds the names and colours of the labels again.
        flags = ["--format", "seg.nrrd", "--progress", "json", *(["--fast"] if fast else [])]
        return [program, "segment", "-i", str(folder), "-o", str(results), *given, *flags]

    def run(self, command: list[str], on_progress: Callable[[dict], None]) -> None:
        """Run the program, and pass its progress on.

        Raises:
            RuntimeError: it failed; the message is what it said last.
        """
        said = []
        try:
            process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env=slicer.util.startupEnvironment(),  # not Slicer's own Python
            )
        except OSError as error:
            raise RuntimeError(
                f"{command[0]}: cannot be started ({error.strerror}); choose the program "
                "`dpcenet` of the environment where it is installed"
            ) from error
        with process.stderr as lines:
            for line in lines:
                if line.startswith("{"):
                    on_progress(json.loads(line))
                else:
                    said.append(line)
        if process.wait():
            text = "".join(said).strip() or f"dpcenet ended with {process.returncode}"
            raise RuntimeError(f'{text}\n"Load the results" shows what was segmented all the same')

    def results(self, folder: Path) -> list[tuple[str, Path, Path]]:
        """(what the review says, scan, mask) of each result, the most doubtful one first."""
        cases = json.loads((folder / "segment.json").read_text("utf-8"))["cases"]
        worst = {}
        review = folder / "review.csv"
        lines = review.read_text("utf-8").splitlines() if review.is_file() else []
        for row in csv.DictReader(lines):
            dice = float(row["predicted dice"])
            case = row["case"].removeprefix("'")  # which keeps spreadsheets from seeing a formula
            if dice < worst.get(case, (2.0, ""))[0]:
                worst[case] = (dice, row["flag"])
        found = []
        for case in cases:
            if case["mask"] is not None and "scan" in case:
                dice, flag = worst.get(case["query"], (2.0, "not reviewed"))
                said = f"{flag} {dice:.2f}" if dice <= 1 else flag
                found.append((dice, said, Path(case["scan"]), folder / case["mask"]))
        return [(said, scan, mask) for _, said, scan, mask in sorted(found)]

    def load(self, folder: Path) -> int:
        """Load scans and masks into the scene; how many. Only the first pair is shown."""
        results = self.results(folder)
        for number, (said, scan, mask) in enumerate(results):
            volume = slicer.util.loadVolume(str(scan), {"show": number == 0})
            segmentation = slicer.util.loadSegmentation(str(mask))
            segmentation.SetName(f"{said} {scan.name}")
            segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
            segmentation.GetDisplayNode().SetVisibility(number == 0)
        return len(results)


class DpcenetSegmentTest(ScriptedLoadableModuleTest):
    """What Slicer's own test runs: the command line is as the program wants it."""

    def runTest(self):
        self.setUp()
        self.test_command()

    def test_command(self):
        places = [Path(name) for name in ("scans", "a.nii.gz", "a.seg.nrrd", "out")]
        command = DpcenetSegmentLogic().command("dpcenet", *places, fast=True)
        self.assertEqual(command[:2], ["dpcenet", "segment"])
        self.assertIn("--fast", command)
