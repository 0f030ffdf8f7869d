#!/usr/bin/env python3
"""transformers' PaliGemma with random weights, at another program's word: bench.py starts it and says whose turn it is.

On a GPU (--device cuda) every part ends with the device's last kernel. It first writes a line of JSON about itself. Then each line on standard input is a turn: one repetition that warms up, one that
counts, and a line of JSON with the names of `paligemma bench`. A line of JSON with "batch" is a turn over many pictures. Between
turns it is blocked on standard input.
"""
import argparse
import io
import json
import os
import platform
import resource
import statistics
import sys
import time

import torch
import transformers
from PIL import Image
from transformers import DynamicCache, PaliGemmaConfig, PaliGemmaForConditionalGeneration, SiglipImageProcessor, StaticCache
from transformers.initialization import no_init_weights

PROMPT, CAPTION, DECODE = 8, 20, 20  # tokens after those of the image; of the caption; steps of decoding: as `paligemma bench`


def gemma(hidden, mlp, layers, heads, kv, dim, **more):
    return dict(model_type="gemma", hidden_size=hidden, intermediate_size=mlp, num_hidden_layers=layers, num_attention_heads=heads,
                num_key_value_heads=kv, head_dim=dim, **more)


def gemma2(*sizes):
    return gemma(*sizes) | dict(model_type="gemma2", query_pre_attn_scalar=sizes[-1], sliding_window=4096,
                                attn_logit_softcapping=50.0, final_logit_softcapping=30.0)


def siglip(hidden, mlp, layers, heads):
    return dict(model_type="siglip_vision_model", hidden_size=hidden, intermediate_size=mlp, num_hidden_layers=layers,
                num_attention_heads=heads, patch_size=14, vision_use_head=False)


# The models of `paligemma bench --synthetic`: language model, tower, rows of the embedding.
FAMILIES = {"3b": (gemma(2048, 16384, 18, 8, 1, 256), siglip(1152, 4304, 27, 16), 257216),
            "pg2-3b": (gemma2(2304, 9216, 26, 8, 4, 256), siglip(1152, 4304, 27, 16), 257216),
            "pg2-10b": (gemma2(3584, 14336, 42, 16, 8, 256), siglip(1152, 4304, 27, 16), 257216),
            "tiny": (gemma(256, 512, 2, 4, 2, 64), siglip(144, 272, 2, 4), 2240),
            "pg2-tiny": (gemma2(256, 512, 2, 4, 2, 64), siglip(144, 272, 2, 4), 2240)}


def config(family, pixels):
    text, vision, vocab = FAMILIES[family]
    return PaliGemmaConfig(text_config=dict(text, vocab_size=vocab), vision_config=dict(vision, image_size=pixels),
                           projection_dim=text["hidden_size"], hidden_size=text["hidden_size"], vocab_size=vocab,
                           image_token_index=vocab - 64, pad_token_id=0, eos_token_id=1, bos_token_id=2)


@torch.no_grad()
def fill(model):
    """Random weights in place: normal(0, 0.02), one block over and over, of a length that sets all rows apart. Gemma's norms
    multiply by 1 + w, LayerNorm by w."""
    block = torch.empty(2**22 + 1, dtype=model.dtype).normal_(0, 0.02, generator=torch.Generator().manual_seed(7)).to(model.device)
    for p in model.parameters():
        for part in p.view(-1).split(len(block)):
            part.copy_(block[:len(part)])
    for m in model.modules():
        if isinstance(m, torch.nn.LayerNorm):
            m.weight.add_(1)


