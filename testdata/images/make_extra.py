#!/usr/bin/env python3
"""Makes the pictures in extra/ and their decoded samples, extra.bin.gz.  python make_extra.py

Needs Pillow (13.0.0 with libjpeg-turbo 3.2.0 and libwebp 1.6.0 made what is
committed) and numpy. The container edits by hand are for what Pillow does not
write: other chroma ratios, YCCK, interlacing, odd GIF screens.
"""
import gzip, io, os, struct, zlib
import numpy as np
from PIL import Image, ImageDraw, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "extra")


def scene(w, h, seed):
    r = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    a = np.stack([128 + 100 * np.sin(x / 9 + seed), 128 + 100 * np.cos(y / 7), 128 + 100 * np.sin((x + y) / 11)], -1)
    im = Image.fromarray(np.clip(a + r.normal(0, 5, a.shape), 0, 255).astype(np.uint8))
    d = ImageDraw.Draw(im)
    for _ in range(5):
        x0, y0 = int(r.integers(0, w)), int(r.integers(0, h))
        d.ellipse([x0, y0, x0 + w // 4, y0 + h // 4], fill=tuple(int(v) for v in r.integers(0, 256, 3)))
    return im


def jpeg(im, **k):
    b = io.BytesIO(); im.save(b, "JPEG", **k); return bytearray(b.getvalue())


def segment(b, *markers):
    """Offset of the first segment with one of these markers."""
    i = 2
    while b[i + 1] not in markers:
        i += 2 + struct.unpack(">H", b[i + 2:i + 4])[0]
    return i


def reshape(b, w, h, first):
    """Gives a JPEG another size and another ratio with as many blocks: a valid, scrambled picture."""
    i = segment(b, 0xC0, 0xC2)
    b[i + 5:i + 9] = struct.pack(">HH", h, w)
    b[i + 11] = first
    return b


def scans(w, h, progressive, factors, ids):
    """A JPEG whose components, of these sampling factors, come one after the other: the scans of grey pictures."""
    across, down, body = max(f >> 4 for f in factors), max(f & 15 for f in factors), b""
    for c, f in enumerate(factors):
        g = jpeg(scene(-(-w * (f >> 4) // across), -(-h * (f & 15) // down), 70 + c).convert("L"), quality=60 + 15 * c, optimize=True,
                 progressive=progressive, restart_marker_blocks=3 + c)
        i = 2
        while g[i + 1] != 0xD9:
            n = 2 + struct.unpack(">H", g[i + 2:i + 4])[0]
            if g[i + 1] == 0xDB: g[i + 4] = c
            if g[i + 1] == 0xDA: g[i + 5] = ids[c]
            j = i + n
            while g[i + 1] == 0xDA and not (g[j] == 0xFF and g[j + 1] and not 0xD0 <= g[j + 1] <= 0xD7): j += 1
            if g[i + 1] not in (0xE0, 0xC0, 0xC2): body += g[i:j]
            i = j
    sof = struct.pack(">BBHBHHB", 0xFF, 0xC2 if progressive else 0xC1, 17, 8, h, w, 3) + b"".join(bytes([ids[c], f, c]) for c, f in enumerate(factors))
    return b"\xff\xd8" + sof + body + b"\xff\xd9"


def png(w, h, depth, kind, raw, chunks=(), interlace=0):
    c = lambda t, d: struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))
    return (b"\x89PNG\r\n\x1a\n" + c(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, interlace))
            + b"".join(c(t, d) for t, d in chunks) + c(b"IDAT", zlib.compress(raw, 9)) + c(b"IEND", b""))


def pack(rows, depth):
    """Rows of samples below a byte each, packed, every row with filter 0."""
    out = b""
    for r in rows:
        bits = "".join(format(int(v), f"0{depth}b") for v in r)
        bits += "0" * (-len(bits) % 8)
        out += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    return out


def adam7(a):
    out = b""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        for r in a[y0::dy, x0::dx]:
            if r.size: out += b"\0" + r.tobytes()
    return out


def gif(screen, at, im, transparent=None):
    """A one-frame GIF of palette picture im at a place on a screen of that size."""
    b = io.BytesIO(); im.save(b, "GIF", **({} if transparent is None else {"transparency": transparent})); b = bytearray(b.getvalue())
    b[6:10] = struct.pack("<HH", *screen)
    i = 13 + (3 << ((b[10] & 7) + 1) if b[10] & 0x80 else 0)
    while b[i] != 0x2C:
        i += 2
        while b[i]: i += 1 + b[i]
        i += 1
    b[i + 1:i + 5] = struct.pack("<HH", *at)
    return b


def main():
    os.makedirs(OUT, exist_ok=True)
    F = {}
    F["h2v1.jpg"] = jpeg(scene(53, 37, 1), quality=85, subsampling=1)
    F["h2v1_even.jpg"] = jpeg(scene(48, 32, 2), quality=85, subsampling=1)
    F["h1v2.jpg"] = reshape(jpeg(scene(61, 35, 3), quality=85, subsampling=1), 35, 61, 0x12)
    F["h4v1.jpg"] = reshape(jpeg(scene(60, 60, 4), quality=85, subsampling=2), 125, 29, 0x41)
    F["h2v2.jpg"] = jpeg(scene(50, 31, 5), quality=95, subsampling=2)
    for w in (1, 2, 3, 4, 5, 6, 7):
        F[f"narrow{w}.jpg"] = jpeg(scene(w, 9, 10 + w), quality=90, subsampling=2)
    F["narrow3_422.jpg"] = jpeg(scene(3, 5, 20), quality=90, subsampling=1)
    F["narrow5_422.jpg"] = jpeg(scene(5, 4, 21), quality=90, subsampling=1)
    F["one_row.jpg"] = jpeg(scene(21, 1, 22), quality=90, subsampling=2)
    F["stored_rgb.jpg"] = jpeg(scene(40, 30, 23), quality=90, keep_rgb=True)
    F["restart.jpg"] = jpeg(scene(70, 50, 24), quality=80, restart_marker_blocks=3)
    F["progressive_odd.jpg"] = jpeg(scene(67, 41, 25), quality=80, progressive=True)
    cmyk = jpeg(Image.fromarray(np.dstack([np.asarray(scene(45, 33, 26)), np.asarray(scene(45, 33, 27))[..., 0]]), "CMYK"), quality=90)
    F["cmyk2.jpg"] = bytearray(cmyk)
    i = segment(cmyk, 0xEE); n = 2 + struct.unpack(">H", cmyk[i + 2:i + 4])[0]
    F["cmyk_no_adobe.jpg"] = cmyk[:i] + cmyk[i + n:]
    F["ycck.jpg"] = bytearray(cmyk); F["ycck.jpg"][i + 15] = 2
    half = bytearray(cmyk); j = segment(half, 0xC0)                            # 12 units of 10 blocks in place of 30 of 4
    half[j + 5:j + 9] = struct.pack(">HH", 61, 45); half[j + 11] = half[j + 20] = 0x22
    F["cmyk_half.jpg"] = half
    F["ycck_half.jpg"] = bytearray(half); F["ycck_half.jpg"][i + 15] = 2

    big = jpeg(Image.fromarray(np.random.default_rng(28).integers(0, 256, (24, 40), dtype=np.uint8)), quality=100)
    q = segment(big, 0xDB)                                                    # 16-bit quantisers far beyond what an encoder makes
    F["overflow.jpg"] = big[:q] + b"\xff\xdb\0\x83\x10" + np.random.default_rng(29).integers(1, 3000, 64).astype(">u2").tobytes() + big[q + 69:]
    for name, progressive, factors, ids in (("scans.jpg", False, (0x22, 0x12, 0x21), (1, 2, 3)), ("scans_prog.jpg", True, (0x42, 0x22, 0x11), (7, 0, 200)),
                                            ("scans_rgb.jpg", False, (0x13, 0x11, 0x13), b"RGB")):
        F[name] = scans(51, 45, progressive, factors, ids)

    save = lambda im, f, **k: (b := io.BytesIO(), im.save(b, f, **k), b.getvalue())[2]
    rgba = lambda w, h, s: Image.fromarray(np.dstack([np.asarray(scene(w, h, s)), np.asarray(scene(w, h, s + 1))[..., 1]]), "RGBA")
    exif = lambda o: (e := Image.Exif(), e.__setitem__(0x0112, o), e)[2]
    F["odd.webp"] = save(scene(51, 33, 30), "WEBP", quality=70)
    F["column.webp"] = save(scene(1, 9, 31), "WEBP", quality=90)
    F["lossy_alpha.webp"] = save(rgba(46, 31, 32), "WEBP", quality=75)
    F["exif5.webp"] = save(scene(32, 20, 33), "WEBP", quality=75, exif=exif(5))
    F["anim.webp"] = save(scene(40, 30, 34), "WEBP", save_all=True, append_images=[scene(40, 30, 35)], lossless=True)
    F["anim_lossy_alpha.webp"] = save(rgba(40, 30, 36), "WEBP", save_all=True, append_images=[rgba(40, 30, 37)], quality=60)
    a = bytearray(save(rgba(20, 14, 38), "WEBP", save_all=True, append_images=[rgba(20, 14, 39)], lossless=True))
    a[24:30] = struct.pack("<I", 29)[:3] + struct.pack("<I", 23)[:3]         # a canvas of 30×24, the frame at (6, 4)
    k = a.index(b"ANMF") + 8; a[k:k + 6] = b"\3\0\0\2\0\0"
    F["anim_offset.webp"] = a
    o = bytearray(save(scene(20, 14, 40), "WEBP", save_all=True, append_images=[scene(20, 14, 41)], lossless=True))
    o[24:30] = a[24:30]; k = o.index(b"ANMF") + 8; o[k:k + 6] = b"\3\0\0\2\0\0"
    F["anim_offset_opaque.webp"] = o

    p = scene(24, 18, 50).quantize(16)
    F["offset.gif"] = gif((32, 30), (5, 7), p)
    F["offset_transparent.gif"] = gif((32, 30), (5, 7), p, transparent=3)
    F["beyond.gif"] = gif((10, 40), (3, 2), p)
    F["transparent.gif"] = gif((24, 18), (0, 0), p, transparent=2)
    F["interlaced.gif"] = save(scene(33, 29, 51).quantize(32), "GIF", interlace=1)

    a = np.asarray(scene(29, 19, 60))
    F["interlaced.png"] = png(29, 19, 8, 2, adam7(a), interlace=1)
    F["interlaced_gray.png"] = png(29, 19, 8, 0, adam7(np.ascontiguousarray(a[..., 0])), interlace=1)
    F["gray2.png"] = png(29, 19, 2, 0, pack(a[..., 0] >> 6, 2))
    F["gray4.png"] = png(29, 19, 4, 0, pack(a[..., 1] >> 4, 4))
    pal = bytes(np.random.default_rng(61).integers(0, 256, 48, dtype=np.uint8))
    F["palette1.png"] = png(29, 19, 1, 3, pack(a[..., 0] >> 7, 1), [(b"PLTE", pal[:6])])
    F["palette2.png"] = png(29, 19, 2, 3, pack(a[..., 0] >> 6, 2), [(b"PLTE", pal[:12])])
    F["palette4_alpha.png"] = png(29, 19, 4, 3, pack(a[..., 0] >> 4, 4), [(b"PLTE", pal), (b"tRNS", bytes(range(0, 256, 23)))])
    F["gray_key.png"] = png(29, 19, 8, 0, b"".join(b"\0" + r.tobytes() for r in a[..., 0] & 0xF0), [(b"tRNS", b"\0\x80")])
    F["rgb_key.png"] = png(29, 19, 8, 2, b"".join(b"\0" + r.tobytes() for r in a & 0x80), [(b"tRNS", b"\0\x80\0\x80\0\0")])
    F["rgba16.png"] = png(29, 19, 16, 6, b"".join(b"\0" + r.astype(">u2").tobytes() for r in np.asarray(rgba(29, 19, 62)).astype(np.uint32) * 256 + 77))
    F["exif.png"] = save(scene(23, 17, 63), "PNG", exif=exif(7))

    with gzip.GzipFile(os.path.join(HERE, "extra.bin.gz"), "wb", mtime=0) as g:
        for name, data in F.items():
            open(os.path.join(OUT, name), "wb").write(data)
            im = ImageOps.exif_transpose(Image.open(io.BytesIO(bytes(data))))
            if "A" in im.getbands() or im.info.get("transparency") is not None:
                v = np.asarray(im.convert("RGBA")).astype(int)
                c, al = v[..., :3], v[..., 3:]
                v = (c * al + 255 * (255 - al) + 127) // 255
            else:
                v = np.asarray(im.convert("RGB"))
            g.write(f"{name}.rgb {im.width} {im.height}\n".encode() + v.astype(np.uint8).tobytes())


if __name__ == "__main__":
    main()
