#!/usr/bin/env python3
"""Writes a checkpoint of transformers as big_vision's .npz.

  python write.py CHECKPOINT OUT.npz [--bf16] [--rows N] [--bare]

CHECKPOINT is a folder that save_pretrained of transformers 5 left: one
model.safetensors in F32, the head tied. --bf16 rounds to bfloat16 (as raw 2-byte
void, which is how NumPy saves JAX's), --rows N keeps the first N rows of the token
embedding, --bare leaves off "params/". Needs numpy, safetensors and ml_dtypes.

The layouts are those of the einsums and modules in big_vision/models: ppp/gemma.py
and vit.py.
"""
import argparse, json, pathlib
import numpy as np
from safetensors.numpy import load_file


def text(t, config):
    """The arrays of llm/, layers stacked."""
    heads, kv, dim = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    width = config["hidden_size"]

    def stack(name):
        return np.stack([t[f"language_model.model.layers.{i}.{name}.weight"] for i in range(config["num_hidden_layers"])])

    def split(name, n):  # [L, n·H, D] to [L, n, D, H]
        w = stack(f"self_attn.{name}_proj")
        return w.reshape(len(w), n, dim, width).swapaxes(2, 3)

    q, k, v = split("q", heads), split("k", kv), split("v", kv)
    if heads == kv:
        yield "layers/attn/qkv_einsum/w", np.stack([q, k, v], 1)  # BSD,3KDH->3BSKH
    else:
        yield "layers/attn/q_einsum/w", q  # BTD,NDH->BTNH
        yield "layers/attn/kv_einsum/w", np.stack([k, v], 1)  # BSD,2KDH->2BSKH
    out = stack("self_attn.o_proj")  # [L, D, N·H]; BTNH,NHD->BTD
    yield "layers/attn/attn_vec_einsum/w", out.swapaxes(1, 2).reshape(len(out), heads, dim, width)
    gates = [stack(f"mlp.{n}_proj").swapaxes(1, 2) for n in ("gate", "up")]
    yield "layers/mlp/gating_einsum", np.stack(gates, 1)  # [L, 2, D, F]
    yield "layers/mlp/linear", stack("mlp.down_proj").swapaxes(1, 2)  # [L, F, D]
    yield "layers/pre_attention_norm/scale", stack("input_layernorm")
    if config["model_type"] == "gemma2":
        yield "layers/post_attention_norm/scale", stack("post_attention_layernorm")
        yield "layers/pre_ffw_norm/scale", stack("pre_feedforward_layernorm")
        yield "layers/post_ffw_norm/scale", stack("post_feedforward_layernorm")
    else:
        yield "layers/pre_ffw_norm/scale", stack("post_attention_layernorm")
    yield "final_norm/scale", t["language_model.model.norm.weight"]
    yield "embedder/input_embedding", t["language_model.model.embed_tokens.weight"]


def image(t, config):
    """The arrays of img/, layers stacked."""
    heads, width = config["num_attention_heads"], config["hidden_size"]
    dim = width // heads

    def stack(name):
        return np.stack([t[f"vision_tower.encoder.layers.{i}.{name}"] for i in range(config["num_hidden_layers"])])

    block = "Transformer/encoderblock/"
    for i in (0, 1):
        yield f"{block}LayerNorm_{i}/scale", stack(f"layer_norm{i + 1}.weight")
        yield f"{block}LayerNorm_{i}/bias", stack(f"layer_norm{i + 1}.bias")
        yield f"{block}MlpBlock_0/Dense_{i}/kernel", stack(f"mlp.fc{i + 1}.weight").swapaxes(1, 2)
        yield f"{block}MlpBlock_0/Dense_{i}/bias", stack(f"mlp.fc{i + 1}.bias")
    attention = block + "MultiHeadDotProductAttention_0/"
    for name in ("query", "key", "value"):  # kernels [L, D, N, H]
        w, b = stack(f"self_attn.{name[0]}_proj.weight"), stack(f"self_attn.{name[0]}_proj.bias")
        yield f"{attention}{name}/kernel", w.swapaxes(1, 2).reshape(len(w), width, heads, dim)
        yield f"{attention}{name}/bias", b.reshape(len(b), heads, dim)
    w = stack("self_attn.out_proj.weight")  # [L, N, H, D]
    yield f"{attention}out/kernel", w.swapaxes(1, 2).reshape(len(w), heads, dim, width)
    yield f"{attention}out/bias", stack("self_attn.out_proj.bias")
    yield "Transformer/encoder_norm/scale", t["vision_tower.post_layernorm.weight"]
    yield "Transformer/encoder_norm/bias", t["vision_tower.post_layernorm.bias"]
    yield "embedding/kernel", t["vision_tower.embeddings.patch_embedding.weight"].transpose(2, 3, 1, 0)  # HWIO
    yield "embedding/bias", t["vision_tower.embeddings.patch_embedding.bias"]
    yield "pos_embedding", t["vision_tower.embeddings.position_embedding.weight"][None]
    yield "head/kernel", t["multi_modal_projector.linear.weight"].T
    yield "head/bias", t["multi_modal_projector.linear.bias"]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("checkpoint", type=pathlib.Path)
    args.add_argument("out")
    args.add_argument("--bf16", action="store_true")
    args.add_argument("--bare", action="store_true")
    args.add_argument("--rows", type=int)
    args = args.parse_args()
    tensors = load_file(args.checkpoint / "model.safetensors")
    config = json.loads((args.checkpoint / "config.json").read_text())
    arrays = {f"llm/{n}": a for n, a in text(tensors, config["text_config"])}
    arrays |= {f"img/{n}": a for n, a in image(tensors, config["vision_config"])}
    arrays["llm/embedder/input_embedding"] = arrays["llm/embedder/input_embedding"][:args.rows]
    if args.bf16:
        import ml_dtypes
        arrays = {n: a.astype(ml_dtypes.bfloat16) for n, a in arrays.items()}
    if not args.bare:
        arrays = {"params/" + n: a for n, a in arrays.items()}
    np.savez(args.out, **{n: np.ascontiguousarray(a) for n, a in sorted(arrays.items())})


if __name__ == "__main__":
    main()
