"""What Pydantic AI and Instructor ask of a server; run.sh starts it."""

import asyncio
import base64
import importlib.metadata
import os

import instructor
import openai
from instructor.processing.multimodal import Image
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

with open(os.environ["PICTURE"], "rb") as f:
    picture = f.read()

# An agent without tools, whole and streamed.
model = OpenAIChatModel("built-in", provider=OpenAIProvider(base_url=os.environ["OPENAI_BASE_URL"], api_key="none"))
agent = Agent(model)
question = ["caption en", BinaryContent(data=picture, media_type="image/png")]
answer = agent.run_sync(question)
text = answer.output
assert len(text) > 10 and answer.usage.input_tokens > 100, answer
with_turns = agent.run_sync(question, message_history=answer.all_messages())
assert with_turns.output == text


async def streamed():
    async with agent.run_stream(question) as stream:
        return [piece async for piece in stream.stream_text(delta=True, debounce_by=None)]


pieces = asyncio.run(streamed())
assert "".join(pieces) == text and len(pieces) > 1, pieces


# Instructor has the JSON that json_object gives checked against a class.
class Found(BaseModel):
    label: str
    box: list[float]


class Detection(BaseModel):
    text: str
    objects: list[Found]


client = instructor.from_openai(openai.OpenAI(max_retries=0), mode=instructor.Mode.JSON)
image = Image.from_base64("data:image/png;base64," + base64.b64encode(picture).decode())
found = client.chat.completions.create(model="built-in", response_model=Detection, max_retries=0, messages=[{"role": "user", "content": ["detect ring", image]}])
assert found.objects and found.objects[0].label == "ring" and len(found.objects[0].box) == 4, found
versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("pydantic-ai-slim", "instructor"))
print(versions, ":", text, found.objects)
