"""Kafka's messages in every version, from the definitions inside Apache Kafka's own jar: a codec that shares nothing with ours.

Values are dicts by Kafka's field names. A field that is left out has its default. Nothing is checked when writing, so
that wrong values can be sent: null where none is allowed, for one.
"""

import json
import re
import struct
import zipfile
from pathlib import Path

ZERO_ID = bytes(16)


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if count < 0 or self.at + count > len(self.data):
            raise ValueError(f"{count} bytes wanted at {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(form)))[0]

    def uvarint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7f) << shift
            if byte < 0x80:
                return value
            shift += 7


def uvarint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


FORMS = {"bool": "?", "int8": "b", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "float64": "d"}


def within(versions, version):
    """Whether "3+", "0-2", "4" or "none" holds a version."""
    if versions in (None, "none"):
        return False
    if versions.endswith("+"):
        return version >= int(versions[:-1])
    low, _, high = versions.partition("-")
    return int(low) <= version <= int(high or low)


def default_of(field):
    text, kind = field.get("default"), field["type"]
    if kind.startswith("[]"):
        return None if text == "null" else []
    if kind in FORMS:
        if kind == "bool":
            return str(text).lower() == "true"
        return 0 if text in (None, "") else int(str(text), 0)
    if text == "null":
        return None
    return {"string": text or "", "uuid": ZERO_ID, "bytes": b"", "records": None}.get(kind, {})


class Struct:
    """The fields of a message or of a structure in it."""

    def __init__(self, fields, structs):
        self.fields, self.structs = fields, structs

    def write(self, value, version, flexible):
        out, tagged = bytearray(), []
        for field in self.fields:
            if not within(field["versions"], version):
                continue
            item = value.get(field["name"], default_of(field))
            if flexible and within(field.get("taggedVersions"), version):
                if field["name"] in value:
                    tagged.append((field["tag"], self.encode(field["type"], item, version, flexible, False)))
            else:
                wide = flexible and within(field.get("flexibleVersions", "0+"), version)
                nullable = within(field.get("nullableVersions"), version)
                out += self.encode(field["type"], item, version, wide, nullable)
        if flexible:
            tagged += value.get("_tags", [])
            out += uvarint(len(tagged))
            for tag, content in sorted(tagged):
                out += uvarint(tag) + uvarint(len(content)) + content
        return bytes(out)

    def encode(self, kind, value, version, flexible, nullable):
        if kind in FORMS:
            return struct.pack(">" + FORMS[kind], value)
        if kind == "uuid":
            return value
        if kind in ("string", "bytes", "records"):
            data = value.encode() if isinstance(value, str) else value
            size = -1 if data is None else len(data)
            head = uvarint(size + 1) if flexible else struct.pack(">h" if kind == "string" else ">i", size)
            return head + (data or b"")
        if kind.startswith("[]"):
            size = -1 if value is None else len(value)
            head = uvarint(size + 1) if flexible else struct.pack(">i", size)
            return head + b"".join(self.encode(kind[2:], item, version, flexible, False) for item in value or [])
        # A structure that stands alone and may be null has a byte before it.
        if value is None:
            return b"\xff"
        return (b"\x01" if nullable else b"") + self.structs[kind].write(value, version, flexible)

    def read(self, cursor, version, flexible):
        value = {}
        for field in self.fields:
            if not within(field["versions"], version):
                continue
            if flexible and within(field.get("taggedVersions"), version):
                value[field["name"]] = default_of(field)
            else:
                wide = flexible and within(field.get("flexibleVersions", "0+"), version)
                nullable = within(field.get("nullableVersions"), version)
                value[field["name"]] = self.decode(field["type"], cursor, version, wide, nullable)
        if flexible:
            by_tag = {field["tag"]: field for field in self.fields if within(field.get("taggedVersions"), version)}
            for _ in range(cursor.uvarint()):
                tag, inner = cursor.uvarint(), Cursor(cursor.take(cursor.uvarint()))
                if tag in by_tag:
                    field = by_tag[tag]
                    value[field["name"]] = self.decode(field["type"], inner, version, True, False)
                else:
                    value[f"tag {tag}"] = inner.data
        return value

    def decode(self, kind, cursor, version, flexible, nullable):
        if kind in FORMS:
            return cursor.number(FORMS[kind])
        if kind == "uuid":
            return cursor.take(16)
        if kind in ("string", "bytes", "records"):
            size = cursor.uvarint() - 1 if flexible else cursor.number("h" if kind == "string" else "i")
            if size < 0:
                return None
            return cursor.take(size).decode() if kind == "string" else cursor.take(size)
        if kind.startswith("[]"):
            size = cursor.uvarint() - 1 if flexible else cursor.number("i")
            return None if size < 0 else [self.decode(kind[2:], cursor, version, flexible, False) for _ in range(size)]
        if nullable and cursor.number("b") < 0:
            return None
        return self.structs[kind].read(cursor, version, flexible)


class Message:
    def __init__(self, text):
        spec = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))
        self.key, self.name = spec["apiKey"], spec["name"]
        self.valid, self.flexible = spec["validVersions"], spec["flexibleVersions"]
        low, _, high = self.valid.partition("-")
        self.min, self.max = int(low), int(high or low)
        structs = {}
        self.body = Struct(spec["fields"], structs)
        for common in spec.get("commonStructs", []):
            structs[common["name"]] = Struct(common["fields"], structs)
            collect(common["fields"], structs)
        collect(spec["fields"], structs)

    def is_flexible(self, version):
        return within(self.flexible, version)


def collect(fields, structs):
    for field in fields:
        if "fields" in field:
            structs[field["type"].removeprefix("[]")] = Struct(field["fields"], structs)
            collect(field["fields"], structs)


class Protocol:
    """All messages of a kafka-clients jar, by name: "FetchRequest"."""

    def __init__(self, folder):
        jar = next(Path(folder).glob("kafka-clients-*.jar"))
        self.messages = {}
        with zipfile.ZipFile(jar) as archive:
            for name in archive.namelist():
                found = re.fullmatch(r"common/message/(\w+(?:Request|Response))\.json", name)
                if found:
                    try:
                        self.messages[found[1]] = Message(archive.read(name).decode())
                    except KeyError:
                        continue

    def request(self, api, version, body, correlation=1, client="conform"):
        """A whole frame, its size included."""
        message = self.messages[api + "Request"]
        flexible = message.is_flexible(version)
        name = client if client is None else client.encode()
        header = struct.pack(">hhi", message.key, version, correlation)
        header += struct.pack(">h", -1) if name is None else struct.pack(">h", len(name)) + name
        frame = header + (b"\0" if flexible else b"") + message.body.write(body, version, flexible)
        return struct.pack(">i", len(frame)) + frame

    def response(self, api, version, frame):
        """A frame without its size: the correlation id and the decoded body. Bytes left over are an error."""
        message, cursor = self.messages[api + "Response"], Cursor(frame)
        flexible, correlation = message.is_flexible(version), cursor.number("i")
        if flexible and api != "ApiVersions":
            assert cursor.uvarint() == 0, "tags in a header"
        body = message.body.read(cursor, version, flexible)
        if cursor.at != len(frame):
            raise ValueError(f"{len(frame) - cursor.at} bytes follow the answer")
        return correlation, body
