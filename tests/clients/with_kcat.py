"""kcat, as people use it in a shell."""

import time

from checks import check, command, expect, expect_in


def kcat(suite, *arguments, **options):
    return command("kcat", "-b", suite.bootstrap, *arguments, **options)


@check("kcat", "produce to a new topic and read it back, none", codec="none")
@check("kcat", "produce to a new topic and read it back, gzip", codec="gzip")
@check("kcat", "produce to a new topic and read it back, snappy", codec="snappy")
@check("kcat", "produce to a new topic and read it back, lz4", codec="lz4")
@check("kcat", "produce to a new topic and read it back, zstd", codec="zstd")
def round_trip(suite, codec):
    topic = suite.topic(f"kcat-{codec}")
    lines = "".join(f"key {number}\tvalue {number}\n" for number in range(2000))
    kcat(suite, "-P", "-t", topic, "-K", "\t", "-z", codec, "-X", "acks=all", "-X", "enable.idempotence=true", input=lines)
    got = kcat(suite, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-K", "\t", "-X", "check.crcs=true")
    expect(got, lines, "what was read")


@check("kcat", "the list of brokers and topics")
def listing(suite):
    topic = suite.topic("kcat-listed")
    kcat(suite, "-P", "-t", topic, input="x\n")
    listed = kcat(suite, "-L")
    expect_in(f"at {suite.bootstrap}", listed)
    expect_in(f'topic "{topic}" with 1 partitions', listed)


@check("kcat", "the last records, offsets and offsets by time")
def offsets(suite):
    topic = suite.topic("kcat-offsets")
    before = int(time.time() * 1000) - 1
    kcat(suite, "-P", "-t", topic, input="".join(f"{number}\n" for number in range(100)))
    tail = kcat(suite, "-C", "-t", topic, "-p", "0", "-o", "-10", "-e", "-q", "-f", "%o %s\n")
    expect(tail, "".join(f"{number} {number}\n" for number in range(90, 100)), "the last ten records")
    expect_in("offset 0", kcat(suite, "-Q", "-t", f"{topic}:0:{before}"))
    expect_in("offset 100", kcat(suite, "-Q", "-t", f"{topic}:0:-1"))
