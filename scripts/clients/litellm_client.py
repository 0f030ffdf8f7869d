"""What litellm asks of a server, as a server of OpenAI's and of Ollama's interface; run.sh starts it."""

import base64
import importlib.metadata
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # nothing is fetched
import litellm

with open(os.environ["PICTURE"], "rb") as f:
    IMAGE = "data:image/png;base64," + base64.b64encode(f.read()).decode()
MESSAGES = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE}}, {"type": "text", "text": "caption en"}]}]
litellm.suppress_debug_info = True
texts = []
for model, base in (("openai/built-in", os.environ["OPENAI_BASE_URL"]), ("ollama_chat/built-in", os.environ["ADDRESS"])):
    answer = litellm.completion(model=model, api_base=base, messages=MESSAGES, temperature=0, max_tokens=40)
    text = answer.choices[0].message.content
    stream = litellm.completion(model=model, api_base=base, messages=MESSAGES, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in stream) == text, model
    texts.append(text)
    try:
        litellm.completion(model=model, api_base=base, messages=MESSAGES, temperature=-1)
        raise AssertionError("no error")
    except (litellm.BadRequestError, litellm.APIConnectionError) as e:
        assert "temperature" in str(e), e
assert texts[0] == texts[1] and len(texts[0]) > 10
print("litellm", importlib.metadata.version("litellm"), ":", texts[0])
