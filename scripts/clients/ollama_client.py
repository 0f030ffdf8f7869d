"""What Ollama's package for Python asks of a server; run.sh starts it."""

import asyncio
import importlib.metadata
import json
import os

import ollama

PICTURE = os.environ["PICTURE"]
with open(PICTURE, "rb") as f:
    IMAGE = f.read()
client = ollama.Client()


def refused(call, status):
    try:
        call()
    except ollama.ResponseError as e:
        assert e.status_code == status and e.error and "{" not in e.error, (e.status_code, e.error)
        return
    raise AssertionError("ResponseError is not raised")


listed = client.list().models[0]
MODEL = listed.model
assert listed.size > 1000 and listed.details.format == "gguf" and listed.modified_at, listed
shown = client.show(MODEL)
assert "vision" in shown.capabilities and shown.modelinfo["general.architecture"] == "paligemma", shown
assert client.ps().models[0].model == MODEL

answer = client.generate(MODEL, "caption en", images=[IMAGE], options={"temperature": 0})
text = answer.response
assert len(text) > 10 and answer.done and answer.done_reason == "stop", answer
assert answer.prompt_eval_count > 100 and answer.eval_count > 3 and answer.total_duration > answer.eval_duration > 0, answer
pieces = list(client.generate(MODEL, "caption en", images=[PICTURE], stream=True))
assert "".join(p.response for p in pieces) == text and len(pieces) > 3 and pieces[-1].done and not pieces[0].done
assert client.generate(MODEL, "", keep_alive="5m").done_reason == "load"

question = [{"role": "user", "content": "caption en", "images": [IMAGE]}]
chat = client.chat(MODEL, question)
assert chat.message.content == text and chat.message.role == "assistant" and chat["message"]["content"] == text
assert "".join(p.message.content for p in client.chat(MODEL, question, stream=True)) == text
earlier = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
assert client.chat(MODEL, earlier + question).message.content == text

short = client.generate(MODEL, "caption en", images=[IMAGE], options={"num_predict": 3, "num_ctx": 2048, "repeat_penalty": 1.1})
assert short.done_reason == "length" and short.eval_count == 3
word = text.split()[3]
assert client.generate(MODEL, "caption en", images=[IMAGE], options={"stop": [word]}).response == text[: text.index(word)]
sampled = [client.generate(MODEL, "caption en", images=[IMAGE], options={"temperature": 2.0, "seed": 7, "top_k": 40, "top_p": 0.9}).response for _ in range(2)]
assert sampled[0] == sampled[1]
content = json.loads(client.generate(MODEL, "detect circle", images=[IMAGE], format="json").response)
assert content["objects"][0]["label"] == "circle"

refused(lambda: client.generate(MODEL, "caption en", images=[IMAGE[:100]]), 400)
refused(lambda: client.chat(MODEL, question, tools=[refused]), 400)
refused(lambda: client.chat(MODEL, question, format={"type": "object"}), 400)
refused(lambda: list(client.generate(MODEL, "caption en", options={"temperature": -1}, stream=True)), 400)
refused(lambda: client.embed(MODEL, "x"), 404)


async def together():
    alike = ollama.AsyncClient()
    answers = await asyncio.gather(*(alike.chat(MODEL, question) for _ in range(8)))
    assert all(a.message.content == text for a in answers)


asyncio.run(together())
print("ollama", importlib.metadata.version("ollama"), "for Python:", text)
