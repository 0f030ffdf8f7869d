#!/usr/bin/env python3
"""Cuts golden tensors made with transformers down to what the tests need.

  python trim.py GOLDENS OUT MODEL...

GOLDENS/MODEL.safetensors has, per case cNN, the tensors of one run (float32,
eager attention). Kept are all of c00 and c12; of the other cases the image
features and the last two rows of the logits; of generated logits those of c00.
Pixels, which are uint8 values in disguise, are kept as uint8: the float32
value is u8/127.5 - 1 exactly. MODEL.json (prompts, ids, text, loss) is copied.
"""
import shutil, sys
import numpy as np
from safetensors.numpy import load_file, save_file

src, out, models = sys.argv[1], sys.argv[2], sys.argv[3:]
for model in models:
    kept = {}
    for name, t in load_file(f"{src}/{model}.safetensors").items():
        case, what = name.split(".", 1)
        full = case in ("c00", "c12")
        if what == "pixel_values":
            u8 = np.rint((t + 1) * 127.5).astype(np.uint8)
            assert (u8.astype(np.float32) / np.float32(127.5) - 1 == t).all(), name
            kept[f"{case}.pixels"] = u8
        elif what == "logits":
            kept[name] = t if full else t[-2:]
        elif what == "gen_logits":
            if case == "c00": kept[name] = t
        elif what == "image_features" or full:
            kept[name] = t
    save_file({k: np.ascontiguousarray(v) for k, v in sorted(kept.items())}, f"{out}/{model}.safetensors")
    shutil.copy(f"{src}/{model}.json", f"{out}/{model}.json")
