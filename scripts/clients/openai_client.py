"""What OpenAI's package for Python asks of a server; run.sh starts it."""

import asyncio
import base64
import json
import os

import openai

with open(os.environ["PICTURE"], "rb") as f:
    IMAGE = "data:image/png;base64," + base64.b64encode(f.read()).decode()
client = openai.OpenAI(max_retries=0)
MODEL = client.models.list().data[0].id


def messages(prompt):
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE, "detail": "auto"}}, {"type": "text", "text": prompt}]}]


def chat(prompt="caption en", **parameters):
    return client.chat.completions.create(model=MODEL, messages=messages(prompt), **parameters)


def refused(kind, call, status, param=None):
    try:
        call()
    except kind as e:
        assert e.status_code == status and e.param == param and e.code and e.type, (e.status_code, e.body)
        return e
    raise AssertionError(f"{kind.__name__} is not raised")


def whole():
    answer = chat(temperature=0)
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.finish_reason == "stop" and len(choice.message.content) > 10, answer
    assert answer.usage.prompt_tokens > 100 and answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens, answer.usage
    return choice.message.content


def streamed(text):
    chunks = list(chat(stream=True, stream_options={"include_usage": True}, logprobs=True, top_logprobs=3))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 3
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    tokens = [t for c in chunks if c.choices and c.choices[0].logprobs for t in c.choices[0].logprobs.content]
    assert bytes(b for t in tokens for b in t.bytes).decode() == text and all(len(t.top_logprobs) == 3 for t in tokens)
    with client.chat.completions.stream(model=MODEL, messages=messages("caption en")) as stream:
        assert "".join(e.delta for e in stream if e.type == "content.delta") == text
        assert stream.get_final_completion().choices[0].message.content == text


def parameters(text):
    word = text.split()[3]
    assert chat(stop=[word]).choices[0].message.content == text[: text.index(word)]
    first, second = (chat(temperature=2.0, seed=3, n=3) for _ in range(2))
    assert [c.message.content for c in first.choices] == [c.message.content for c in second.choices]
    assert len({c.message.content for c in first.choices}) > 1 and [c.index for c in first.choices] == [0, 1, 2]
    assert chat(max_completion_tokens=2).choices[0].finish_reason == "length"
    logprobs = chat(logprobs=True, top_logprobs=2, max_tokens=3).choices[0].logprobs
    assert len(logprobs.content) == 3 and logprobs.content[0].top_logprobs[0].token == logprobs.content[0].token
    beams = chat(n=2, extra_body={"beams": 3})
    assert len(beams.choices) == 2 and beams.choices[0].score >= beams.choices[1].score
    rated = chat("what color is the ring?", extra_body={"choices_text": ["red", "blue"]})
    assert rated.choices[0].message.content in ("red", "blue") and len(rated.choices[0].scores) == 2
    chat(user="somebody", presence_penalty=0, frequency_penalty=0, tools=[], logit_bias={}, response_format={"type": "text"})


def objects():
    choice = chat("segment circle", extra_body={"stop_repeats": True}).choices[0]
    assert choice.objects[0]["label"] == "circle" and len(choice.boxes) == len(choice.objects) and choice.masks[0]["rle"]["counts"], choice
    content = json.loads(chat("detect circle", response_format={"type": "json_object"}).choices[0].message.content)
    assert content["objects"][0]["box"] and content["text"].startswith("<loc")
    last = [c.choices[0] for c in chat("detect circle", stream=True)][-1]
    assert last.finish_reason == "stop" and last.objects


def completions(text):
    answer = client.completions.create(model=MODEL, prompt="caption en", extra_body={"images": [IMAGE]}, logprobs=2)
    choice = answer.choices[0]
    assert choice.text == text and "".join(choice.logprobs.tokens) == text and choice.logprobs.text_offset[0] == 0
    stream = client.completions.create(model=MODEL, prompt="caption en", extra_body={"images": [IMAGE]}, stream=True)
    assert "".join(c.choices[0].text for c in stream) == text
    several = client.completions.create(model=MODEL, prompt=["caption en", "cap en"], extra_body={"images": [IMAGE]}, max_tokens=5)
    assert [c.index for c in several.choices] == [0, 1]


def errors():
    refused(openai.BadRequestError, lambda: chat(tools=[{"type": "function", "function": {"name": "f"}}]), 400, "tools")
    refused(openai.BadRequestError, lambda: chat(top_p=2), 400, "top_p")
    refused(openai.BadRequestError, lambda: chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}), 400, "response_format")
    refused(openai.BadRequestError, lambda: client.chat.completions.create(model=MODEL, messages=[]), 400, "messages")
    refused(openai.BadRequestError, lambda: list(chat(stream=True, n=0)), 400, "n")
    refused(openai.NotFoundError, lambda: client.models.retrieve("nobody/knows"), 404, "model")
    damaged = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE[:200]}}]}]
    refused(openai.APIStatusError, lambda: client.chat.completions.create(model=MODEL, messages=damaged), 400, "messages[0].content[0].image_url")


def turns(text):
    earlier = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=earlier + messages("caption en"))
    assert "ignored" in raw.headers["x-paligemma-warnings"]
    answer = raw.parse()
    assert answer.choices[0].message.content == text and len(answer.warnings) == 2


async def together(text):
    alike = openai.AsyncOpenAI(max_retries=0)
    answers = await asyncio.gather(*(alike.chat.completions.create(model=MODEL, messages=messages("caption en")) for _ in range(8)))
    assert all(a.choices[0].message.content == text for a in answers)
    stream = await alike.chat.completions.create(model=MODEL, messages=messages("caption en"), stream=True)
    async for _ in stream:
        break  # and go away
    await stream.close()


assert client.models.retrieve(MODEL).id == MODEL
caption = whole()
streamed(caption)
parameters(caption)
objects()
completions(caption)
errors()
turns(caption)
asyncio.run(together(caption))
assert whole() == caption
print("openai", openai.__version__, "for Python:", caption)