class Peer:
    """A model, a picture and a prompt, and what is measured of them."""

    def __init__(self, o):
        self.dtype, self.device, self.compiled = getattr(torch, o.dtype), torch.device(o.device), o.compile
        with open(o.image, "rb") as f:
            self.picture = f.read()
        c = config(o.family, o.pixels)
        if self.compiled:
            # Layers with a window count their tokens in Python, and each count would be compiled anew; these texts are shorter than the window.
            c.text_config.layer_types = ["full_attention"] * c.text_config.num_hidden_layers
            if hasattr(torch._dynamo.config, "fail_on_recompile_limit_hit"):  # in place of going on as if nothing were compiled
                torch._dynamo.config.fail_on_recompile_limit_hit = True
        # transformers' Gemma 2 has no SDPA, because of the capped scores, and generate fails with a static cache (5.23).
        capped = c.text_config.model_type == "gemma2"
        with no_init_weights(), self.device:
            self.model = PaliGemmaForConditionalGeneration._from_config(
                c, dtype=self.dtype, attn_implementation={"": "sdpa", "vision_config": "sdpa", "text_config": "eager" if capped else "sdpa"}).eval()
        self.model.tie_weights()
        fill(self.model)
        self.attention = [m.config._attn_implementation for m in (self.model.model.vision_tower, self.model.model.language_model)]
        self.processor = SiglipImageProcessor(size={"height": o.pixels, "width": o.pixels}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
        image = (o.pixels // c.vision_config.patch_size) ** 2
        random = torch.randint(4, c.text_config.vocab_size - 64, (PROMPT - 1,), generator=torch.Generator().manual_seed(1))
        self.ids = torch.tensor([[c.image_token_id] * image + [c.bos_token_id] + random.tolist()], device=self.device)
        self.types, self.mask = torch.zeros_like(self.ids), torch.ones_like(self.ids)  # all of it is the prefix, nothing is padding
        self.encode, self.forward = self.model.get_image_features, self.model.__call__
        if self.compiled:  # shapes are fixed: one graph for the prompt, one for a token
            self.encode, self.forward = (torch.compile(f, mode="reduce-overhead", dynamic=False) for f in (self.encode, self.model.forward))
        self.kept = None
        self.static = o.cache == "static" or o.cache == "auto" and not capped and self.static_is_faster()

    def cache(self):
        c = self.model.config
        if not self.static:
            return DynamicCache(config=c)
        if self.kept is not None and self.compiled:  # at another address the graphs would be made anew
            self.kept.reset()
        else:
            self.kept = StaticCache(config=c, max_cache_len=self.ids.shape[1] + DECODE + 1)
        return self.kept

    def clock(self):
        """The time, once the device has nothing left to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def begin(self):
        """Begins a pass: what the one before returned may be overwritten."""
        if self.compiled:
            torch.compiler.cudagraph_mark_step_begin()

    def static_is_faster(self):
        """Tries both kinds of cache, in turns, and takes the one that decodes faster; the first turn warms up."""
        rates = {False: [], True: []}
        for turn in range(3):
            for self.static in rates:
                rates[self.static].append(self.parts()["decode_tok_s"])
        self.tried = {("static" if k else "dynamic"): v for k, v in rates.items()}
        return statistics.mean(rates[True][1:]) > statistics.mean(rates[False][1:])

    def pixels(self, *pictures):
        images = [Image.open(io.BytesIO(p)).convert("RGB") for p in pictures or [self.picture]]
        return self.processor(images=images, return_tensors="pt")["pixel_values"].to(self.device, self.dtype)

    @torch.inference_mode()
    def parts(self):
        """Picture, tower and projector, prefill and decoding, each by itself."""
        start = self.clock()
        pixels = self.pixels()
        image = self.clock() - start

        self.begin()
        start = self.clock()
        features = self.encode(pixels).pooler_output
        vision = self.clock() - start

        embeds = self.model.get_input_embeddings()(self.ids)
        embeds = embeds.masked_scatter((self.ids == self.model.config.image_token_id).unsqueeze(-1), features)
        cache = self.cache()
        self.begin()
        start = self.clock()
        out = self.forward(inputs_embeds=embeds, token_type_ids=self.types, attention_mask=self.mask, past_key_values=cache,
                           use_cache=True, logits_to_keep=1)
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        prefill = self.clock() - start
        if not out.logits.isfinite().all():
            sys.exit("the logits are not finite")

        self.tokens = [token.item()]
        start = self.clock()
        for _ in range(DECODE):
            self.begin()
            token = self.forward(input_ids=token, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1].argmax(-1, keepdim=True)
            self.tokens.append(token.item())
        decode = self.clock() - start
        return {"image_ms": 1e3 * image, "vision_ms": 1e3 * vision, "prefill_ms": 1e3 * prefill, "decode_tok_s": DECODE / decode}

    @torch.inference_mode()
    def generate(self, pictures, tokens):
        """From the bytes of pictures, which are one batch, to the last token: the tokens of each."""
        more = {"cache_implementation": "static", "disable_compile": True} if self.static else {}
        n = len(pictures)
        out = self.model.generate(input_ids=self.ids.expand(n, -1), pixel_values=self.pixels(*pictures), token_type_ids=self.types.expand(n, -1),
                                  attention_mask=self.mask.expand(n, -1), do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens, **more)
        return out[:, self.ids.shape[1]:]

    def caption(self):
        start = self.clock()
        out = self.generate([self.picture], CAPTION)
        took = self.clock() - start
        self.generated = out[0].tolist()
        if len(self.generated) != CAPTION:
            sys.exit(f"{len(self.generated)} tokens in place of {CAPTION}")
        return {"caption20_ms": 1e3 * took}

    def batch(self, size, tokens, paths):
        """The same prompt for the pictures of files, size at a time: milliseconds for each."""
        start = time.perf_counter()
        for i in range(0, len(paths), size):
            pictures = []
            for path in paths[i:i + size]:
                with open(path, "rb") as f:
                    pictures.append(f.read())
            if self.generate(pictures, tokens).shape != (len(pictures), tokens):
                sys.exit("generate ended early")
        return {"image_ms": 1e3 * (time.perf_counter() - start) / len(paths)}

    def turn(self):
        """Everything, once to warm up and once that counts. Compiled, the parts alone: generate would compile its own,
        and graphs are replayed from the third time on."""
        if self.compiled:
            return [self.parts() for _ in range(4)][-1]
        return [self.caption() | self.parts() for _ in range(2)][-1]

    def about(self):
        return {"parameters": sum(p.numel() for p in self.model.parameters()), "prefill_tokens": self.ids.shape[1],
                "cache": "static" if self.static else "dynamic", "cache_tried": getattr(self, "tried", None),
                "attention": self.attention, "compiled": self.compiled, "device": torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu",
                "threads": torch.get_num_threads(), "python": platform.python_version(),
                "torch": torch.__version__, "transformers": transformers.__version__,
                "cpu_capability": torch.backends.cpu.get_cpu_capability(), "onednn": torch.backends.mkldnn.is_available()}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--family", choices=FAMILIES)
    p.add_argument("--pixels", type=int)
    p.add_argument("--image")
    p.add_argument("--dtype")
    p.add_argument("--threads", type=int)
    p.add_argument("--cache", choices=("auto", "dynamic", "static"))
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    p.add_argument("--compile", action="store_true", help="torch.compile; wants --cache static")
    o = p.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed must not come between
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(o.threads)
    torch.set_num_interop_threads(1)
    peer = Peer(o)
    print(json.dumps(peer.about()), file=answers, flush=True)
    idle = time.process_time()
    for line in sys.stdin:
        idle = time.process_time() - idle
        if line.startswith("{"):
            turn = json.loads(line)
            measured = peer.batch(turn["batch"], turn["tokens"], turn["images"])
        else:
            measured = peer.turn()
        measured["idle_cpu_s"] = idle  # spent while it was not its turn
        measured["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        print(json.dumps(measured), file=answers, flush=True)
        idle = time.process_time()


if __name__ == "__main__":
    main()
