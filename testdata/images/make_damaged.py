#!/usr/bin/env python3
"""Makes the JPEGs in damaged/, one for each kind of damage that libjpeg-turbo mends, and what Pillow makes of them,
damaged.bin.gz.  python make_damaged.py

Needs Pillow (12.3.0 with libjpeg-turbo 3.1.4.1 made what is committed), numpy and jpegtran, which makes the files with
arithmetic coding, sound ones too.
"""
import gzip, io, os, struct, subprocess
import numpy as np
from PIL import Image, ImageOps
from make_extra import HERE, jpeg, scans, scene, segment

OUT = os.path.join(HERE, "damaged")
EOI = b"\xff\xd9"


def find(b, first, last=None):
    """Offsets of the markers from first to last, those in the data of scans too."""
    return [i for i in range(2, len(b) - 1) if b[i] == 0xFF and first <= b[i + 1] <= (last or first)]


def put(b, at, *values):
    b = bytearray(b)
    b[at:at + len(values)] = bytes(values)
    return bytes(b)


def cut(b, i, j):
    return b[:i] + b[j:]


def sequential(F):
    b = bytes(jpeg(scene(50, 39, 1), quality=80, subsampling=2))
    s, n = find(b, 0xDA)[0], len(b)
    F["bits"] = put(put(b, s + 200, b[s + 200] ^ 0x10), s + 300, b[s + 300] ^ 0x01)
    F["zeros"] = put(b, s + 150, *bytes(40))
    F["missing_bytes"] = cut(b, s + 250, s + 255)
    F["cut_and_closed"] = b[:s + 400] + EOI
    F["cut_at_once"] = b[:s + 14] + EOI
    F["cut_and_zeros"] = b[:s + 400] + bytes(3000)
    F["marker_within"] = put(b, s + 350, 0xFF, 0xE3)
    F["surplus"] = b[:-2] + b"\x12\x34\x56" * 30 + EOI
    F["second_picture"] = b + b
    F["segment_cut_after_scan"] = b[:-2] + b"\xff\xe5\xff\x00"
    F["junk_in_header"] = b[:20] + b"\x01\x02\xff\x00\xff\xd3" + b[20:]
    q = segment(b, 0xDB)
    wide = struct.pack(">64H", *b[q + 5:q + 69])
    F["quantiser_of_precision_6"] = b[:q] + b"\xff\xdb\0\x83\x60" + wide + b[q + 69:]
    F["bogus_length"] = b[:2] + b"\xff\xe9\0\0" + b[2:]
    F["spectral_zeros"] = put(b, s + 11, 0, 0, 0)
    F["tables_first"] = b[:segment(b, 0xC0)] + EOI + b"\xff\xd8" + b[segment(b, 0xC0):]
    F["gray_factors"] = put((g := bytes(jpeg(scene(40, 23, 2).convert("L")))), segment(g, 0xC0) + 11, 0x32)
    # Codes of 16 bits only: nearly none of those in the scan is in the table.
    h = segment(b, 0xC4)
    F["few_codes"] = put(b, h + 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12)
    big = bytes(jpeg(scene(40, 31, 3), quality=30, subsampling=0))
    r = np.random.default_rng(4)
    s = find(big, 0xDA)[0]
    for i in r.integers(s + 14, len(big) - 2, 30):
        if big[i] != 0xFF and big[i - 1] != 0xFF:
            big = put(big, int(i), int(r.integers(0, 255)))
    F["extreme"] = big
    c = bytes(jpeg(scene(40, 31, 5).convert("CMYK"), quality=80))
    s = find(c, 0xDA)[0]
    F["cmyk"] = put(c, s + 300, c[s + 300] ^ 0x41)


def restarts(F):
    b = bytes(jpeg(scene(90, 41, 6), quality=70, subsampling=2, restart_marker_blocks=1))
    r = find(b, 0xD0, 0xD7)
    F["restart_missing"] = cut(b, r[4], r[4] + 2)
    F["restart_segment_missing"] = cut(b, r[4], r[5])
    F["restart_segments_missing"] = cut(b, r[2], r[6])
    F["restart_two_segments_missing"] = cut(b, r[2], r[4])
    F["restart_renumbered"] = put(b, r[3] + 1, 0xD0 + (b[r[3] + 1] + 3) % 8)
    F["restart_one_ahead"] = put(b, r[3] + 1, 0xD0 + (b[r[3] + 1] + 1) % 8)
    F["restart_one_behind"] = put(b, r[3] + 1, 0xD0 + (b[r[3] + 1] - 1) % 8)
    F["restart_two_behind"] = put(b, r[3] + 1, 0xD0 + (b[r[3] + 1] - 2) % 8)
    F["restart_twice"] = b[:r[5]] + b[r[5]:r[5] + 2] + b[r[5]:]
    F["restart_no_marker"] = put(b, r[5] + 1, 0x7F)
    F["restart_other_marker"] = put(b, r[5] + 1, 0xE7)
    d = find(b, 0xDD)[0]
    F["restart_interval"] = put(b, d + 5, 2)
    F["restart_not_declared"] = put(b, d + 5, 0)
    p = bytes(jpeg(scene(90, 41, 7), quality=70, progressive=True, restart_marker_blocks=2))
    r = find(p, 0xD0, 0xD7)
    F["restart_progressive"] = put(cut(p, r[8], r[8] + 2), r[30] + 1, 0xD0 + (p[r[30] + 1] + 3) % 8)


