"""Which of a picture's patches a prompt is about, and when their turn comes: what the language model is taught to know at the
patches' places before its last layer, so that the last one has only to copy."""
import re

import numpy as np

import scenes

TURNS = 6  # 0: not meant; 1 to 4: the objects from left to right, or the first to the fourth that a question names; 5: the sign of a caption or of boxes
BOX = re.compile(r"<loc(\d{4})>" * 4)
NAME = re.compile(rf"(?:\b({'|'.join(scenes.COLORS)}) )?\b({'|'.join(scenes.SHAPES)}|shape)(?:e?s)?\b|\b({'|'.join(scenes.COLORS)})\b")


def turns(sample, labels):
    """labels of one scene's patches (scenes.Pool) -> [patches], 0 to TURNS - 1"""
    kind, out = labels["kind"], np.zeros(len(labels["kind"]), np.int64)
    middle = labels["box"][:, 0] + labels["box"][:, 2]
    thing = (kind == scenes.OBJECT) | (kind == scenes.CENTER)
    if sample["task"] == "ocr":
        out[kind == scenes.CARD] = 1
    elif sample["task"] == "caption":
        _number(out, thing, middle)
        out[kind == scenes.CARD] = 5
    elif sample["task"] == "vqa":
        names = NAME.findall(sample["prompt"])
        names = [n for n in names if n != ("", "shape", "")] or names[:1]  # "what shape is red?" is about what is red
        for n, (color, shape, alone) in reversed(list(enumerate(names[:4]))):
            at = thing.copy()
            if color or alone:
                at &= labels["color"] == scenes.COLORS.index(color or alone)
            if shape in scenes.SHAPES:
                at &= labels["shape"] == scenes.SHAPES.index(shape)
            if len(names) == 1:
                _number(out, at, middle)
            else:
                out[at] = n + 1
        if "sign" in sample["prompt"]:
            out[kind == scenes.CARD] = 1
    else:
        places = np.zeros_like(out)
        _number(places, thing, middle)
        places[kind == scenes.CARD] = 5
        for at in boxes(sample, labels):
            out[at] = places[at]
    return out


def boxes(sample, labels):
    """For each box of an answer, the patches that show what it is around: [patches] of bool"""
    for m in BOX.finditer(sample["answer"]):
        y0, x0, y1, x1 = (int(v) for v in m.groups())
        yield (np.abs(labels["box"] * 1024 - [x0, y0, x1, y1]).max(1) < 2.5) & (labels["kind"] > 0)


def said(sample, pieces, labels):
    """Which turn each piece of an answer (its tokens, the end not counted) belongs to; -100 where there is none to tell. The first
    coordinate of a box is left out: which object is next shows at the patches only."""
    turn, out = 0, []
    if sample["task"] == "caption":
        articles = {"en": ["a"], "es": ["un", "una"]}[sample["lang"]]
        words = [p.strip("▁") for p in pieces] + [""]
        for word, next_word in zip(words, words[1:]):
            if word in articles:
                turn = 5 if next_word in ("sign", "letrero") else min(turn + 1, 4)
            out.append(turn)
        return out
    if sample["task"] in ("detect", "segment"):
        of_patches = turns(sample, labels)
        of_boxes = [of_patches[at].max(initial=0) for at in boxes(sample, labels)]
        between = True
        for piece in pieces:
            turn += piece == "▁;"
            between |= piece == "▁;"
            out.append(-100 if between or of_boxes[turn] == 0 else int(of_boxes[turn]))
            between &= not piece.startswith("<loc")
        return out
    return [-100] * len(pieces)


def _number(out, at, middle):
    """Numbers the objects among these patches from left to right."""
    for n, x in enumerate(np.unique(middle[at])[:4]):
        out[at & (middle == x)] = n + 1
