#!/usr/bin/env python3
"""Makes small models with big_vision's own modules, and what they compute.

  python goldens.py BIG_VISION OUT

BIG_VISION is a clone of https://github.com/google-research/big_vision. For each
family OUT gets NAME.npz (random weights in bfloat16, names and layouts as the
modules of JAX have them) and NAME.safetensors: the pixels (uint8; the model sees
u8/127.5 - 1), the tokens of the prompt and the logits of its last three positions,
with the cap of Gemma 2, in float32. Needs jax, flax, einops, ml_collections,
orbax-checkpoint, ml_dtypes, numpy and safetensors.
"""
import sys, types


def stub(name, **attributes):
    module = types.ModuleType(name)
    module.__dict__.update(attributes)
    sys.modules[name] = module
    return module


big_vision, out = sys.argv[1:]
sys.path.insert(0, big_vision)
# The models need of big_vision.utils and flax.training nothing that runs here.
stub("big_vision.utils")
stub("flax.training.checkpoints")

import jax
import jax.numpy as jnp
import ml_collections
import ml_dtypes
import numpy as np
from safetensors.numpy import save_file
from big_vision.models.ppp import gemma
from big_vision.models.proj.paligemma import paligemma

jax.config.update("jax_default_matmul_precision", "highest")

VOCAB = 2176  # that of the tiny checkpoints in testdata, whose <image> is the next id
TEXTS = {
    "gemma": dict(width=32, depth=2, mlp_dim=48, num_heads=4, num_kv_heads=1, head_dim=16),
    "gemma2": dict(width=32, depth=3, mlp_dim=40, num_heads=4, num_kv_heads=2, head_dim=24,
                   final_logits_softcap=30.0, attn_logits_softcap=50.0, post_norms=True),
    # as many key heads as query heads: one einsum for all three
    "gemma2_mha": dict(width=32, depth=2, mlp_dim=40, num_heads=3, num_kv_heads=3, head_dim=16,
                       final_logits_softcap=30.0, attn_logits_softcap=50.0, post_norms=True),
}
VISION = dict(patch_size=(14, 14), width=24, depth=2, mlp_dim=40, num_heads=3, pool_type="none", scan=True, head_zeroinit=False)


def randomize(tree, rng):
    """Replaces every parameter, zeros and ones too, by numbers that matter."""
    def one(path, x):
        name = path[-1].key
        scale = {"scale": 0.3, "bias": 0.3, "pos_embedding": 0.3, "input_embedding": 0.5}.get(name, 1 / np.sqrt(max(x.shape[-2:])))
        mean = 1.0 if name == "scale" and any("LayerNorm" in p.key or "encoder_norm" in p.key for p in path) else 0.0
        return (mean + scale * rng.standard_normal(x.shape)).astype(ml_dtypes.bfloat16)
    return jax.tree_util.tree_map_with_path(one, tree)


def flatten(tree, prefix):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}/")
        else:
            yield prefix + key, value


for seed, (name, text) in enumerate(TEXTS.items()):
    config = {"variant": name, "norm_eps": 1e-6, "vocab_size": VOCAB, "scan": True, "remat_policy": "none", **text}
    gemma.get_config = lambda variant, config=config: ml_collections.ConfigDict(config)
    model = paligemma.Model(img=VISION, llm=dict(variant=name, vocab_size=VOCAB))
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (1, 56, 56, 3), np.uint8)
    image = pixels.astype(np.float32) / np.float32(127.5) - 1
    tokens = rng.integers(4, 1024, (1, 8)).astype(np.int32)
    prefix = jnp.zeros_like(tokens)  # attended to in both directions
    params = model.init(jax.random.PRNGKey(seed), image, tokens, prefix)["params"]
    params = randomize(params, rng)
    _, computed = model.apply({"params": jax.tree_util.tree_map(lambda x: jnp.asarray(x, jnp.float32), params)}, image, tokens, prefix)
    np.savez(f"{out}/{name}.npz", **dict(sorted(flatten(params, "params/"))))
    logits = np.asarray(computed["llm/logits"][0, -3:])  # text_logits are without the cap
    save_file({"c00.pixels": np.ascontiguousarray(pixels[0].transpose(2, 0, 1)), "c00.tokens": tokens[0].astype(np.int64),
               "c00.logits": logits}, f"{out}/{name}.safetensors")
    print(name, float(np.abs(logits).max()))
