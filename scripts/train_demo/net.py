"""The forward pass of training: what transformers computes, with less to do.

Only answers are predicted, so the last layer's queries and MLP run on their positions alone, and a picture goes through
the tower once for all its prompts. check() compares with transformers.
"""
import torch
import torch.nn.functional as F


def attend(q, k, v, mask=None):
    """Attention written out: torch's own for CPUs takes a quarter of a step on its way back."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores + mask
    return scores.softmax(-1) @ v


def vision(tower, pixels):
    """SigLIP: [n, 3, side, side] -> [n, patches, hidden], and the same after its first layer"""
    e, heads = tower.embeddings, tower.config.num_attention_heads
    size = tower.config.patch_size
    n, c, side, _ = pixels.shape
    rows = side // size
    x = pixels.view(n, c, rows, size, rows, size).permute(0, 2, 4, 1, 3, 5).reshape(n, rows * rows, -1)
    x = F.linear(x, e.patch_embedding.weight.flatten(1), e.patch_embedding.bias) + e.position_embedding.weight
    early = None
    for layer in tower.encoder.layers:
        a = layer.self_attn
        y = layer.layer_norm1(x)
        y = F.linear(y, torch.cat([a.q_proj.weight, a.k_proj.weight, a.v_proj.weight]), torch.cat([a.q_proj.bias, a.k_proj.bias, a.v_proj.bias]))
        q, k, v = y.view(n, rows * rows, 3, heads, -1).permute(2, 0, 3, 1, 4)
        x = x + a.out_proj(attend(q, k, v).transpose(1, 2).flatten(2))
        m = layer.mlp
        x = x + m.fc2(F.gelu(m.fc1(layer.layer_norm2(x)), approximate="tanh"))
        early = x if early is None else early
    return tower.post_layernorm(x), early


def norm(module, x):
    size = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return x * (size.square() / x.shape[-1] + module.eps).rsqrt().to(x.dtype) * (1 + module.weight).to(x.dtype)


def level(x):
    """RMS normalization without weights."""
    return F.rms_norm(x, x.shape[-1:])


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


def text(model, features, ids, prefix, length, at):
    """Gemma on pictures and text: hidden states at the answers' positions; before the last layer those, and the picture's.

    features [n, patches, hidden] (projected), ids [n, t] with the picture's places first, prefix and length [n], at [n, m]
    positions -> [n, m, hidden], [n, m, hidden], [n, patches, hidden]
    """
    gemma = model.model.language_model
    c = gemma.config
    n, t = ids.shape
    patches, heads, kv, width = features.shape[1], c.num_attention_heads, c.num_key_value_heads, c.head_dim
    kind = torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32
    x = F.embedding(ids[:, patches:], gemma.embed_tokens.weight) * c.hidden_size ** 0.5
    x = torch.cat([features.to(kind), x.to(kind)], 1)
    place = torch.arange(t, device=ids.device)
    reach = torch.maximum(place[None] + 1, prefix[:, None]).minimum(length[:, None])  # each sees the places before this one
    reach = torch.where(place[None] < length[:, None], reach, 1)
    seen = torch.zeros(n, t, t, dtype=kind).masked_fill(place >= reach[:, :, None], -30000.0)
    angle = place[:, None] * c.rope_parameters["rope_theta"] ** (-torch.arange(0, width, 2, device=ids.device) / width)
    angle = torch.cat([angle, angle], -1)
    cos, sin = angle.cos(), angle.sin()
    for i, layer in enumerate(gemma.layers):
        last = i == len(gemma.layers) - 1
        a = layer.self_attn
        y = norm(layer.input_layernorm, x)
        k, v = (F.linear(y, w.weight).view(n, t, kv, width).transpose(1, 2) for w in (a.k_proj, a.v_proj))
        k = rotate(k, cos.to(k.dtype), sin.to(k.dtype))
        mask, qc, qs = seen, cos, sin
        if last:
            picture = x[:, :patches]
            pick = at[:, :, None]
            x, y = answer, _ = x.gather(1, pick.expand(-1, -1, x.shape[2])), y.gather(1, pick.expand(-1, -1, y.shape[2]))
            mask, qc, qs = seen.gather(1, pick.expand(-1, -1, t)), cos[at][:, None], sin[at][:, None]
        q = F.linear(y, a.q_proj.weight).view(n, -1, heads, width).transpose(1, 2)
        q = rotate(q, qc.to(q.dtype), qs.to(q.dtype))
        o = attend(q, k.repeat_interleave(heads // kv, 1), v.repeat_interleave(heads // kv, 1), mask[:, None])
        x = x + a.o_proj(o.transpose(1, 2).flatten(2))
        m = layer.mlp
        y = norm(layer.post_attention_layernorm, x)
        x = x + m.down_proj(F.gelu(m.gate_proj(y), approximate="tanh") * m.up_proj(y))
    return norm(gemma.norm, x), answer, picture


@torch.no_grad()
def check(model, pixels, rows, image):
    """The largest difference from transformers' logits at the answers, as a share of the largest logit. rows are (prefix,
    suffix) token lists, one for each picture."""
    worst = 0
    for i, (prefix, suffix) in enumerate(rows):
        ids = torch.tensor([prefix + suffix])
        kinds = torch.tensor([[0] * len(prefix) + [1] * len(suffix)])
        want = model(input_ids=ids, pixel_values=pixels[i:i + 1], attention_mask=torch.ones_like(ids), token_type_ids=kinds).logits[0]
        at = torch.arange(len(prefix) - 1, ids.shape[1] - 1)
        features = model.model.multi_modal_projector(vision(model.model.vision_tower, pixels[i:i + 1])[0])
        got = model.lm_head(text(model, features, ids, torch.tensor([len(prefix)]), torch.tensor([ids.shape[1]]), at[None])[0])[0]
        worst = max(worst, ((got - want[at]).abs().max() / want.abs().max()).item())
    return worst