def progressive(F):
    b = bytes(jpeg(scene(70, 58, 8), quality=75, subsampling=2, progressive=True))
    s = find(b, 0xDA)
    F["progressive_bits"] = put(put(b, s[1] + 60, b[s[1] + 60] ^ 0x20), s[-1] + 40, b[s[-1] + 40] ^ 8)
    F["progressive_dc_only"] = b[:tables(b, s[1])] + EOI
    F["progressive_three_scans"] = b[:tables(b, s[3])] + EOI
    F["progressive_scan_cut"] = b[:s[1] + 45] + EOI
    F["progressive_dc_cut"] = b[:s[0] + 60] + EOI
    F["progressive_refinement_cut"] = b[:s[-1] + 60] + EOI
    F["progressive_no_dc"] = cut(b, tables(b, s[0]), tables(b, s[1]))
    F["progressive_scan_missing"] = cut(b, tables(b, s[2]), tables(b, s[3]))
    F["progressive_refinement_missing"] = cut(b, tables(b, s[5]), tables(b, s[6]))
    g = bytes(jpeg(scene(33, 40, 9).convert("L"), quality=75, progressive=True))
    F["progressive_gray_factors"] = put(g[:tables(g, find(g, 0xDA)[1])] + EOI, segment(g, 0xC2) + 11, 0x13)
    b = scans(53, 37, False, (0x22, 0x11, 0x11), (1, 2, 3))
    s = find(b, 0xDA)
    F["component_missing"] = b[:tables(b, s[1])] + EOI
    F["component_twice"] = b[:-2] + b[s[0]:tables(b, s[1])] + EOI
    F["component_cut"] = b[:s[2] + 60] + EOI


def arithmetic(F):
    def transcode(b, *options):
        return subprocess.run(["jpegtran", "-arithmetic", *options], input=b, stdout=subprocess.PIPE, check=True).stdout
    b = bytes(jpeg(scene(50, 39, 10), quality=80, subsampling=2))
    a, p = transcode(b), transcode(b, "-progressive")
    F["arithmetic"], F["arithmetic_progressive"] = a, p
    F["arithmetic_bits"] = put(a, find(a, 0xDA)[0] + 200, a[find(a, 0xDA)[0] + 200] ^ 0x10)
    F["arithmetic_cut"] = a[:find(a, 0xDA)[0] + 200] + EOI
    F["arithmetic_progressive_bits"] = put(p, find(p, 0xDA)[3] + 20, p[find(p, 0xDA)[3] + 20] ^ 0x10)
    d = find(a, 0xDA)[0]
    F["arithmetic_conditioned"] = a[:d] + b"\xff\xcc\0\x06\0\x31\x10\x09" + a[d:]
    r = transcode(b, "-restart", "3B")
    m = find(r, 0xD0, 0xD7)
    F["arithmetic_restart_missing"] = cut(r, m[1], m[1] + 2)


def tables(b, scan):
    """Where the tables before a scan begin."""
    i = segment(b, 0xC0, 0xC1, 0xC2)
    while True:
        n = i + 2 + struct.unpack(">H", b[i + 2:i + 4])[0]
        start = n
        if b[i + 1] == 0xDA:
            while not (b[n] == 0xFF and b[n + 1] and not 0xD0 <= b[n + 1] <= 0xD7): n += 1
            start = n
        i = n
        while b[n + 1] != 0xDA: n += 2 + struct.unpack(">H", b[n + 2:n + 4])[0]
        if n == scan: return start


def main():
    os.makedirs(OUT, exist_ok=True)
    F = {}
    sequential(F)
    restarts(F)
    progressive(F)
    arithmetic(F)
    with gzip.GzipFile(os.path.join(HERE, "damaged.bin.gz"), "wb", mtime=0) as g:
        for name, data in F.items():
            open(os.path.join(OUT, name + ".jpg"), "wb").write(data)
            im = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
            g.write(f"{name}.jpg.rgb {im.width} {im.height}\n".encode() + im.tobytes())


if __name__ == "__main__":
    main()
