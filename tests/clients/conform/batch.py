"""Record batches, right and wrong: every field of the header and every byte of the records can be set."""

import gzip
import struct
import time

import lz4.frame
import snappy
import zstandard

TABLE = []
for number in range(256):
    for _ in range(8):
        number = number >> 1 ^ (0x82f63b78 if number & 1 else 0)
    TABLE.append(number)

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


def varint(value):
    value = value << 1 ^ value >> 63
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def piece(data):
    return varint(-1) if data is None else varint(len(data)) + data


def record(value=b"value", key=b"key", delta=0, time_delta=0, headers=(), attributes=0, length=None):
    body = struct.pack("b", attributes) + varint(time_delta) + varint(delta) + piece(key) + piece(value)
    body += varint(len(headers)) + b"".join(piece(name) + piece(content) for name, content in headers)
    return varint(len(body) if length is None else length) + body


def compress(codec, data):
    if codec == "gzip":
        return gzip.compress(data, mtime=0)
    if codec == "snappy":
        return snappy.compress(data)
    if codec == "lz4":
        return lz4.frame.compress(data, block_linked=False)
    return zstandard.compress(data) if codec == "zstd" else data


def batch(records=1, *, values=None, key=b"key", codec="none", attributes=0, producer=-1, epoch=-1, sequence=-1,
          timestamp=None, max_timestamp=None, magic=2, base=0, leader_epoch=-1, last_delta=None, count=None,
          length=None, crc=None, payload=None, raw=None):
    """`payload` stands for the records before, `raw` for those after compression."""
    timestamp = int(time.time() * 1000) if timestamp is None else timestamp
    values = [b"value %d" % number for number in range(records)] if values is None else values
    if payload is None:
        payload = b"".join(record(value, key, number) for number, value in enumerate(values))
    content = compress(codec, payload) if raw is None else raw
    count = len(values) if count is None else count
    last_delta = count - 1 if last_delta is None else last_delta
    covered = struct.pack(">hiqqqhii", attributes | CODECS[codec], last_delta, timestamp,
                          timestamp if max_timestamp is None else max_timestamp, producer, epoch, sequence, count)
    covered += content
    checksum = crc32c(covered) if crc is None else crc
    length = len(covered) + 9 if length is None else length
    return struct.pack(">qiibI", base, length, leader_epoch, magic, checksum) + covered


def message(magic=1, value=b"value", key=b"key", timestamp=1_600_000_000_000):
    """A message set of one message, as formats 0 and 1 have it."""
    import zlib

    def sized(data):
        return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data

    body = struct.pack(">bb", magic, 0) + (struct.pack(">q", timestamp) if magic else b"") + sized(key) + sized(value)
    return struct.pack(">qiI", 0, len(body) + 4, zlib.crc32(body)) + body


def split(data):
    """The batches of an answer as dicts; a part of one at the end is kept as such."""
    found = []
    while len(data) >= 61:
        base, length, epoch, magic, crc = struct.unpack(">qiibI", data[:21])
        if len(data) < 12 + length:
            break
        fields = struct.unpack(">hiqqqhii", data[21:61])
        names = ("attributes", "last_delta", "timestamp", "max_timestamp", "producer", "epoch", "sequence", "count")
        one = dict(zip(names, fields), base=base, leader_epoch=epoch, magic=magic, content=data[61:12 + length])
        one["crc_is_right"] = crc == crc32c(data[21:12 + length])
        found.append(one)
        data = data[12 + length:]
    if data:
        found.append({"rest": len(data)})
    return found
