#!/usr/bin/env python3
"""Trains the built-in model and exports it as a checkpoint; README.md says how.

Three phases, each resumable: the mask codec; SigLIP alone on labels of its patches; everything together on prompts and
answers. A phase is finished when its steps are done; state.pt in --work has everything needed to go on.
"""
import argparse
import json
import math
import os
import random
import subprocess
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import (GemmaConfig, GemmaTokenizer, GenerationConfig, PaliGemmaConfig, PaliGemmaForConditionalGeneration,
                          PaliGemmaProcessor, SiglipImageProcessor, SiglipVisionConfig)
from transformers.modeling_outputs import BaseModelOutputWithPooling

import codec as mask_codec
import scenes
import tokens

HERE = os.path.dirname(os.path.abspath(__file__))
PATCH = 14


def options():
    p = argparse.ArgumentParser()
    p.add_argument("--work", default="build/train_demo", help="folder of checkpoints and of the export")
    p.add_argument("--size", type=int, default=112, help="side of the pictures, a multiple of 14")
    p.add_argument("--vision", type=int, nargs=4, default=[256, 512, 3, 4], help="SigLIP: hidden, MLP, layers, heads")
    p.add_argument("--text", type=int, nargs=4, default=[256, 512, 3, 4], help="Gemma: hidden, MLP, layers, heads")
    p.add_argument("--codec-steps", type=int, default=3000)
    p.add_argument("--tower-steps", type=int, default=3000)
    p.add_argument("--joint-steps", type=int, default=6000)
    p.add_argument("--batch", type=int, default=48, help="pictures a step, tower alone")
    p.add_argument("--joint-batch", type=int, default=16, help="pictures a step, everything")
    p.add_argument("--prompts", type=int, default=4, help="prompts for each picture")
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--tower-rate", type=float, default=0.3, help="the tower's rate in the joint phase, as a share of --rate")
    p.add_argument("--spell", action="store_true", help="spell the words on signs letter by letter")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--save-every", type=float, default=120, help="seconds between checkpoints")
    p.add_argument("--device", default="cpu")
    return p.parse_args()


