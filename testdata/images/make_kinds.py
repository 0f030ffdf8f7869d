#!/usr/bin/env python3
"""Makes the pictures in kinds/ and their decoded samples, kinds.bin.gz.  python make_kinds.py

Needs Pillow (12.3.0 made what is committed) and numpy. BMP, TIFF and PNM of many
kinds, and files that are damaged or odd in ways that Pillow mends.
"""
import binascii, gzip, io, os, struct, zlib
import numpy as np
from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "kinds")
W, H = 13, 9
F = {}


def scene(seed, w=W, h=H):
    y, x = np.mgrid[0:h, 0:w].astype(float)
    a = np.stack([128 + 110 * np.sin(x / 3 + seed), 128 + 110 * np.cos(y / 2), 128 + 110 * np.sin((x + y) / 4)], -1)
    return Image.fromarray(np.clip(a, 0, 255).astype(np.uint8))


def save(im, f, **k):
    b = io.BytesIO(); im.save(b, f, **k); return b.getvalue()


# --- BMP
def bmp(depth, rows, compression=0, palette=b"", header=40, masks=b"", top_down=False, size=None, w=W, h=H):
    n = 12 if header == 12 else header
    if header == 12: head = struct.pack("<IHHHH", 12, w, h, 1, depth)
    else:
        head = struct.pack("<IiiHHIIiiII", header, w, -h if top_down else h, 1, depth, compression, len(rows), 2835, 2835, len(palette) // 4, 0)
        if header > 40: head, masks = head + masks.ljust(header - 40, b"\0"), b""
    offset = 14 + n + len(masks) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + head + masks + palette + rows


def lines(a, depth):
    """Packed rows, the last first, each of a multiple of 4 bytes."""
    out = b""
    for r in a[::-1]:
        if depth < 8:
            bits = "".join(format(int(v), f"0{depth}b") for v in r)
            b = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
        else: b = r.astype({8: "u1", 16: "<u2", 32: "<u4"}[depth]).tobytes()
        out += b + b"\0" * (-len(b) % 4)
    return out


def bitmaps():
    im = scene(1); a = np.asarray(im).astype(np.uint32)
    r = np.random.default_rng(5)
    for depth in (1, 4, 8):
        pal = r.integers(0, 256, (1 << depth, 4), dtype=np.uint8).tobytes()
        F[f"palette{depth}.bmp"] = bmp(depth, lines(a[..., 0] >> (8 - depth), depth), palette=pal)
    F["os2.bmp"] = bmp(4, lines(a[..., 0] >> 4, 4), palette=r.integers(0, 256, 48, dtype=np.uint8).tobytes(), header=12)
    F["short_palette.bmp"] = bmp(8, lines(a[..., 0] >> 5, 8), palette=pal[:20])
    F["rgb24.bmp"] = save(im, "BMP")
    F["rgb555.bmp"] = bmp(16, lines((a[..., 0] >> 3) << 10 | (a[..., 1] >> 3) << 5 | a[..., 2] >> 3, 16))
    m = lambda *v: struct.pack(f"<{len(v)}I", *v)
    F["rgb565.bmp"] = bmp(16, lines((a[..., 0] >> 3) << 11 | (a[..., 1] >> 2) << 5 | a[..., 2] >> 3, 16), 3, masks=m(0xF800, 0x7E0, 0x1F))
    F["argb1555.bmp"] = bmp(16, lines((a[..., 0] >> 3) << 10 | (a[..., 1] >> 3) << 5 | a[..., 2] >> 3 | (a[..., 0] & 1) << 15, 16), 3, header=56, masks=m(0x7C00, 0x3E0, 0x1F, 0x8000))
    v = a[..., 0] << 16 | a[..., 1] << 8 | a[..., 2] | (255 - a[..., 1]) << 24
    F["rgbx32.bmp"] = bmp(32, lines(v, 32))
    F["rgba32.bmp"] = bmp(32, lines(v, 32), 3, header=124, masks=m(0xFF0000, 0xFF00, 0xFF, 0xFF000000))
    F["masks32.bmp"] = bmp(32, lines(v << 8 | v >> 24, 32), 3, masks=m(0xFF000000, 0xFF0000, 0xFF00))
    F["top_down.bmp"] = bmp(8, lines(a[::-1, :, 0] >> 2, 8), palette=r.integers(0, 256, 256, dtype=np.uint8).tobytes(), top_down=True)
    pal = r.integers(0, 256, 64, dtype=np.uint8).tobytes()
    run8 = b"\x05\1\x08\2\0\0" + b"\0\3\1\2\3\0" + b"\3\7\0\0" + b"\0\2\2\1" + b"\4\x09\0\0" * 4 + b"\x0d\3\0\0\x0d\5\0\1"
    F["rle8.bmp"] = bmp(8, run8, 1, palette=pal)
    F["rle4.bmp"] = bmp(4, b"\x05\x12\x08\x34\0\0" + b"\0\4\x12\x34" + b"\3\x70\0\0" + b"\x0d\x56\0\0" * 7, 2, palette=pal)


# --- PNM
def anymaps():
    im = scene(2)
    F["binary.ppm"], F["binary.pgm"], F["binary.pbm"] = save(im, "PPM"), save(im.convert("L"), "PPM"), save(im.convert("1"), "PPM")
    r = np.random.default_rng(6)
    n = lambda top, k: b" ".join(b"%d" % v for v in r.integers(0, top + 1, k))
    F["plain.ppm"] = b"P3 # a comment\n5 3\n99\n" + n(99, 30) + b" # one more\n " + n(99, 15) + b"\n"
    F["plain.pgm"] = b"P2\t5\r3 255 " + n(255, 15)
    F["plain.pbm"] = b"P1\n5 3\n10101\n0 1 0 1 0 # x\n11011"
    F["max17.ppm"] = b"P6 5 3 17\n" + r.integers(0, 18, 45, dtype=np.uint8).tobytes()
    F["max1000.ppm"] = b"P6 5 3 1000\n" + r.integers(0, 1001, 45).astype(">u2").tobytes()
    F["max99.pgm"] = b"P5 5 3 99\n" + r.integers(0, 100, 15, dtype=np.uint8).tobytes()


# --- TIFF
def tiff(w, h, data, tags, order="<", offsets=None):
    """A TIFF with one strip, or with tiles where tags has their size."""
    at = 8
    strips = data if isinstance(data, list) else [data]
    body, where = b"", []
    for s in strips: where.append(at + len(body)); body += s
    tags = {256: (4, [w]), 257: (4, [h]), **tags}
    tiles = 322 in tags
    tags[324 if tiles else 273], tags[325 if tiles else 279] = (4, where), (4, [len(s) for s in strips])
    entries, extra, base = b"", b"", at + len(body)
    tail = base + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        kind, v = tags[tag]
        b = struct.pack(order + {1: "B", 3: "H", 4: "I", 5: "II"}[kind] * len(v), *(np.ravel(v).tolist() if kind == 5 else v))
        if len(b) > 4: value, extra = struct.pack(order + "I", tail + len(extra)), extra + b
        else: value = b.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, kind, len(v)) + value
    return {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", base) + body + struct.pack(order + "H", len(tags)) + entries + bytes(4) + extra


def fax():
    """Runs of every length that has a code, in black and in white; and what lines above and below have in common."""
    w = 2700; rows = []; row = []
    for n in list(range(64)) + list(range(64, 2561, 64)):
        if len(row) + n + 1 > w: rows.append((row + [0] * w)[:w]); row = []
        row += [1] * n + [0]
    rows.append((row + [0] * w)[:w])
    a = np.array(rows); a = np.concatenate([a, 1 - a])
    x = np.arange(w); wave = np.stack([(x + 3 * np.sin(y) + 9 * (y % 5 == 0)) % 97 < 40 + y for y in range(12)])
    return Image.fromarray(~np.concatenate([a > 0, wave]))


def old_lzw(data):
    """LZW as written before TIFF 6.0: bits from the lowest on. Every code is a byte."""
    bits = ""
    for i, v in enumerate(data):
        if i % 200 == 0: bits += f"{256:09b}"[::-1]
        bits += f"{v:09b}"[::-1]
    bits += f"{257:09b}"[::-1]
    return bytes(int(bits[i:i + 8][::-1], 2) for i in range(0, len(bits), 8))


def units(h, v, rows_per_strip=H, tags={}, pack=zlib.compress, order="<"):
    """A TIFF in YCbCr that is no JPEG: units of h x v luma samples, then one Cb and one Cr."""
    rows, across = -(-rows_per_strip // v) * v, -(-W // h)
    a = np.asarray(scene(6, across * h, -(-H // rows_per_strip) * rows).convert("YCbCr"))
    unit = lambda s, x, y: a[s + y:s + y + v, x:x + h, 0].tobytes() + a[s + y, x, 1:].tobytes()
    strips = [pack(b"".join(unit(s, x, y) for y in range(0, rows, v) for x in range(0, across * h, h))) for s in range(0, a.shape[0], rows)]
    return tiff(W, H, strips, {258: (3, [8] * 3), 259: (3, [8]), 262: (3, [6]), 277: (3, [3]), 278: (4, [rows_per_strip]), 530: (3, [h, v])} | tags, order)


def tiffs():
    video = {532: (5, [(15, 1), (235, 1), (128, 1), (240, 1), (128, 1), (240, 1)])}  # as FFmpeg writes it
    bt709 = {529: (5, [(2126, 10000), (7152, 10000), (722, 10000)])}
    for h, v in ((1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2), (4, 4)): F[f"ycc{h}{v}.tif"] = units(h, v, tags=video if h == 2 else bt709 if h == 4 else {})
    F["ycc22_strips.tif"] = units(2, 2, 4, order=">")
    F["ycc11_predictor.tif"] = units(1, 1, tags={317: (3, [2])})
    bw = fax()
    for name, compression, tags in (("fax_rle", "tiff_ccitt", {}), ("fax3", "group3", {}), ("fax3_2d", "group3", {292: 1}), ("fax3_fill", "group3", {292: 4}),
                                    ("fax3_2d_fill", "group3", {292: 5}), ("fax4_runs", "group4", {})):
        F[name + ".tif"] = save(bw, "TIFF", compression=compression, tiffinfo=tags | {278: 17})
    gray = scene(5).convert("L")
    data = old_lzw(gray.tobytes()); raw = save(gray, "TIFF"); raw += b"\0" * (len(raw) % 2)
    tags = {t: (k, n, v) for t, k, n, v in (struct.unpack("<HHII", raw[10 + 12 * i:22 + 12 * i]) for i in range(struct.unpack("<H", raw[8:10])[0]))}
    tags[259] = (3, 1, 5); tags[273] = (4, 1, len(raw)); tags[279] = (4, 1, len(data))
    F["old_lzw.tif"] = raw[:10] + b"".join(struct.pack("<HHII", t, *e) for t, e in sorted(tags.items())) + raw[10 + 12 * len(tags):] + data
    im = scene(3); rgba = im.copy(); rgba.putalpha(scene(4).convert("L")); a = np.asarray(im)
    for name, m in (("rgb", im), ("gray", im.convert("L")), ("palette", im.quantize(11)), ("rgba", rgba), ("cmyk", im.convert("CMYK")), ("bw", im.convert("1"))):
        for c, k in (("raw", None), ("lzw", "tiff_lzw"), ("deflate", "tiff_adobe_deflate"), ("packbits", "packbits")):
            if c == "raw" or (name, c) in {("rgb", "lzw"), ("gray", "deflate"), ("palette", "packbits"), ("rgba", "lzw"), ("cmyk", "deflate"), ("bw", "packbits")}:
                F[f"{name}_{c}.tif"] = save(m, "TIFF", compression=k)
    F["fax4.tif"] = save(im.convert("1"), "TIFF", compression="group4")
    F["jpeg.tif"] = save(im, "TIFF", compression="jpeg", quality=90)
    F["jpeg_cmyk.tif"] = save(im.convert("CMYK"), "TIFF", compression="jpeg", quality=90)
    F["jpeg_ycc.tif"] = save(im.convert("YCbCr"), "TIFF", compression="jpeg", quality=90)
    F["predictor.tif"] = save(im, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    x = Image.Exif(); x[274] = 6
    F["orientation.tif"] = save(im, "TIFF", exif=x)
    F["big.tif"] = save(im, "TIFF", big_tiff=True)
    F["pages.tif"] = save(im, "TIFF", save_all=True, append_images=[scene(9)])
    F["planar.tif"] = tiff(W, H, [a[..., c].tobytes() for c in range(3)], {258: (3, [8] * 3), 259: (3, [1]), 262: (3, [2]), 277: (3, [3]), 278: (4, [H]), 284: (3, [2])})
    F["rgb16.tif"] = tiff(W, H, (a.astype(">u2") * 257 - 100).astype(">u2").tobytes(), {258: (3, [16] * 3), 259: (3, [1]), 262: (3, [2]), 277: (3, [3])}, ">")
    pad = np.zeros((16, 16, 3), np.uint8); pad[:H, :W] = a
    F["tiles.tif"] = tiff(W, H, [zlib.compress(pad.tobytes())], {258: (3, [8] * 3), 259: (3, [8]), 262: (3, [2]), 277: (3, [3]), 322: (3, [16]), 323: (3, [16])})
    F["white_is_0.tif"] = tiff(W, H, a[..., 0].tobytes(), {258: (3, [8]), 259: (3, [1]), 262: (3, [0])})
    g = a[..., 1] >> 4
    p = np.zeros((H, 7), np.uint8); p[:, :] = g[:, ::2] << 4; p[:, :6] |= g[:, 1::2]
    F["gray4.tif"] = tiff(W, H, p.tobytes(), {258: (3, [4]), 259: (3, [1]), 262: (3, [1])})
    F["premultiplied.tif"] = tiff(W, H, (np.dstack([a // 2, np.full((H, W), 128)])).astype(np.uint8).tobytes(), {258: (3, [8] * 4), 259: (3, [1]), 262: (3, [2]), 277: (3, [4]), 338: (3, [1])})
    F["fill_order.tif"] = tiff(W, H, np.packbits(a[..., 0] > 99, axis=1, bitorder="little").tobytes(), {258: (3, [1]), 259: (3, [1]), 262: (3, [1]), 266: (3, [2])})


# --- PNG and GIF, damaged or odd
def chunk(t, d, crc=None): return struct.pack(">I", len(d)) + t + d + struct.pack(">I", binascii.crc32(t + d) if crc is None else crc)


def png(raw, kind, before=b"", after=b"", end=chunk(b"IEND", b""), pack=zlib.compress, depth=8, parts=None, w=W, h=H, interlace=0):
    z = pack(raw)
    idat = b"".join(chunk(b"IDAT", p) for p in (parts(z) if parts else [z]))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, interlace)) + before + idat + after + end


def pngs():
    a = np.asarray(scene(7)); raw = b"".join(b"\0" + r.tobytes() for r in a)
    alpha = b"".join(b"\0" + r.tobytes() for r in np.dstack([a, a[..., :1]]))
    index = b"".join(b"\0" + (r[:, 0] >> 5).tobytes() for r in a)
    pal = bytes(range(7, 31))
    exif = b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'
    element = b"<rdf:Description><tiff:Orientation>%d</tiff:Orientation></rdf:Description>"
    profile = b"Raw profile type exif\0%s\nexif\n      32\n" + binascii.hexlify(b"Exif\0\0" + exif[:10])
    text = b"\nexif\n      32\n" + binascii.hexlify(b"Exif\0\0" + exif)[:40] + b"\n" + binascii.hexlify(b"Exif\0\0" + exif)[40:] + b"\n"
    F["surplus.png"] = png(raw + b"\1" * 5000, 2)
    F["surplus_bad_adler.png"] = png(raw + b"\1", 2, pack=lambda r: zlib.compress(r)[:-4] + b"abcd")
    F["no_adler.png"] = png(raw, 2, pack=lambda r: zlib.compress(r)[:-4])
    F["adler_in_next.png"] = png(raw, 2, pack=lambda r: zlib.compress(r)[:-4] + b"abcd", parts=lambda z: [z[:-4], z[-4:]])
    F["short.png"] = png(raw[:len(raw) // H * 5], 2)
    F["short_alpha.png"] = png(alpha[:len(alpha) // H * 5], 6)
    F["no_iend.png"] = png(raw, 2, end=b"")
    F["idat_crc.png"] = png(raw, 2).replace(b"IEND", b"IEND")[:-16] + b"abcd" + chunk(b"IEND", b"", 5)
    F["trns_after.png"] = png(index, 3, before=chunk(b"PLTE", pal), after=chunk(b"tRNS", b"\0\x80"))
    F["trns_before_plte.png"] = png(index, 3, before=chunk(b"tRNS", b"\xff\x80") + chunk(b"PLTE", pal))
    F["plte_after.png"] = png(raw, 2, after=chunk(b"PLTE", pal))
    F["plte_short.png"] = png(index, 3, before=chunk(b"PLTE", pal[:9]))
    F["plte_none.png"] = png(index, 3)
    F["trns_on_rgba.png"] = png(alpha, 6, before=chunk(b"tRNS", bytes(6)))
    F["unknown.png"] = png(raw, 2, before=chunk(b"zzZz", b"abc") + chunk(b"IDAT", b""), after=chunk(b"IDAT", b"") + chunk(b"abCd", b""))
    F["trailing.png"] = png(raw, 2) + b"junk" * 9
    F["exif_after.png"] = png(raw, 2, after=chunk(b"eXIf", exif))
    F["profile.png"] = png(raw, 2, before=chunk(b"tEXt", b"Raw profile type exif\0" + text))
    F["profile_z.png"] = png(raw, 2, after=chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)))
    F["profile_i.png"] = png(raw, 2, before=chunk(b"iTXt", b"Raw profile type exif\0\0\0\0\0" + text))
    F["xmp.png"] = png(raw, 2, before=chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp % 5))
    F["xmp_z.png"] = png(raw, 2, after=chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(element % 8)))
    F["xmp_and_exif.png"] = png(raw, 2, before=chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp % 5) + chunk(b"eXIf", exif))
    F["xmp_and_exif_0.png"] = png(raw, 2, before=chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp % 5) + chunk(b"eXIf", exif.replace(b"\0\6", b"\0\0")))
    F["xmp_9.png"] = png(raw, 2, before=chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp % 9))
    part = b"".join(b"\0" + r.tobytes() for r in a[:4, :6])
    F["apng_part.png"] = png(part, 2, before=chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 6, 4, 3, 2, 1, 9, 0, 0)))
    F["gray_key2.png"] = png(b"".join(b"\0" + bytes([0x1B, 0xE4]) for _ in range(3)), 0, depth=2, w=7, h=3, before=chunk(b"tRNS", b"\0\0"))
    F["rgb16_key.png"] = png(b"\0" + a[0, :4].astype(">u2").tobytes(), 2, depth=16, w=4, h=1, before=chunk(b"tRNS", struct.pack(">HHH", *[int(v) for v in a[0, 0]])))


def gifs():
    p = scene(8).quantize(16); g = save(p, "GIF"); i = g.index(b",", 13 + 48)
    F["zero_before.gif"] = g[:i] + b"\0\0\7" + g[i:]
    F["no_end.gif"] = g[:-2]
    head = bytearray(g[:13]); head[10] &= 0x7F
    F["no_palette.gif"] = bytes(head) + g[13 + 48:]
    F["no_palette_transparent.gif"] = bytes(head) + b"!\xf9\4\1\0\0\5\0" + g[i:]
    gray = bytes(v for n in range(16) for v in (n, n, n))
    F["identity.gif"] = g[:10] + bytes([g[10] & 0xF8 | 1]) + g[11:13] + gray[:12] + g[i:]  # indices beyond it are gray, too
    tall = bytearray(g[i:]); tall[7:9] = struct.pack("<H", H - 4)
    F["surplus.gif"] = g[:8] + struct.pack("<H", H - 4) + g[10:i] + bytes(tall)
    F["beyond.gif"] = g[:6] + struct.pack("<HH", 4, 30) + g[10:i] + b",\3\0\2\0" + g[i + 5:]
    F["odd_extension.gif"] = g[:i] + b"!\xfe\3abc\0!\x99\0\2ab\0" + g[i:]


def jpeg_and_webp():
    im = scene(10, 24, 16); j = save(im, "JPEG", quality=90)
    seg = lambda d: b"\xff\xe1" + struct.pack(">H", len(d) + 2) + d
    x = lambda o: b"http://ns.adobe.com/xap/1.0/\0" + b"<tiff:Orientation>%d</tiff:Orientation>" % o
    e = lambda o: b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0%c\0\0\0\0\0\0\0" % o
    F["xmp.jpg"] = j[:2] + seg(x(6)) + j[2:]
    F["xmp_exif.jpg"] = j[:2] + seg(x(6)) + seg(e(3)) + j[2:]
    F["exif_parts.jpg"] = j[:2] + seg(e(8)[:20]) + seg(b"Exif\0\0" + e(8)[20:]) + j[2:]
    F["xmp.webp"] = save(im, "WEBP", quality=80, xmp=x(7).split(b"\0")[1])
    F["exif_xmp.webp"] = save(im, "WEBP", quality=80, xmp=x(7).split(b"\0")[1], exif=e(4))


def main():
    os.makedirs(OUT, exist_ok=True)
    for make in (bitmaps, anymaps, tiffs, pngs, gifs, jpeg_and_webp): make()
    with gzip.GzipFile(os.path.join(HERE, "kinds.bin.gz"), "wb", mtime=0) as g:
        for name, data in F.items():
            open(os.path.join(OUT, name), "wb").write(data)
            im = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
            if "A" in im.getbands() or im.info.get("transparency") is not None:
                v = np.asarray(im.convert("RGBA")).astype(int)
                c, al = v[..., :3], v[..., 3:]
                v = (c * al + 255 * (255 - al) + 127) // 255
            else: v = np.asarray(im.convert("RGB"))
            g.write(f"{name}.rgb {im.width} {im.height}\n".encode() + v.astype(np.uint8).tobytes())


main()
