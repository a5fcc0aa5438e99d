"""A client of `dpcenet app`: upload the labels of one scan, segment the rest, read the review.

    dpcenet app scans --no-browser
    python integrations/rest/client.py ADDRESS image_01 label_01.nii.gz --name 1=liver

ADDRESS is what `dpcenet app` printed, with its token. Only Python's own library is used, so that
the file can be copied into any program. The page at /api of the server documents every call. For
research only; not a medical device.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit


class Client:
    """Calls of a running server.

    Args:
        address: with the token, as `dpcenet app` printed it.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        token = parse_qs(parts.query).get("token", [""])[0]
        if not token:
            raise ValueError(f"{address}: has no token; give the whole address in quotes")
        self.base = f"{parts.scheme}://{parts.netloc}"
        self.headers = {
            "Authorization": f"Bearer {token}",
            "X-Tab": "client",  # one tab, or one program, may change things at a time
        }

    def call(self, method: str, path: str, body: bytes | None = None) -> Any:
        """The JSON answer of a call; an error's text says what was wrong."""
        headers = {**self.headers, "Content-Type": "application/json"}
        request = urllib.request.Request(self.base + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.read().decode()}") from error

    def scans(self) -> dict[str, dict[str, Any]]:
        """Name → what is known of each scan of the folder."""
        return {scan["name"]: scan for scan in self.call("GET", "/api/scans")["scans"]}

    def name_labels(self, names: dict[int, str]) -> None:
        """Give names to label values; the other names stay."""
        known = self.call("GET", "/api/labels")
        labels = {each["value"]: each for each in known["labels"]}
        for value, name in names.items():
            colour = known["colours"][(value - 1) % len(known["colours"])]
            labels[value] = {
                "colour": colour,
                **labels.get(value, {}),
                "value": value,
                "name": name,
            }
        wanted = [
            {key: each[key] for key in ("value", "name", "colour")} for each in labels.values()
        ]
        self.call("PUT", "/api/labels", json.dumps(wanted).encode())

    def upload(self, scan: dict[str, Any], mask: Path) -> None:
        """Make a file's labels the mask of a scan: NIfTI, NRRD, MetaImage or DICOM SEG."""
        path = f"/api/scans/{scan['id']}/mask?name={quote(mask.name)}"
        self.call("PUT", path, mask.read_bytes())

    def segment(self) -> dict[str, Any]:
        """Segment every other scan of the folder; the job when it has ended."""
        job = self.call("POST", "/api/jobs", json.dumps({"kind": "segment"}).encode())
        while job["state"] in ("running", "paused"):
            time.sleep(0.5)
            job = self.call("GET", f"/api/jobs/{job['id']}")
        if job["state"] != "done":
            raise RuntimeError(job["log"])
        return job

    def review(self) -> list[dict[str, Any]]:
        """Results, the most doubtful one first."""
        return self.call("GET", "/api/review")["rows"]


def main() -> None:
    """Upload, segment, and print the review; what went wrong is one line."""
    parser = argparse.ArgumentParser(description="Segment a folder through a running dpcenet app.")
    parser.add_argument("address", help="as dpcenet app printed it, with the token")
    parser.add_argument("scan", help="name of the labelled scan")
    parser.add_argument("mask", type=Path, help="file of its labels")
    parser.add_argument("--name", action="append", default=[], help="VALUE=NAME of a label; repeat")
    try:
        run(parser.parse_args())
    except (RuntimeError, ValueError, OSError) as error:
        sys.exit(str(error))


def run(given: argparse.Namespace) -> None:
    """Do what the arguments say."""
    client = Client(given.address)
    scans = client.scans()
    if given.scan not in scans:
        sys.exit(f"{given.scan}: no such scan; there are {', '.join(scans)}")
    client.upload(scans[given.scan], given.mask)
    client.name_labels({int(v): name for v, _, name in (n.partition("=") for n in given.name)})
    client.segment()
    for row in client.review():
        for label in row["labels"]:
            low, high = label["low"], label["high"]
            expected = f"{label['dice']:.2f} ({low:.2f} to {high:.2f})"
            sys.stdout.write(f"{row['name']} {label['label']} {expected} {label['flag']}\n")


if __name__ == "__main__":
    main()
