#!/usr/bin/env python3
"""Makes what docs/images/masks.jpg is drawn from, which `make docs` does.

  python make.py OUT.npz       writes a mask decoder in the layout of vae-oid.npz, prints a text
  paligemma parse "$(python make.py masks.npz)" --image testdata/photos/chelsea.png --mask-decoder masks.npz --draw masks.jpg

The decoder is made by hand: code 1 is "in", every other "out"; its transposed convolutions enlarge the 4x4 grid of codes
bilinearly, and what is above 0.45 belongs to the mask. The boxes were read off the photograph.
"""
import sys
import numpy as np

W, H = 451, 300  # chelsea.png
OBJECTS = [  # x0, y0, x1, y1, the grid of codes, label
    (128, 78, 216, 154, "0110 1111 1111 0110", "eye"), (288, 102, 350, 170, "0110 1111 1111 0110", "eye"),
    (234, 218, 300, 268, "1111 1111 0110 0110", "nose"), (312, 0, 402, 74, "1111 1111 0111 0011", "ear")]


def decoder():
    zeros = lambda *shape: np.zeros(shape, np.float32)
    w = {"_vq_vae._embedding": zeros(128, 512), "decoder.0.weight": zeros(128, 512, 1, 1), "decoder.0.bias": zeros(128)}
    w["_vq_vae._embedding"][1, 0] = 1
    w["decoder.0.weight"][0, 0] = 1
    for block in (2, 3):  # residual blocks that add nothing
        for layer, size in ((0, 3), (2, 3), (4, 1)):
            w[f"decoder.{block}.net.{layer}.weight"] = zeros(128, 128, size, size)
            w[f"decoder.{block}.net.{layer}.bias"] = zeros(128)
    widths, tent = (128, 128, 64, 32, 16), np.float32([0.25, 0.75, 0.75, 0.25])
    for i, layer in enumerate((4, 6, 8, 10)):
        w[f"decoder.{layer}.weight"] = zeros(widths[i], widths[i + 1], 4, 4)
        w[f"decoder.{layer}.weight"][0, 0] = np.outer(tent, tent)
        w[f"decoder.{layer}.bias"] = zeros(widths[i + 1])
    w["decoder.12.weight"], w["decoder.12.bias"] = zeros(1, 16, 1, 1), np.float32([-0.45])
    w["decoder.12.weight"][0, 0] = 1
    return w


def text():
    loc = lambda v, size: f"<loc{round(v / size * 1023):04d}>"
    return " ; ".join(loc(y0, H) + loc(x0, W) + loc(y1, H) + loc(x1, W)
                      + "".join(f"<seg{int(c):03d}>" for c in grid.replace(" ", "")) + " " + label
                      for x0, y0, x1, y1, grid, label in OBJECTS)


np.savez(sys.argv[1], **decoder())
print(text())
