"""Reads model files with the gguf package: read_gguf.py FILE.gguf...

Next to each file it writes FILE.gguf.json, the values of its keys and the name,
type and shape of each tensor, and FILE.gguf.f32, the dequantized values of all
tensors, one after the other.
"""

import json
import sys

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

for path in sys.argv[1:]:
    reader = GGUFReader(path)
    keys = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    tensors = []
    with open(path + ".f32", "wb") as out:
        for t in reader.tensors:
            tensors.append({"name": t.name, "type": t.tensor_type.name, "shape": [int(n) for n in t.shape]})
            dequantize(t.data, t.tensor_type).astype("<f4").tofile(out)
    with open(path + ".json", "w") as out:
        json.dump({"keys": keys, "tensors": tensors}, out, default=lambda v: v.item() if isinstance(v, np.generic) else v.tolist())
