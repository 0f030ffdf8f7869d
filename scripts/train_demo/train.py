#!/usr/bin/env python3
"""Trains the built-in model and exports it as a checkpoint; README.md says how.

Three phases, each resumable: the mask codec; SigLIP alone on labels of its patches; everything together on prompts and
answers. A phase is finished when its steps are done; state.pt in --work has everything needed to go on.
"""
import argparse
import json
import math
import os
import subprocess
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import (GemmaConfig, GemmaTokenizer, GenerationConfig, PaliGemmaConfig, PaliGemmaForConditionalGeneration,
                          PaliGemmaProcessor, SiglipImageProcessor, SiglipVisionConfig)

import codec as mask_codec
import net
import places
import scenes
import tokens
from head import Head

OFTEN = {"yesno": 2}  # how often a kind of question is asked, in shares of the others
HERE = os.path.dirname(os.path.abspath(__file__))


def options():
    p = argparse.ArgumentParser()
    p.add_argument("--work", default="build/train_demo", help="folder of checkpoints and of the export")
    p.add_argument("--size", type=int, default=144, help="side of the pictures, a multiple of --patch")
    p.add_argument("--patch", type=int, default=12, help="side of a patch, even")
    p.add_argument("--vision", type=int, nargs=4, default=[256, 512, 3, 4], help="SigLIP: hidden, MLP, layers, heads")
    p.add_argument("--text", type=int, nargs=5, default=[256, 256, 3, 8, 4], help="Gemma: hidden, MLP, layers, heads, key-value heads")
    p.add_argument("--scenes", type=int, default=72000, help="scenes to draw for training")
    p.add_argument("--held-out", type=int, default=400, help="scenes to watch the scores on")
    p.add_argument("--codec-steps", type=int, default=2000)
    p.add_argument("--tower-steps", type=int, default=7000)
    p.add_argument("--joint-steps", type=int, default=5500)
    p.add_argument("--codec-batch", type=int, default=48, help="masks a step")
    p.add_argument("--batch", type=int, default=32, help="pictures a step, tower alone")
    p.add_argument("--joint-batch", type=int, default=16, help="pictures a step, everything")
    p.add_argument("--prompts", type=int, default=4, help="prompts for each picture")
    p.add_argument("--rate", type=float, default=1.5e-3)
    p.add_argument("--matrix-rate", type=float, default=5e-3, help="of Muon, for matrices")
    p.add_argument("--joint-rate", type=float, default=0.5, help="share of the rates in the joint phase")
    p.add_argument("--tower-rate", type=float, default=0.1, help="share of these for the tower")
    p.add_argument("--handicap", type=float, default=3, help="what an empty answer's logit is raised by where a coordinate may be due")
    p.add_argument("--astray", type=float, default=0.5, help="share of the codes of a mask that are others than the answer's where the next is asked for")
    p.add_argument("--spread", type=float, default=6, help="standard deviation of a coordinate's target, of 1024 places")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--save-every", type=float, default=180, help="seconds between checkpoints")
    p.add_argument("--look-every", type=int, default=500, help="steps between looks at held-out scenes")
    return p.parse_args()


