"""What LangChain asks of a server, as a server of OpenAI's and of Ollama's interface; run.sh starts it."""

import base64
import importlib.metadata
import os

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI, OpenAI

with open(os.environ["PICTURE"], "rb") as f:
    IMAGE = "data:image/png;base64," + base64.b64encode(f.read()).decode()
question = HumanMessage(content=[{"type": "text", "text": "caption en"}, {"type": "image_url", "image_url": {"url": IMAGE}}])
texts = []
for model in (ChatOpenAI(model="built-in", max_retries=0), ChatOpenAI(model="built-in", temperature=0, max_tokens=40, seed=1, max_retries=0), ChatOllama(model="built-in")):
    answer = model.invoke([SystemMessage(content="be brief"), question])
    assert "".join(c.content for c in model.stream([question])) == answer.content
    assert answer.usage_metadata["input_tokens"] > 100, answer
    texts.append(answer.content)
assert len(set(texts)) == 1 and len(texts[0]) > 10, texts
answers = ChatOpenAI(model="built-in", max_retries=0).batch([[question]] * 4)
assert all(a.content == texts[0] for a in answers)
assert OpenAI(model="built-in", max_tokens=4, temperature=0, max_retries=0).invoke("caption en")
versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("langchain-openai", "langchain-ollama"))
print(versions, ":", texts[0])
