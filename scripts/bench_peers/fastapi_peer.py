#!/usr/bin/env python3
"""The smallest server around transformers: one chat at a time, streamed as OpenAI's clients want it. See README.md.

    pip install fastapi uvicorn
    python scripts/bench_peers/fastapi_peer.py --family 3b --pixels 224 --port 8081 --dtype bfloat16 --threads 2
"""
import argparse
import base64
import json
import threading

import torch
import torch_peer
import transformers
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse


def chats(peer):
    """The application: a lock lets one request compute at a time."""
    app, turn = FastAPI(), threading.Lock()

    @app.post("/v1/chat/completions")
    async def chat(request: Request):
        body = await request.json()
        parts = body["messages"][-1]["content"]
        url = next(p["image_url"]["url"] for p in parts if p["type"] == "image_url")
        picture = base64.b64decode(url.split(",", 1)[1])
        return StreamingResponse(stream(peer, turn, picture, body["max_tokens"]), media_type="text/event-stream")

    return app


@torch.inference_mode()
def stream(peer, turn, picture, tokens):
    """Events of one answer. The weights are random, so that ids stand for text."""
    with turn:
        cache = transformers.DynamicCache(config=peer.model.config)
        out = peer.model(input_ids=peer.ids, pixel_values=peer.pixels(picture), token_type_ids=peer.types, attention_mask=peer.mask,
                         past_key_values=cache, use_cache=True, logits_to_keep=1)
        for i in range(tokens):
            token = out.logits[:, -1].argmax(-1, keepdim=True)
            yield "data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": f"{token.item()} "}}]}) + "\n\n"
            if i + 1 < tokens:
                out = peer.model(input_ids=token, past_key_values=cache, use_cache=True, logits_to_keep=1)
    yield "data: [DONE]\n\n"


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--family", choices=torch_peer.FAMILIES, default="3b")
    p.add_argument("--pixels", type=int, default=224)
    p.add_argument("--image", required=True, help="a picture to warm up with")
    p.add_argument("--dtype", default="bfloat16")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--cache", default="dynamic")
    p.add_argument("--port", type=int, default=8081)
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    uvicorn.run(chats(torch_peer.Peer(o)), port=o.port, log_level="warning")


if __name__ == "__main__":
    main()
