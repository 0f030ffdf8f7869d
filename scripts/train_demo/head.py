"""What the tower learns first: a linear head that says what each patch shows. It is dropped at the export."""
import math

import torch
import torch.nn.functional as F
from torch import nn

import scenes

TURNS = 16  # frequencies of a coordinate's waves, half a turn to 32 turns over the picture's side


class Head(nn.Module):
    """kind, color, shape and size of the patch's object; its box as offsets from the patch and, so that the language model
    need only copy, as waves like those of the <loc> embeddings; the object's mask in this patch and, coarser, in its box; the
    letters that stand there; the words of the sign. The first layer is asked for what a patch and its neighbors suffice for: kind, color and mask."""

    def __init__(self, hidden, words, patch):
        super().__init__()
        self.words = words
        self.parts = {"kind": 4, "color": len(scenes.COLORS), "shape": len(scenes.SHAPES), "size": len(scenes.SIZES), "box": 4,
                      "waves": 4 * 2 * TURNS, "mask": (patch // scenes.CELL) ** 2,
                      "coarse": scenes.CROP ** 2, "letters": scenes.LETTERS * 27, "words": 2 * (words + 1)}
        self.out = nn.Linear(hidden, sum(self.parts.values()))
        self.early_parts = {k: self.parts[k] for k in ("kind", "color", "mask")}
        self.early = nn.Linear(hidden, sum(self.early_parts.values()))
        self.register_buffer("turns", math.pi * torch.logspace(0, 6, TURNS, base=2.0), persistent=False)

    def forward(self, seen, early, labels, side):
        """seen and early, after the last layer and the first, [n, patches, hidden], labels of scenes.Pool -> loss, notes"""
        n, patches, _ = seen.shape
        label = {k: torch.from_numpy(v) for k, v in labels.items()}
        kind = label["kind"].flatten().long()
        parts = dict(zip(self.parts, self.out(seen).flatten(0, 1).float().split(list(self.parts.values()), 1)))
        thing, object, card = (x.nonzero()[:, 0] for x in (kind > 0, (kind == scenes.OBJECT) | (kind == scenes.CENTER), kind == scenes.CARD))
        loss = F.cross_entropy(parts["kind"], kind)
        notes = {"kind": (parts["kind"].argmax(1) == kind).float().mean().item()}
        for k in ("color", "shape", "size"):
            out, want = parts[k][object], label[k].flatten()[object].long()
            loss = loss + F.cross_entropy(out, want)
            notes[k] = (out.argmax(1) == want).float().mean().item()
        box = label["box"].flatten(0, 1)[thing]
        rows = math.isqrt(patches)
        place = torch.arange(patches)
        center = (torch.stack([place % rows, place // rows], 1).repeat(n, 2)[thing] + 0.5) / rows
        off = parts["box"][thing] + center - box
        angle = box[:, :, None] * self.turns
        waves = torch.cat([angle.sin(), angle.cos()], 2).flatten(1)
        loss = loss + 25 * F.smooth_l1_loss(off, torch.zeros_like(off), beta=0.01) + 6 * F.mse_loss(parts["waves"][thing], waves)
        mask = label["mask"].flatten(0, 1)[thing].float()
        loss = loss + F.binary_cross_entropy_with_logits(parts["mask"][thing], mask)
        coarse = label["coarse"].flatten(0, 1)[object].float() / 255
        loss = loss + 3 * F.binary_cross_entropy_with_logits(parts["coarse"][object], coarse)
        notes["coarse"] = ((parts["coarse"][object] > 0) == (coarse > 0.5)).float().mean().item()
        first = dict(zip(self.early_parts, self.early(early).flatten(0, 1).float().split(list(self.early_parts.values()), 1)))
        loss = loss + F.cross_entropy(first["kind"], kind) + F.cross_entropy(first["color"][object], label["color"].flatten()[object].long())
        loss = loss + 2 * F.binary_cross_entropy_with_logits(first["mask"][thing], mask)
        notes["box_px"] = off.abs().mean().item() * side
        if len(card):
            letters, want = parts["letters"][card].view(-1, 27), label["letters"].flatten(0, 1)[card].flatten().long()
            loss = loss + 2 * F.cross_entropy(letters, want)
            there = want > 0
            notes["letters"] = (letters.argmax(1) == want)[there].float().mean().item() if there.any() else 0
            words = parts["words"][card].view(-1, 2, self.words + 1)
            want = label["words"].long().remainder(self.words + 1)[:, None].expand(-1, patches, -1).flatten(0, 1)[card]
            loss = loss + 0.5 * F.cross_entropy(words.flatten(0, 1), want.flatten())
            notes["words"] = (words.argmax(2) == want).float().mean().item()
        notes["aux"] = loss.item()
        return loss, notes