class Trainer:
    def __init__(self, o):
        self.o = o
        os.makedirs(o.work, exist_ok=True)
        torch.set_num_threads(o.threads)
        torch.manual_seed(o.seed)
        self.program = os.path.join(os.path.abspath(o.work), "draw")
        subprocess.run(["go", "build", "-o", self.program, "./draw"], cwd=HERE, check=True)
        vocabulary = subprocess.run([self.program, "-words"], check=True, capture_output=True, text=True).stdout.split()
        signs = subprocess.run([self.program, "-sign-words"], check=True, capture_output=True, text=True).stdout.split() if o.spell else []
        self.tok = tokens.build(vocabulary, signs)
        self.image = self.tok.token_to_id("<image>")
        self.patches = (o.size // PATCH) ** 2
        self.codec = mask_codec.Codec().to(o.device)
        self.model = self.build().to(o.device)
        hidden = o.vision[0]
        self.head = nn.Linear(hidden, 3 + len(scenes.COLORS) + len(scenes.SHAPES) + len(scenes.SIZES) + 4).to(o.device)
        self.state = {"phase": 0, "step": 0, "scene": 0}
        self.optimizer = None
        self.saved = time.time()

    def build(self):
        o = self.o
        rows = -(-(self.image + 1) // 64) * 64
        hidden, mlp, layers, heads = o.text
        text = GemmaConfig(vocab_size=rows, hidden_size=hidden, intermediate_size=mlp, num_hidden_layers=layers, num_attention_heads=heads,
                           num_key_value_heads=1, head_dim=hidden // heads, hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True,
                           pad_token_id=0, bos_token_id=2, eos_token_id=1)
        vh, vm, vl, va = o.vision
        vision = SiglipVisionConfig(hidden_size=vh, intermediate_size=vm, num_hidden_layers=vl, num_attention_heads=va, image_size=o.size,
                                    patch_size=PATCH, vision_use_head=False, hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6)
        config = PaliGemmaConfig(vision_config=vision, text_config=text, image_token_index=self.image, vocab_size=rows, projection_dim=hidden,
                                 hidden_size=hidden, bos_token_id=2, eos_token_id=1, pad_token_id=0)
        model = PaliGemmaForConditionalGeneration(config)
        with torch.no_grad():
            table = model.get_input_embeddings().weight
            table.normal_(0, 0.02)
            first = self.tok.token_to_id("<loc0000>")
            table[first:first + 1024] = smooth_rows(hidden) * 0.02 * hidden ** 0.5
            for k in ("patch_embedding.weight", "position_embedding.weight"):
                p = next(v for n, v in model.named_parameters() if n.endswith(k))
                p.normal_(0, 0.02 if "position" in k else 1 / math.sqrt(3 * PATCH * PATCH))
        return model

    # --- checkpoints ---

    def save(self):
        path = os.path.join(self.o.work, "state.pt")
        torch.save({"state": self.state, "model": self.model.state_dict(), "head": self.head.state_dict(), "codec": self.codec.state_dict(),
                    "optimizer": self.optimizer and self.optimizer.state_dict(), "random": torch.get_rng_state()}, path + ".new")
        os.replace(path + ".new", path)
        self.saved = time.time()

    def load(self):
        path = os.path.join(self.o.work, "state.pt")
        if not os.path.exists(path):
            return None
        s = torch.load(path, map_location=self.o.device, weights_only=True)
        self.state = s["state"]
        self.model.load_state_dict(s["model"])
        self.head.load_state_dict(s["head"])
        self.codec.load_state_dict(s["codec"])
        torch.set_rng_state(s["random"].cpu())
        print(f"goes on at phase {self.state['phase']}, step {self.state['step']}, scene {self.state['scene']}", flush=True)
        return s["optimizer"]

    # --- phases ---

    def run(self):
        o, kept = self.o, self.load()
        phases = [("codec", o.codec_steps, o.batch, self.codec_step, [(self.codec, 1)]),
                  ("tower", o.tower_steps, o.batch, self.tower_step, [(self.model.model.vision_tower, 1), (self.head, 1)]),
                  ("joint", o.joint_steps, o.joint_batch, self.joint_step,
                   [(self.model.model.language_model, 1), (self.model.model.multi_modal_projector, 1),
                    (self.model.model.vision_tower, o.tower_rate), (self.head, 1)])]
        while self.state["phase"] < len(phases):
            self.phase(*phases[self.state["phase"]], kept)
            kept = None
            self.state["phase"] += 1
            self.state["step"] = 0
            self.optimizer = None
            self.save()
        self.export()

    def phase(self, name, steps, batch, step, parts, kept):
        o, s = self.o, self.state
        groups = [{"params": [p for p in m.parameters() if p.requires_grad], "share": share} for m, share in parts]
        self.optimizer = torch.optim.AdamW(groups, lr=o.rate, betas=(0.9, 0.98), weight_decay=0.01)
        if kept:
            self.optimizer.load_state_dict(kept)
        stream = scenes.Stream(self.program, s["scene"], o.size)
        average, since = {}, time.time()
        for m, _ in parts:
            m.train()
        try:
            while s["step"] < steps:
                rate = o.rate * min(1, (s["step"] + 1) / max(1, min(200, steps // 10))) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * s["step"] / steps)))
                for g in self.optimizer.param_groups:
                    g["lr"] = rate * g["share"]
                loss, notes = step(stream.take(batch))
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], 1.0)
                self.optimizer.step()
                s["step"] += 1
                s["scene"] += batch
                for k, v in notes.items():
                    average[k] = v if k not in average else 0.95 * average[k] + 0.05 * v
                if s["step"] % max(1, min(50, steps // 5)) == 0:
                    took, since = time.time() - since, time.time()
                    print(f"{name} {s['step']}/{steps} " + " ".join(f"{k} {v:.3f}" for k, v in average.items()) + f" ({took:.0f} s)", flush=True)
                if time.time() - self.saved > o.save_every:
                    self.save()
        finally:
            stream.close()

    def codec_step(self, batch):
        masks = torch.from_numpy(np.concatenate([r["crops"] for r in batch])).to(self.o.device).float() / 255
        logits, commit = self.codec(masks)
        loss = F.binary_cross_entropy_with_logits(logits, masks)
        return loss + 0.25 * commit, {"loss": loss.item(), "iou": mask_codec.iou(logits, masks)}

    def look(self, batch):
        """The tower's features of a batch, and the auxiliary loss: what each patch shows."""
        x = torch.from_numpy(scenes.pixels(batch)).to(self.o.device)
        label = {k: torch.from_numpy(v).to(self.o.device).flatten(0, 1) for k, v in scenes.patch_labels(batch, PATCH).items()}
        with torch.autocast(self.o.device, torch.bfloat16):
            seen = self.model.model.vision_tower(x).last_hidden_state
        kind, color, shape, size, box = self.head(seen.float()).flatten(0, 1).split([3, len(scenes.COLORS), len(scenes.SHAPES), len(scenes.SIZES), 4], 1)
        thing, object = label["kind"] > 0, label["kind"] == 1
        loss = F.cross_entropy(kind, label["kind"])
        notes = {"kind": (kind.argmax(1) == label["kind"]).float().mean().item()}
        if object.any():
            for name, out in (("color", color), ("shape", shape), ("size", size)):
                loss = loss + F.cross_entropy(out[object], label[name][object])
                notes[name] = (out[object].argmax(1) == label[name][object]).float().mean().item()
        if thing.any():
            off = (box[thing] - label["box"][thing]).abs()
            loss = loss + 5 * F.smooth_l1_loss(box[thing], label["box"][thing], beta=0.05)
            notes["box_px"] = off.mean().item() * self.o.size
        return seen, loss, {"aux": loss.item(), **notes}

    def tower_step(self, batch):
        _, loss, notes = self.look(batch)
        return loss, notes

    def texts(self, batch):
        """For each picture as many samples as --prompts, by chance but the same on every run; codes put in."""
        with torch.no_grad():
            codes = [self.codec.encode(torch.from_numpy(r["crops"]).to(self.o.device).float() / 255).tolist() for r in batch]
        for r, mine in zip(batch, codes):
            rng = random.Random(r["scene"]["seed"])
            for s in rng.sample(r["samples"], min(self.o.prompts, len(r["samples"]))) + rng.choices(r["samples"], k=max(0, self.o.prompts - len(r["samples"]))):
                answer = s["answer"]
                if s["task"] == "segment" and s["object"] >= 0:
                    answer = answer.replace("<codes>", "".join(f"<seg{c:03d}>" for c in mine[s["object"]]))
                yield s["prompt"], answer

    def joint_step(self, batch):
        seen, aux, notes = self.look(batch)
        rows = []
        for prompt, answer in self.texts(batch):
            prefix = [self.image] * self.patches + [2] + self.tok.encode(prompt + "\n", add_special_tokens=False).ids
            suffix = self.tok.encode(answer, add_special_tokens=False).ids + [1]
            rows.append((prefix, suffix))
        width = max(len(a) + len(b) for a, b in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        kinds, mask, labels = torch.ones_like(ids), torch.zeros_like(ids), torch.full_like(ids, -100)
        for i, (a, b) in enumerate(rows):
            n = len(a) + len(b)
            ids[i, :n], mask[i, :n], kinds[i, :len(a)] = torch.tensor(a + b), 1, 0
            labels[i, len(a) - 1:n - 1] = torch.tensor(b)  # each position predicts the next token
        ids, kinds, mask, labels = (t.to(self.o.device) for t in (ids, kinds, mask, labels))
        with torch.autocast(self.o.device, torch.bfloat16):
            features = self.model.model.multi_modal_projector(seen).repeat_interleave(self.o.prompts, 0)
            out = self.model.model(input_ids=ids, attention_mask=mask, token_type_ids=kinds, use_cache=False,
                                   mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=features)}).last_hidden_state
            at = labels >= 0
            logits = self.model.lm_head(out[at])
        loss = F.cross_entropy(logits.float(), labels[at])
        right = (logits.argmax(1) == labels[at]).float().mean().item()
        return loss + 0.3 * aux, {"loss": loss.item(), "tokens": right, **notes}

    # --- export ---

    def export(self):
        o, out = self.o, os.path.join(self.o.work, "checkpoint")
        os.makedirs(out, exist_ok=True)
        self.tok.save(os.path.join(out, "tokenizer.json"))
        with open(os.path.join(out, "tokenizer_config.json"), "w") as f:
            json.dump({"tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>",
                       "add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False, "model_max_length": 10 ** 18,
                       "padding_side": "left", "additional_special_tokens": ["<image>"]}, f)
        images = SiglipImageProcessor(size={"height": o.size, "width": o.size}, image_seq_length=self.patches, do_convert_rgb=True)
        processor = PaliGemmaProcessor(image_processor=images, tokenizer=GemmaTokenizer.from_pretrained(out))
        self.model.generation_config = GenerationConfig(bos_token_id=2, eos_token_id=1, pad_token_id=0)
        self.model.float().save_pretrained(out)
        processor.save_pretrained(out)
        self.codec.save_npz(os.path.join(o.work, "codec.npz"))
        count = sum(p.numel() for p in self.model.parameters())
        print(f"{out}: {count / 1e6:.2f} M parameters; mask codec: {os.path.join(o.work, 'codec.npz')}", flush=True)


def smooth_rows(width):
    """Rows of <loc0000> to <loc1023>: sines and cosines of the value, half a turn to 256 turns over the whole range, so
    that neighbours are alike; of length 1."""
    turns = torch.logspace(-1, 8, width // 2, base=2.0)
    angle = 2 * math.pi * torch.linspace(0, 1, 1024)[:, None] * turns
    fade = (1 + turns).rsqrt()
    rows = torch.cat([angle.sin() * fade, angle.cos() * fade], 1)
    return rows / rows.norm(dim=1, keepdim=True)


if __name__ == "__main__":
    Trainer(options()).run()
