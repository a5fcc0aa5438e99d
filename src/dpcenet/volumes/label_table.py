"""Names of labels in a NIfTI header: the extension that TotalSegmentator and Workbench write.

An XML label table, <CaretExtension><VolumeInformation><LabelTable><Label Key="1">liver</Label>.
"""

from __future__ import annotations

from xml.etree import ElementTree

from dpcenet.volumes.scan_file import NO_LABELS, Code, Labels

_CODE = 0  # as TotalSegmentator; nibabel does not open Workbench's own 30
MOST_BYTES = 1 << 20
_BLOCK = 16


def extension_of(labels: Labels) -> bytes:
    """The bytes of an extension between header and voxels: a multiple of 16, size and code first.

    Empty where no label has a name.
    """
    if not labels.names:
        return b""
    root = ElementTree.Element("CaretExtension")
    volume = ElementTree.SubElement(root, "VolumeInformation", Index="0")
    table = ElementTree.SubElement(volume, "LabelTable")
    for value, name in labels.names.items():
        label = ElementTree.SubElement(table, "Label", Key=str(value))
        label.text = _printable(name)
        if code := labels.codes.get(value):
            label.attrib |= {"Scheme": code.scheme, "Code": code.value, "Meaning": code.meaning}
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    size = -(-(len(text) + 8) // _BLOCK) * _BLOCK
    return size.to_bytes(4, "little") + _CODE.to_bytes(4, "little") + text.ljust(size - 8, b"\0")


def labels_in(extensions: bytes, order: str = "little") -> Labels:
    """The labels that one of a header's extensions names; none where no extension can be read.

    Args:
        extensions: the bytes between header and voxels.
        order: of the header's bytes, "little" or "big".
    """
    at = 0
    while at + 8 <= len(extensions):
        size = int.from_bytes(extensions[at : at + 4], "big" if order == "big" else "little")
        if size < 8 or at + size > len(extensions):
            break
        found = _parsed(extensions[at + 8 : at + size])
        if found.names:
            return found
        at += size
    return NO_LABELS


def _parsed(content: bytes) -> Labels:
    if b"CaretExtension" not in content or b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        return NO_LABELS
    try:
        root = ElementTree.fromstring(content.strip(b"\0"))
    except (ElementTree.ParseError, ValueError, LookupError):
        return NO_LABELS
    names: dict[int, str] = {}
    codes: dict[int, Code] = {}
    for label in root.iter("Label"):
        key, name = label.get("Key", ""), (label.text or "").strip()
        if not (key.isdecimal() and 0 < int(key) < 1 << 16 and name):
            continue
        names[int(key)] = name
        parts = [label.get(part, "") for part in ("Scheme", "Code", "Meaning")]
        if all(parts):
            codes[int(key)] = Code(*parts)
    return Labels(names, codes)


def _printable(name: str) -> str:
    """The name without characters that XML cannot hold."""
    return "".join(c if c.isprintable() else " " for c in name).strip() or "label"
