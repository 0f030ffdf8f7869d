#!/usr/bin/env python3
"""Cuts golden tensors made with transformers down to what the tests need.

  python trim.py GOLDENS OUT MODEL...

GOLDENS/MODEL.safetensors has, per case cNN, the tensors of one run (float32,
eager attention). Kept are of c12 everything, of c00 all but most of the logits,
of the other cases the image features and the last two rows of the logits. The
vision tower's inner states and the logits of generated tokens are left out.
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
        if what.startswith(("vision_", "gen_logits")): continue
        if what == "pixel_values":
            u8 = np.rint((t + 1) * 127.5).astype(np.uint8)
            assert (u8.astype(np.float32) / np.float32(127.5) - 1 == t).all(), name
            kept[f"{case}.pixels"] = u8
        elif what == "logits":
            kept[name] = t if case == "c12" else t[-2:]
        elif what == "image_features" or case in ("c00", "c12"):
            kept[name] = t
    save_file({k: np.ascontiguousarray(v) for k, v in sorted(kept.items())}, f"{out}/{model}.safetensors")
    shutil.copy(f"{src}/{model}.json", f"{out}/{model}.json")
