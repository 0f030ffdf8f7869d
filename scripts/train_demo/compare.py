#!/usr/bin/env python3
"""Asks transformers (F32, eager) what `go run ./scripts/eval -keep DIR` asked paligemma, and compares the texts.

    bin/paligemma convert WORK/checkpoint f32.gguf --type f32 --mask-decoder WORK/codec.npz
    go run ./scripts/eval -scenes 200 -model f32.gguf -keep DIR
    python scripts/train_demo/compare.py WORK/checkpoint DIR/requests.jsonl DIR/f32.gguf.jsonl
"""
import itertools
import json
import sys

import torch
from PIL import Image
from transformers import AutoImageProcessor, PaliGemmaForConditionalGeneration, PaliGemmaProcessor


@torch.no_grad()
def main(checkpoint, requests, answers):
    torch.set_num_threads(2)
    model = PaliGemmaForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager").eval()
    processor = PaliGemmaProcessor.from_pretrained(checkpoint)
    # Resized by Pillow, which paligemma equals; torchvision, the default, rounds some pixels otherwise.
    processor.image_processor = AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
    with open(requests) as r, open(answers) as a:
        pairs = [(json.loads(x), json.loads(y)) for x, y in zip(r, a, strict=True)]
    same, scenes, whole = 0, 0, 0
    for image, group in itertools.groupby(pairs, lambda p: p[0]["image"]):
        picture = Image.open(image).convert("RGB")
        right = True
        for request, answer in group:
            inputs = processor(text="<image>" + request["prompt"], images=picture, return_tensors="pt")
            made = model.generate(**inputs, max_new_tokens=128, do_sample=False, return_dict_in_generate=True, output_logits=True)
            out = made.sequences[0, inputs["input_ids"].shape[1]:].tolist()
            want = out[:out.index(1)] if 1 in out else out
            if answer["tokens"] == want:
                same += 1
            else:
                right = False
                ours = answer["tokens"] + [1]
                at = next(i for i, (a, b) in enumerate(zip(want + [1], ours)) if a != b)
                logits = made.logits[at][0]
                gap = (logits[out[at]] - logits[ours[at]]).item()
                print(f"{image} {request['prompt']!r}: in transformers the token of ours is behind by {gap:.1e} (the largest logit is {logits.max():.1f})\n  transformers {processor.tokenizer.decode(want)!r}\n  paligemma    {answer['text']!r}")
        scenes, whole = scenes + 1, whole + right
        if scenes % 20 == 0:
            print(f"{scenes} scenes", file=sys.stderr, flush=True)
    print(f"{same} of {len(pairs)} answers are the same ({100 * same / len(pairs):.2f} %); all answers about {whole} of {scenes} scenes")


if __name__ == "__main__":
    main(*sys.argv[1:])