class Trainer:
    def __init__(self, o):
        self.o = o
        self.began = time.time()
        os.makedirs(o.work, exist_ok=True)
        torch.set_num_threads(o.threads)
        torch.manual_seed(o.seed)
        program = os.path.join(os.path.abspath(o.work), "draw")
        subprocess.run(["go", "build", "-o", program, "./draw"], cwd=HERE, check=True)
        words, signs = (subprocess.run([program, w], check=True, capture_output=True, text=True).stdout.split() for w in ("-words", "-sign-words"))
        signs = sorted(set(signs))
        self.pool = scenes.Pool(program, os.path.join(o.work, "scenes"), o.scenes, o.size, o.patch, signs, sign_every=3, workers=o.threads)
        self.held_out = scenes.Pool(program, os.path.join(o.work, "held-out"), o.held_out, o.size, o.patch, signs, eval=1 << 20, workers=o.threads)
        print(f"{len(self.pool)} scenes drawn ({self.minutes():.1f} min)", flush=True)
        self.tok = tokens.build(words)
        self.image = self.tok.token_to_id("<image>")
        self.loc = self.tok.token_to_id("<loc0000>")
        self.patches = (o.size // o.patch) ** 2
        self.codec = mask_codec.Codec()
        self.model = self.build()
        self.head = Head(o.vision[0], len(signs), o.patch)
        self.turn, self.say = nn.Linear(o.text[0], places.TURNS), nn.Linear(o.text[0], places.TURNS)
        self.codes = self.alike = None
        self.text = torch.compile(net.text, dynamic=True)
        self.state = {"phase": 0, "step": 0}
        self.optimizer = None
        self.saved = time.time()

    def minutes(self):
        return (time.time() - self.began) / 60

    def build(self):
        o = self.o
        rows = -(-(self.image + 1) // 32) * 32
        hidden, mlp, layers, heads, kv = o.text
        text = GemmaConfig(vocab_size=rows, hidden_size=hidden, intermediate_size=mlp, num_hidden_layers=layers, num_attention_heads=heads,
                           num_key_value_heads=kv, head_dim=hidden // heads, hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True,
                           pad_token_id=0, bos_token_id=2, eos_token_id=1)
        vh, vm, vl, va = o.vision
        vision = SiglipVisionConfig(hidden_size=vh, intermediate_size=vm, num_hidden_layers=vl, num_attention_heads=va, image_size=o.size,
                                    patch_size=o.patch, vision_use_head=False, hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6)
        config = PaliGemmaConfig(vision_config=vision, text_config=text, image_token_index=self.image, vocab_size=rows, projection_dim=hidden,
                                 hidden_size=hidden, bos_token_id=2, eos_token_id=1, pad_token_id=0)
        model = PaliGemmaForConditionalGeneration(config)
        with torch.no_grad():
            table = model.get_input_embeddings().weight
            table.normal_(0, 0.02)
            table[self.loc:self.loc + 1024] = smooth_rows(hidden) * 0.02 * hidden ** 0.5
            see_edges(model.model.vision_tower, self.pool)
            look_at_neighbors(model.model.vision_tower)
        return model

    # --- checkpoints ---

    def save(self):
        path = os.path.join(self.o.work, "state.pt")
        torch.save({"state": self.state, "model": self.model.state_dict(), "head": self.head.state_dict(), "turn": self.turn.state_dict(), "say": self.say.state_dict(), "codec": self.codec.state_dict(),
                    "optimizer": self.optimizer and self.optimizer.state_dict(), "random": torch.get_rng_state()}, path + ".new")
        os.replace(path + ".new", path)
        self.saved = time.time()

    def load(self):
        path = os.path.join(self.o.work, "state.pt")
        if not os.path.exists(path):
            return None
        s = torch.load(path, weights_only=True)
        self.state = s["state"]
        self.model.load_state_dict(s["model"])
        self.head.load_state_dict(s["head"])
        self.turn.load_state_dict(s["turn"])
        self.say.load_state_dict(s["say"])
        self.codec.load_state_dict(s["codec"])
        torch.set_rng_state(s["random"])
        print(f"goes on at phase {self.state['phase']}, step {self.state['step']}", flush=True)
        return s["optimizer"]

    # --- phases ---

    def run(self):
        o, kept = self.o, self.load()
        inner = self.model.model
        together = ([(m, o.joint_rate) for m in (inner.language_model, inner.multi_modal_projector, self.turn, self.say)]
                    + [(m, o.joint_rate * o.tower_rate) for m in (inner.vision_tower, self.head)])
        phases = [("codec", o.codec_steps, self.codec_step, [(self.codec, 1)]),
                  ("tower", o.tower_steps, self.tower_step, [(inner.vision_tower, 1), (self.head, 1)]),
                  ("joint", o.joint_steps, self.joint_step, together)]
        while self.state["phase"] < len(phases):
            if self.state["phase"] == 2:
                self.codes = encode_all(self.codec, self.pool)
                self.alike = (-0.5 * torch.cdist(self.codec.codebook, self.codec.codebook) ** 2).softmax(1)
                rows = [self.tokens_of(s["prompt"], s["answer"]) for s in (p[0] for p in self.held_out.samples[:4])]
                print(f"off transformers by {net.check(self.model.eval(), torch.from_numpy(self.held_out.input(slice(0, 4))), rows, self.image):.1e}", flush=True)
            self.phase(*phases[self.state["phase"]], kept)
            kept = None
            self.state["phase"] += 1
            self.state["step"] = 0
            self.optimizer = None
            self.save()
        self.export()

    def phase(self, name, steps, step, parts, kept):
        o, s = self.o, self.state
        self.optimizer = Optimizer(parts, o.rate, o.matrix_rate, rounds=4 if name == "joint" else 5)
        if kept:
            self.optimizer.load_state_dict(kept)
        average, since = {}, time.time()
        for m, _ in parts:
            m.train()
        while s["step"] < steps:
            warm = min(1, (s["step"] + 1) / max(1, min(300, steps // 10)))
            loss, notes = step(np.random.default_rng([o.seed, s["phase"], s["step"]]))
            loss.backward()
            self.optimizer.step(warm * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * s["step"] / steps))))
            s["step"] += 1
            for k, v in notes.items():
                average[k] = v if k not in average else 0.98 * average[k] + 0.02 * v
            if s["step"] % max(1, min(100, steps // 5)) == 0:
                took, since = time.time() - since, time.time()
                print(f"{name} {s['step']}/{steps} " + " ".join(f"{k} {v:.3f}" for k, v in average.items()) + f" ({took:.0f} s; {self.minutes():.1f} min)", flush=True)
            if name == "joint" and (s["step"] % o.look_every == 0 or s["step"] == steps):
                self.look_at_held_out()
            if time.time() - self.saved > o.save_every:
                self.save()

    def codec_step(self, rng):
        masks = torch.from_numpy(self.pool.crops[rng.integers(0, len(self.pool.crops), self.o.codec_batch)]).float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            logits, commit = self.codec(masks)
        logits = logits.float()
        loss = F.binary_cross_entropy_with_logits(logits, masks)
        return loss + 0.25 * commit, {"loss": loss.item(), "iou": mask_codec.iou(logits, masks)}

    def look(self, at):
        """The tower's features of scenes, and the auxiliary loss: what each patch shows."""
        with torch.autocast("cpu", torch.bfloat16):
            seen, early = net.vision(self.model.model.vision_tower, torch.from_numpy(self.pool.input(at)))
            loss, notes = self.head(seen, early, self.pool.labels(at), self.o.size)
        return seen, loss, notes

    def tower_step(self, rng):
        _, loss, notes = self.look(rng.integers(0, len(self.pool), self.o.batch))
        return loss, notes

    def tokens_of(self, prompt, answer):
        return ([self.image] * self.patches + [2] + self.tok.encode(prompt + "\n", add_special_tokens=False).ids,
                self.tok.encode(answer, add_special_tokens=False).ids + [1])

    def texts(self, i, rng):
        """Prompts and answers for a scene: a caption, boxes, a question, and a mask or the words on its sign."""
        kinds = {}
        for s in self.pool.samples[i]:
            kinds.setdefault(s["task"], []).append(s)
        last = "ocr" if "ocr" in kinds and rng.random() < 0.85 or "segment" not in kinds else "segment"
        picks = ["caption", "detect", "vqa", last if last in kinds else "detect"][:self.o.prompts]
        for task in picks + ["vqa"] * (self.o.prompts - len(picks)):
            often = np.array([OFTEN.get(s.get("kind"), 1) for s in kinds[task]])
            s = kinds[task][rng.choice(len(often), p=often / often.sum())]
            answer = s["answer"]
            if task == "segment" and s["object"] >= 0:
                answer = answer.replace("<codes>", "".join(f"<seg{c:03d}>" for c in self.codes[self.pool.first[i] + s["object"]]))
            row = self.tokens_of(s["prompt"], answer)
            labels = {k: getattr(self.pool, k)[i] for k in ("kind", "color", "shape", "box")}
            said = places.said(s, [self.tok.id_to_token(t) for t in row[1][:-1]], labels) + [-100]
            yield row, said, places.turns(s, labels), task in ("detect", "segment")

    def predict(self, features, rows, text=net.text, astray=0):
        """Logits for the answers of rows, their tokens, which row each is of, and what there was before the last layer, of the
        answers and of the picture. features are the projected ones, for each row."""
        t, m = max(len(a) + len(b) for a, b in rows), max(len(b) for _, b in rows)
        ids, at, labels = torch.zeros(len(rows), t, dtype=torch.long), torch.zeros(len(rows), m, dtype=torch.long), torch.full((len(rows), m), -1)
        for i, (a, b) in enumerate(rows):
            ids[i, :len(a) + len(b)] = torch.tensor(a + b)
            at[i, :len(b)], labels[i, :len(b)] = torch.arange(len(a) - 1, len(a) + len(b) - 1), torch.tensor(b)
        lengths = [torch.tensor(n) for n in ([len(a) for a, _ in rows], [len(a) + len(b) for a, b in rows])]
        code = (ids >= self.loc + 1024) & (ids < self.loc + 1152) & (torch.rand(ids.shape) < astray)
        ids = torch.where(code, torch.randint_like(ids, self.loc + 1024, self.loc + 1152), ids)
        out, answer, picture = text(self.model, features, ids, *lengths, at)
        used = labels >= 0
        return F.linear(out[used], self.model.lm_head.weight).float(), labels[used], torch.arange(len(rows))[:, None].expand(-1, m)[used], answer[used], picture

    def joint_step(self, rng):
        """The handicap is added to the end token's logit where an answer of boxes begins. A coordinate's probability is spread over dozens of
        neighbors, and so the most probable token would be the end long before an empty answer is more probable than a box."""
        at = rng.integers(0, len(self.pool), self.o.joint_batch)
        seen, aux, notes = self.look(at)
        rows = [(k, *rest) for k, i in enumerate(at) for rest in self.texts(i, rng)]
        rows.sort(key=lambda r: len(r[1][0]) + len(r[1][1]))
        total, turning, speaking, right, count = 0, 0, torch.zeros(()), 0, 0
        with torch.autocast("cpu", torch.bfloat16):
            features = self.model.model.multi_modal_projector(seen)
            for part in (rows[:len(rows) // 2], rows[len(rows) // 2:]):  # short ones next to short ones
                logits, labels, row, answer, picture = self.predict(features[[r[0] for r in part]], [r[1] for r in part], self.text, self.o.astray)
                start = torch.cat([torch.ones(1, dtype=torch.bool), row[1:] != row[:-1]]) & torch.tensor([r[4] for r in part])[row]
                logits = logits + self.o.handicap * start[:, None] * F.one_hot(torch.tensor(1), logits.shape[1])
                turns = torch.from_numpy(np.stack([r[3] for r in part])).long()
                said = torch.tensor([t for r in part for t in r[2]])
                turning = turning + 2.5 * F.cross_entropy(self.turn(net.level(picture)).float().flatten(0, 1), turns.flatten())
                if (said >= 0).any():
                    speaking = speaking + 0.5 * F.cross_entropy(self.say(net.level(answer)).float(), said)
                weight = torch.bincount(row).float().rsqrt()[row]  # a long answer counts more than a short one, but not by its length
                total = total + (self.token_loss(logits, labels) * weight).sum()
                right += (logits.argmax(1) == labels).float().sum().item()
                count += len(labels)
        loss = total / len(rows)
        return loss + 0.5 * aux + turning + speaking, {"loss": loss.item(), "turns": turning.item(), "said": speaking.item(), "tokens": right / count, **notes}

    def token_loss(self, logits, labels):
        """Cross entropy; where a coordinate is due, a bell around it is as good as its one token, and where a mask's code is, those
        near it in the codebook are: many differ by less than anyone sees."""
        loss = logits.logsumexp(1) - logits.gather(1, labels[:, None])[:, 0]
        where = labels - self.loc
        is_loc = ((where >= 0) & (where < 1024)).nonzero()[:, 0]
        if len(is_loc):
            l = logits[is_loc]
            bell = (-0.5 * ((torch.arange(1024) - where[is_loc, None]) / self.o.spread) ** 2).softmax(1)
            loss = loss.index_put((is_loc,), l.logsumexp(1) - (bell * l[:, self.loc:self.loc + 1024]).sum(1))
        code = where - 1024
        is_code = ((code >= 0) & (code < 128)).nonzero()[:, 0]
        if len(is_code):
            l = logits[is_code]
            loss = loss.index_put((is_code,), l.logsumexp(1) - (self.alike[code[is_code]] * l[:, self.loc + 1024:self.loc + 1152]).sum(1))
        return loss

    @torch.no_grad()
    def look_at_held_out(self):
        """Answers that are right in every token when each is given those before it, that is, as the model would write them, any coordinate
        or code being right where one is due; of boxes the mean IoU, read the same way; of masks in their boxes that of codes, each given
        those before it, but as many of them wrong as in training."""
        pool, got, iou, masks, codes = self.held_out, {}, [], [], encode_all(self.codec, self.held_out)
        coordinate, code = (lambda t, first=first, n=n: (t >= first) & (t < first + n) for first, n in ((self.loc, 1024), (self.loc + 1024, 128)))
        for first in range(0, len(pool), 20):
            at = range(first, min(first + 20, len(pool)))
            with torch.autocast("cpu", torch.bfloat16):
                seen, _ = net.vision(self.model.model.vision_tower, torch.from_numpy(pool.input(slice(at[0], at[-1] + 1))))
                seen = self.model.model.multi_modal_projector(seen)
                rows = [(k, s) for k, i in enumerate(at) for s in pool.samples[i]]
                pairs = [self.tokens_of(s["prompt"], s["answer"].replace("<codes>", "".join(f"<seg{c:03d}>" for c in codes[pool.first[first + k] + max(0, s["object"])])))
                         for k, s in rows]
                logits, labels, row, _, _ = self.predict(seen[[k for k, _ in rows]], pairs, astray=self.o.astray)
            best = logits.argmax(1)
            a, b = ((t[coordinate(labels)] - self.loc).view(-1, 4).float() for t in (labels, best))
            side = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
            area = [(x[:, 2:] - x[:, :2]).clamp(min=0).prod(1) for x in (a, b)]
            iou += (side.prod(1) / (area[0] + area[1] - side.prod(1)).clamp(min=1)).tolist()
            there = [pool.crops[pool.first[first + k] + s["object"]] for k, s in rows if "<codes>" in s["answer"]]
            if there:
                drawn = self.codec.decode(self.codec.codebook[(best[code(labels)] - self.loc - 1024).clamp(0, 127).view(-1, 16)])
                masks += [mask_codec.iou(d[None], torch.from_numpy(t)[None] / 255) for d, t in zip(drawn, there)]
            hit = (best == labels) | (coordinate(best) & coordinate(labels)) | (code(best) & code(labels))
            for i, (_, s) in enumerate(rows):
                several = " several" if " ; " in s["prompt"] else ""
                got.setdefault((s.get("kind") or s["task"]) + several, []).append(hit[row == i].all().item())
        print(f"  held out, step {self.state['step']}: box IoU {np.mean(iou):.3f} mask IoU {np.mean(masks):.3f} " + " ".join(f"{k} {np.mean(v):.3f}" for k, v in sorted(got.items())), flush=True)

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


class Optimizer:
    """Muon (Jordan et al. 2024) for the layers' matrices, with a number of rounds of its iteration, AdamW for everything else. parts are
    (module, share of the rate)."""

    def __init__(self, parts, rate, matrix_rate, rounds):
        matrices, others = [], []
        for module, share in parts:
            for name, p in module.named_parameters():
                if p.requires_grad:
                    of_layer = p.ndim == 2 and ("layers." in name or "linear" in name)
                    (matrices if of_layer else others).append((p, share))
        groups = lambda ps, rate: [{"params": [p for p, s in ps if s == share], "lr": share * rate, "full": share * rate} for share in sorted({s for _, s in ps})]
        self.all = [p for p, _ in matrices + others]
        self.inner = [torch.optim.AdamW(groups(others, rate), betas=(0.9, 0.98), weight_decay=0.01)]
        if matrices:
            self.inner.append(torch.optim.Muon(groups(matrices, matrix_rate), weight_decay=0.01, adjust_lr_fn="match_rms_adamw", ns_steps=rounds))

    def step(self, share):
        """One step at a share of the rates, after backward."""
        nn.utils.clip_grad_norm_(self.all, 1.0)
        for inner in self.inner:
            for g in inner.param_groups:
                g["lr"] = share * g["full"]
            inner.step()
            inner.zero_grad(set_to_none=True)

    def state_dict(self):
        return [inner.state_dict() for inner in self.inner]

    def load_state_dict(self, states):
        for inner, state in zip(self.inner, states):
            rates = [g["full"] for g in inner.param_groups]  # those of this run
            inner.load_state_dict(state)
            for g, rate in zip(inner.param_groups, rates):
                g["full"] = rate


@torch.no_grad()
def encode_all(codec, pool):
    """The 16 codes of every object's mask, [objects, 16]"""
    codec.eval()
    return torch.cat([codec.encode(torch.from_numpy(pool.crops[i:i + 256]).float() / 255) for i in range(0, len(pool.crops), 256)]).tolist()


def see_edges(tower, pool):
    """The patch embedding begins as the principal components of the pictures' patches, each scaled to the same variance: color
    would drown edges otherwise. The first 64 values are left to positions."""
    e, side = tower.embeddings.patch_embedding, tower.config.patch_size
    x = torch.from_numpy(pool.input(slice(0, 1000))).unfold(2, side, side).unfold(3, side, side).permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1)
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    rows = min(e.weight.shape[0] - 64, x.shape[1])
    e.weight.zero_()
    e.weight[64:64 + rows] = (0.5 * vectors.flip(1)[:, :rows] / (values.flip(0)[:rows] + 0.02).sqrt()).T.reshape(rows, 3, side, side)
    e.bias.zero_()


def look_at_neighbors(tower):
    """The first two layers begin as convolutions: their four heads look left, right, up and down.

    The first 64 values of a position's embedding are waves whose products are zero unless places are the same: for frequencies
    w = π(k + ½)/16, k from 0 to 15, the sum of cos(w d) is 0 for every whole d but 0. A query is that of the neighbor.
    """
    e = tower.embeddings
    hidden, heads = e.position_embedding.weight.shape[1], tower.config.num_attention_heads
    rows = math.isqrt(e.position_embedding.weight.shape[0])
    wave = math.pi * (torch.arange(16) + 0.5) / 16
    place = torch.arange(rows * rows)

    def waves(place):  # [..., 2] -> [..., 64]
        angle = place[..., None] * wave
        return torch.cat([angle.cos(), angle.sin()], -1).flatten(-2)

    e.position_embedding.weight.normal_(0, 0.02)
    e.position_embedding.weight[:, :64] = 0.5 * waves(torch.stack([place % rows, place // rows], 1))
    for layer in tower.encoder.layers[:2]:
        for head, step in enumerate([(-1, 0), (1, 0), (0, -1), (0, 1)][:heads]):
            at = slice(head * hidden // heads, head * hidden // heads + 64)
            key, query = layer.self_attn.k_proj.weight, layer.self_attn.q_proj.weight
            key[at] = 0
            query[at] = 0
            key[at, :64] = 2 * torch.eye(64)
            for axis in range(2):
                c, s = torch.diag((wave * step[axis]).cos()), torch.diag((wave * step[axis]).sin())
                block = slice(axis * 32, axis * 32 + 32)
                query[at][block, block] = 2 * torch.cat([torch.cat([c, -s], 1), torch.cat([s, c], 1)])


def smooth_rows(width):
    """Rows of <loc0000> to <loc1023>: sines and cosines of the value, half a turn to 256 turns over the whole range, so
    that neighbors are alike; of length 1."""
    turns = torch.logspace(-1, 8, width // 2, base=2.0)
    angle = 2 * math.pi * torch.linspace(0, 1, 1024)[:, None] * turns
    fade = (1 + turns).rsqrt()
    rows = torch.cat([angle.sin() * fade, angle.cos() * fade], 1)
    return rows / rows.norm(dim=1, keepdim=True)


if __name__ == "__main__":
    Trainer(options()).run()
